"""Filters of searches as the database's `json_contains` takes them."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from turnkeeper.codec import decode, text

_DOCUMENTS = ("metadata", "values")


def nodes(wanted: str) -> str:
    """The nodes of a JSON text, itself as JSON: each with its path, and with its value unless it is an object."""
    return text(list(_nodes(decode(wanted), ())))


def parameters(filters: Mapping[str, Any]) -> dict[str, Any]:
    """A search's filters, with those on documents taken apart."""
    return {
        name: nodes(value) if name in _DOCUMENTS and value is not None else value for name, value in filters.items()
    }


def _nodes(value: object, path: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    if not isinstance(value, dict):
        yield {"path": path, "value": value}
        return
    yield {"path": path}
    for key, below in cast("dict[str, Any]", value).items():
        yield from _nodes(below, (*path, key))
