"""Checkpoint metadata as JSON text, whatever a user put in it."""

from collections.abc import Mapping
from typing import Any, cast

import msgspec


def as_json(metadata: Mapping[str, Any]) -> str:
    """The metadata's JSON; what JSON cannot say is stored as its `str`."""
    try:
        return msgspec.json.encode(metadata, enc_hook=_plain).decode()
    except (TypeError, ValueError):  # keys that are no strings, integers past 64 bits, halves of a surrogate pair
        return msgspec.json.encode(_sayable(metadata)).decode()


def _plain(value: object) -> object:
    dump = getattr(value, "model_dump", None)
    return dump() if callable(dump) else str(value)


def _sayable(value: object) -> object:
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**64 else str(value)
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value).items()
        return {str(key).encode(errors="replace").decode(): _sayable(item) for key, item in pairs}
    if isinstance(value, list | tuple | set | frozenset):
        return [_sayable(item) for item in cast("list[object]", value)]
    plain = _plain(value)
    return str(plain) if plain is value else _sayable(plain)
