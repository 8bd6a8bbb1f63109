"""The `store` of `langgraph.json`: how long items live, and what of them is found by its meaning."""

from typing import Any

import msgspec

from turnkeeper.config.document import Document
from turnkeeper.config.settings import StoreIndex, StoreTtl
from turnkeeper.errors import ConfigError

EXAMPLE = 'write "store": {"index": {"embed": "./embed.py:embed", "dims": 1536}, "ttl": {"default_ttl": 10080}}'


class _Ttl(msgspec.Struct, forbid_unknown_fields=True):
    refresh_on_read: bool = True
    default_ttl: float | None = None
    sweep_interval_minutes: float | None = None
    """Read, but of no use here: what has expired cannot be seen, and is removed within minutes."""


class _Index(msgspec.Struct, forbid_unknown_fields=True):
    embed: str
    dims: int
    fields: tuple[str, ...] = ("$",)


class _Store(msgspec.Struct, forbid_unknown_fields=True):
    index: _Index | None = None
    ttl: _Ttl | None = None


def read_store(document: Document) -> dict[str, Any]:
    """The settings `store_index` and `store_ttl`, as far as the file gives them."""
    try:
        given = msgspec.convert(document.data.get("store") or {}, _Store)
    except msgspec.ValidationError as error:
        raise ConfigError(
            '"store" cannot be understood', where=document.where("store"), cause=str(error), fix=EXAMPLE
        ) from None
    found: dict[str, Any] = {}
    if given.ttl is not None:
        found["store_ttl"] = StoreTtl(refresh_on_read=given.ttl.refresh_on_read, minutes=given.ttl.default_ttl)
    if given.index is not None:
        if given.index.dims < 1 or not given.index.embed.partition(":")[2]:
            raise ConfigError('"index" of "store" is incomplete', where=document.where("store", "index"), fix=EXAMPLE)
        index = given.index
        found["store_index"] = StoreIndex(embed=index.embed, dims=index.dims, fields=index.fields)
    return found
