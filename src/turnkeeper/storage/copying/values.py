"""Values, and rows whose columns differ, on their way from SQLite to PostgreSQL."""

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from turnkeeper.storage.sqlite.matching import labels

NUL = "\0"
"""The one character PostgreSQL has no place for. It is left out."""

_JSON_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")

Convert = Callable[[Any], Any]
Row = dict[str, Any]
Transform = Callable[[Row], Row]
"""What is different of a row in PostgreSQL."""


def item(row: Row) -> Row:
    """What is different of a row of `items`: minutes are whole there, and an item may live longer, but not less."""
    minutes = row["ttl_minutes"]
    return {
        "prefix": ".".join(labels(row["namespace"])),
        "ttl_minutes": None if minutes is None else math.ceil(minutes),
    }


def write(row: Row) -> Row:
    """What is different of a row of `checkpoint_writes`."""
    return {"blob": row["value"]}


def _text(value: Any) -> str | None:
    return None if value is None else str(value).replace(NUL, "")


def _json(value: str) -> str:
    return _JSON_NUL.sub(r"\1", value) if "\\u0000" in value else value


def _moment(value: Any) -> datetime | None:
    """A moment, which SQLite has as ISO 8601 or as seconds since the epoch."""
    if value is None:
        return None
    return datetime.fromisoformat(value) if isinstance(value, str) else datetime.fromtimestamp(value, UTC)


CONVERT: Mapping[str, Convert] = {
    "jsonb": _json,
    "text": _text,
    "timestamptz": _moment,
}
"""By the type of the column in PostgreSQL; values of other types are taken as they are."""
