"""`.env` files: `KEY=VALUE` lines with quotes, comments and `export`."""

import re

_LINE = re.compile(
    r"""
    ^[ \t]* (?:export[ \t]+)? (?P<key>[A-Za-z_][\w.-]*) [ \t]*=[ \t]*
    (?: '(?P<raw>[^']*)' | "(?P<quoted>(?:\\.|[^"\\])*)" | (?P<plain>[^\n]*?) )
    [ \t]* (?:(?<=[\s"'=])\#[^\n]*)? $
    """,
    re.MULTILINE | re.VERBOSE | re.DOTALL,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


def parse_dotenv(text: str) -> dict[str, str]:
    """The variables of a `.env` file; a quoted value may span lines, other lines that make no sense are skipped."""
    return {found["key"]: _value(found) for found in _LINE.finditer(text.replace("\r\n", "\n"))}


def _value(found: re.Match[str]) -> str:
    if found["quoted"] is not None:
        return re.sub(r"\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[1]), found["quoted"], flags=re.DOTALL)
    return found["raw"] if found["raw"] is not None else found["plain"]
