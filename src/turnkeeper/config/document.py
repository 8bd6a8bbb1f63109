"""The text of `langgraph.json`: parsed, with the line of every key, and errors that point into it."""

import difflib
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

from turnkeeper.errors import ConfigError

_SPACE = re.compile(r"\s*")
_DECODER = json.JSONDecoder()


class Document:
    """A parsed `langgraph.json` that still knows on which line each key stands."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = _read(path)
        self.data = _parse(path, self.text)

    def line_of(self, *keys: str) -> int:
        """The line of `data[keys[0]][keys[1]]…`; that of its innermost known parent if it is absent."""
        start = offset = _skip_space(self.text, 0)
        for key in keys:
            found = {name: place for name, *place in _members(self.text, start)}.get(key)
            if found is None:
                break
            offset, start = found
        return self.text.count("\n", 0, offset) + 1

    def where(self, *keys: str) -> str:
        """`langgraph.json:3   "graphs"`, for the card of an error."""
        return f"{self.path.name}:{self.line_of(*keys)}   " + ".".join(json.dumps(key) for key in keys)


def nearest(word: str, among: Iterable[str]) -> str | None:
    """The candidate that `word` was most likely meant to be."""
    return next(iter(difflib.get_close_matches(word, list(among), n=1)), None)


def nearest_file(missing: Path) -> Path | None:
    """The file that stands where `missing` was looked for and is spelled most like it."""
    if not missing.parent.is_dir():
        return None
    siblings = {file.name: file for file in sorted(missing.parent.iterdir())}
    return siblings.get(nearest(missing.name, siblings) or "")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(
            f"{path.name} could not be read",
            where=str(path),
            cause="the file does not exist" if isinstance(error, FileNotFoundError) else str(error.strerror),
            nearest=_nearest_config(path),
            fix="run in the folder that has it, or name it: --config PATH",
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path.name} is not UTF-8 text", where=str(path), fix="save it as UTF-8") from None


def _nearest_config(missing: Path) -> str | None:
    """A `langgraph.json` spelled otherwise, or standing one folder further down or up."""
    folder = missing.parent
    places = [*folder.glob("*langgraph*.json"), *folder.glob("*/langgraph.json"), folder.parent / "langgraph.json"]
    found = next((place for place in places if place.is_file() and place != missing), None)
    return os.path.relpath(found) if found else None


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        shown = text.split("\n")[error.lineno - 1].strip()
        raise ConfigError(
            f"{path.name} is not valid JSON",
            where=f"{path.name}:{error.lineno}:{error.colno}   {shown}",
            cause=error.msg,
            fix="JSON has no comments and no comma after the last entry",
        ) from None
    if not isinstance(data, dict):
        raise ConfigError(
            f"{path.name} is not a JSON object",
            where=f"{path.name}:1",
            cause=f"it is {json_type(data)}",
            fix='write {"dependencies": ["."], "graphs": {"agent": "./agent.py:graph"}}',
        )
    return cast("dict[str, Any]", data)


def json_type(value: object) -> str:
    """What a value is, in the words of JSON."""
    names: dict[type, str] = {
        dict: "an object", list: "an array", str: "a string", bool: "a boolean", int: "a number", float: "a number"
    }  # fmt: skip
    return names.get(type(value), "null")


def _members(text: str, start: int) -> Iterator[tuple[str, int, int]]:
    """(key, offset of the key, offset of its value) of the object that starts at `start`; the text is valid JSON."""
    if text[start] != "{":
        return
    at = _skip_space(text, start + 1)
    while text[at] != "}":
        key, end = _DECODER.raw_decode(text, at)
        value_at = _skip_space(text, _skip_space(text, end) + 1)
        yield key, at, value_at
        at = _skip_space(text, _DECODER.raw_decode(text, value_at)[1])
        at = _skip_space(text, at + 1) if text[at] == "," else at


def _skip_space(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at
