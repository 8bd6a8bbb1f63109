"""What our SQL calls that SQLite lacks."""

import sqlite3
from functools import lru_cache
from typing import Any, cast

import msgspec


def register(connection: sqlite3.Connection) -> None:
    """Make `json_contains(document, filter)` known to a connection."""
    connection.create_function("json_contains", 2, _json_contains, deterministic=True)


def _json_contains(document: str | None, wanted: str) -> bool:
    return document is not None and contains(msgspec.json.decode(document), _parsed(wanted))


@lru_cache(maxsize=8)
def _parsed(wanted: str) -> Any:
    """A filter, parsed once for all the rows it is held against."""
    return msgspec.json.decode(wanted)


def contains(document: object, wanted: object) -> bool:
    """Whether `document` holds all of `wanted`: objects by subset at any depth, everything else by equality."""
    if isinstance(wanted, dict):
        if not isinstance(document, dict):
            return False
        there = cast("dict[str, Any]", document)
        return all(
            key in there and contains(there[key], value) for key, value in cast("dict[str, Any]", wanted).items()
        )
    return _equal(document, wanted)


def _equal(one: object, other: object) -> bool:
    """Equality as JSON has it: to Python `True == 1`, also deep inside of lists and objects."""
    match one, other:
        case list(), list():
            one, other = cast("list[Any]", one), cast("list[Any]", other)
            return len(one) == len(other) and all(map(_equal, one, other))
        case dict(), dict():
            one, other = cast("dict[str, Any]", one), cast("dict[str, Any]", other)
            return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
        case _:
            return one == other and isinstance(one, bool) == isinstance(other, bool)
