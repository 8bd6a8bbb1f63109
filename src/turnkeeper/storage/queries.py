"""Named SQL statements, read from the `.sql` files beside the code.

A file holds one topic. Each statement starts with `-- name: claim_run`, then comment lines saying what it is for.
Parameters are written `:name`.
"""

import re
from functools import cache
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


class Queries:
    """The statements of one topic in one dialect, as attributes: `queries.claim_run` is its text."""

    def __init__(self, statements: dict[str, str]) -> None:
        self._statements = statements

    def __getattr__(self, name: str) -> str:
        try:
            return self._statements[name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def names(self) -> frozenset[str]:
        """The names this topic defines."""
        return frozenset(self._statements)


@cache
def load(dialect: str, topic: str) -> Queries:
    """Read `sql/<dialect>/<topic>.sql`. Raises `FileNotFoundError` where there is none."""
    text = (files("turnkeeper.storage") / "sql" / dialect / f"{topic}.sql").read_text()
    return Queries(parse(text))


def parse(text: str) -> dict[str, str]:
    """Split a file's text into its named statements. Raises `ValueError` on a name used twice."""
    parts = _NAME.split(text)[1:]
    names = parts[::2]
    if len(set(names)) < len(names):
        raise ValueError(f"a name is used twice among {sorted(names)}")
    return {name: body.strip().rstrip(";") for name, body in zip(names, parts[1::2], strict=True)}
