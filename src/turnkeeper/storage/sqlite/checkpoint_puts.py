"""What a put writes: serialised at once, as the caller may change its values later; stored in one writer job."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import msgspec
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    get_serializable_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from turnkeeper.storage import queries
from turnkeeper.storage.checkpoint_metadata import as_json
from turnkeeper.storage.sqlite.channels import ChannelWrites, KnownLists, Place, prepare, store
from turnkeeper.storage.sqlite.spans import KnownList

sql = queries.load("sqlite", "checkpoints")

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class CheckpointPut:
    """A checkpoint ready to be stored."""

    row: Row
    channels: ChannelWrites

    def run(self, connection: sqlite3.Connection) -> dict[Place, KnownList]:
        """Write the rows; returns the list channels as they are stored now. Raises `Stale` as `channels.store` does."""
        (seq,) = connection.execute(sql.put_checkpoint, self.row).fetchone()
        if not (self.channels.values or self.channels.lists):
            return {}
        thread_id, checkpoint_ns = self.row["thread_id"], self.row["checkpoint_ns"]
        known = store(connection, thread_id, checkpoint_ns, seq, self.channels)
        return {
            (thread_id, checkpoint_ns, write.channel): made
            for write, made in zip(self.channels.lists, known, strict=True)
        }


@dataclass(frozen=True, slots=True)
class WritesPut:
    """A task's writes ready to be stored."""

    regular: list[Row]
    special: list[Row]

    def run(self, connection: sqlite3.Connection) -> None:
        """Write the rows."""
        if self.regular:
            connection.executemany(sql.put_write, self.regular)
        if self.special:
            connection.executemany(sql.put_special_write, self.special)


def checkpoint_put(
    config: RunnableConfig,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    new_versions: ChannelVersions,
    *,
    run_id: str | None,
    serde: SerializerProtocol,
    lists: KnownLists,
) -> CheckpointPut:
    """Serialise a checkpoint, its lists against what is known of their last versions."""
    thread_id, checkpoint_ns, parent = address(config)
    channels = prepare(checkpoint, new_versions, serde, lambda channel: lists.get((thread_id, checkpoint_ns, channel)))
    body = {**checkpoint, "channel_values": channels.inline}
    del body["channel_versions"]
    kind, stored = serde.dumps_typed(body)
    full = cast("dict[str, Any]", get_serializable_checkpoint_metadata(config, metadata))
    row: Row = {
        "thread_id": thread_id,
        "checkpoint_ns": checkpoint_ns,
        "checkpoint_id": checkpoint["id"],
        "parent_checkpoint_id": parent,
        "run_id": run_id or full.get("run_id"),
        "versions": msgspec.json.encode(checkpoint["channel_versions"]).decode(),
        "inline": msgspec.json.encode(list(channels.inline)).decode(),
        "type": kind,
        "body": stored,
        "metadata": as_json(full),
    }
    return CheckpointPut(row, channels)


def writes_put(
    config: RunnableConfig,
    writes: Sequence[tuple[str, Any]],
    task_id: str,
    task_path: str,
    *,
    run_id: str | None,
    serde: SerializerProtocol,
) -> WritesPut:
    """Serialise a task's writes."""
    thread_id, checkpoint_ns, checkpoint_id = address(config)
    whose = run_id or _run_id(config)
    put = WritesPut([], [])
    for position, (channel, value) in enumerate(writes):
        idx = WRITES_IDX_MAP.get(channel, position)
        kind, stored = serde.dumps_typed(value)
        row: Row = {
            "thread_id": thread_id,
            "checkpoint_ns": checkpoint_ns,
            "checkpoint_id": checkpoint_id,
            "task_id": task_id,
            "idx": idx,
            "run_id": whose,
            "task_path": task_path,
            "channel": channel,
            "type": kind,
            "value": stored,
        }
        (put.special if idx < 0 else put.regular).append(row)
    return put


def address(config: RunnableConfig) -> tuple[str, str, str | None]:
    """The thread, namespace and checkpoint a config names."""
    named = config.get("configurable", {})
    return str(named["thread_id"]), named.get("checkpoint_ns", ""), named.get("checkpoint_id")


def _run_id(config: RunnableConfig) -> str:
    for part in (config.get("metadata"), config.get("configurable")):
        if part and (run_id := part.get("run_id")):
            return str(run_id)
    return ""
