"""How a thread's state is stored there, made of how it is stored here.

SQLite keeps long lists element by element; PostgreSQL keeps each version of a channel whole, as the library does whose
tables these are. What SQLite keeps in a checkpoint's row because it is small, PostgreSQL does if JSON can say it.
"""

import struct
from typing import Any, cast

import msgspec
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint
from langgraph.checkpoint.serde.jsonplus import EXT_DELTA_SNAPSHOT, JsonPlusSerializer
from langgraph.checkpoint.serde.types import _DeltaSnapshot  # pyright: ignore[reportPrivateUsage] - stored as the stock saver does

from turnkeeper.storage.copying.values import Row
from turnkeeper.storage.postgres.checkpoint_puts import checkpoint_put
from turnkeeper.storage.sqlite.channels import LIST, read_elements, read_spans
from turnkeeper.storage.sqlite.export import Export

VALUES = "checkpoint_blobs"
"""Where PostgreSQL keeps what does not stand in a checkpoint's row."""

_EXTENSION = {0xC7: 2, 0xC8: 3, 0xC9: 5, 0xD4: 1, 0xD5: 1, 0xD6: 1, 0xD7: 1, 0xD8: 1}
"""Where msgpack says of which type a value of the application's own types is, by its first byte."""


class Checkpoints:
    """Rows of `checkpoints`; those of one namespace come together."""

    def __init__(self, export: Export) -> None:
        self._export = export
        self._serde = JsonPlusSerializer()
        self._place: tuple[str, str] | None = None
        self._snapshots: set[tuple[str, Any]] = set()
        self._stored: set[tuple[str, str]] = set()
        self.values: list[Row] = []
        """Rows for `VALUES` that came up on the way; whoever takes them empties the list."""

    def __call__(self, row: Row) -> Row:
        """What is different in PostgreSQL."""
        self._enter(row["thread_id"], row["checkpoint_ns"])
        body = self._serde.loads_typed((row["type"], row["body"]))
        versions = msgspec.json.decode(row["versions"])
        inline = body["channel_values"]
        marked = {
            name: _DeltaSnapshot(None) for name, version in versions.items() if (name, version) in self._snapshots
        }
        put = checkpoint_put(
            _config(row),
            cast("Checkpoint", {**body, "channel_versions": versions, "channel_values": {**inline, **marked}}),
            {},  # they are stored as they are
            {name: versions[name] for name in inline if name in versions},
            run_id=row["run_id"],
            serde=self._serde,
        ).parameters
        for channel, version, kind, value in zip(
            put["channels"], put["versions"], put["types"], put["blobs"], strict=True
        ):
            self._keep(row, channel, version, kind, value)
        return {"type": None, "checkpoint": put["checkpoint"]}

    def _enter(self, thread_id: str, checkpoint_ns: str) -> None:
        if self._place == (thread_id, checkpoint_ns):
            return
        self._place = thread_id, checkpoint_ns
        self._stored.clear()
        heads = self._export.heads(thread_id, checkpoint_ns)
        self._snapshots = {(channel, version) for channel, version, head in heads if _is_snapshot(head)}

    def _keep(self, row: Row, channel: str, version: str, kind: str, value: bytes) -> None:
        """A checkpoint repeats the small values of the one before; stored by version they are there once."""
        if (channel, version) in self._stored:
            return
        self._stored.add((channel, version))
        place = {"thread_id": row["thread_id"], "checkpoint_ns": row["checkpoint_ns"]}
        self.values.append({**place, "channel": channel, "version": version, "type": kind, "blob": value})


class Channels:
    """Rows of `checkpoint_channels`."""

    def __init__(self, export: Export) -> None:
        self._export = export

    def __call__(self, row: Row) -> Row:
        """What is different in PostgreSQL."""
        if row["type"] != LIST:
            return {"blob": row["value"]}
        place = row["thread_id"], row["checkpoint_ns"], row["channel"]
        elements = read_elements(self._export.connection, place, read_spans(row["value"]))
        return {"type": "msgpack", "blob": b"".join((b"\xdd", struct.pack(">I", len(elements)), *elements))}


def _config(row: Row) -> RunnableConfig:
    ids = {"thread_id": row["thread_id"], "checkpoint_ns": row["checkpoint_ns"]}
    return {"configurable": {**ids, "checkpoint_id": row["parent_checkpoint_id"]}}


def _is_snapshot(head: bytes) -> bool:
    return head[_EXTENSION.get(head[0], 0)] == EXT_DELTA_SNAPSHOT
