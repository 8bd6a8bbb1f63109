"""Reading checkpoints: rows into `CheckpointTuple`, pending writes, and the history of delta channels."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import msgspec
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    writes_sort_key,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from turnkeeper.storage import queries
from turnkeeper.storage.sqlite.channels import Place, load
from turnkeeper.storage.sqlite.spans import KnownList

sql = queries.load("sqlite", "checkpoints")

ANCESTORS = 128
"""Ancestors read at a time: a delta channel takes a snapshot every hundred updates unless told otherwise."""


class CheckpointRow(NamedTuple):
    """A row of `checkpoints`."""

    seq: int
    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str
    parent_checkpoint_id: str | None
    versions: str
    inline: str
    type: str
    body: bytes
    metadata: str


class WriteRow(NamedTuple):
    """A row of `checkpoint_writes`."""

    task_id: str
    idx: int
    run_id: str
    task_path: str
    channel: str
    type: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checkpoint as LangGraph wants it, and what was learnt of its list channels."""

    tuple: CheckpointTuple
    lists: dict[Place, KnownList] = field(default_factory=dict[Place, KnownList])


def config_of(thread_id: str, checkpoint_ns: str, checkpoint_id: str) -> RunnableConfig:
    """The config that names a checkpoint."""
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": checkpoint_ns, "checkpoint_id": checkpoint_id}}


def find(
    connection: sqlite3.Connection, thread_id: str, checkpoint_ns: str, checkpoint_id: str | None
) -> CheckpointRow | None:
    """The row of a checkpoint, or of the namespace's newest when no id is given."""
    statement = sql.get_checkpoint if checkpoint_id else sql.get_latest_checkpoint
    where = {"thread_id": thread_id, "checkpoint_ns": checkpoint_ns, "checkpoint_id": checkpoint_id}
    row = connection.execute(statement, where).fetchone()
    return row and CheckpointRow(*row)


def find_at(connection: sqlite3.Connection, seq: int) -> CheckpointRow | None:
    """The row at a place in the order of writing, unless it has been deleted."""
    row = connection.execute(sql.get_checkpoint_at, {"seq": seq}).fetchone()
    return row and CheckpointRow(*row)


def find_all(
    connection: sqlite3.Connection,
    thread_id: str | None = None,
    checkpoint_ns: str | None = None,
    checkpoint_id: str | None = None,
    *,
    before: str | None = None,
) -> list[int]:
    """The places of checkpoints in the order of writing, newest first; `None` stands for any."""
    if thread_id is None:
        statement = sql.list_everything
    else:
        statement = sql.list_thread if checkpoint_ns is None else sql.list_namespace
    where = {
        "thread_id": thread_id,
        "checkpoint_ns": checkpoint_ns,
        "checkpoint_id": checkpoint_id,
        "before": before,
    }
    return [seq for (seq,) in connection.execute(statement, where)]


def read(connection: sqlite3.Connection, row: CheckpointRow, serde: SerializerProtocol) -> Loaded:
    """Everything a checkpoint's row stands for: values, versions, pending writes."""
    checkpoint = cast("Checkpoint", serde.loads_typed((row.type, row.body)))
    checkpoint["channel_versions"] = versions_of(row)
    values = checkpoint["channel_values"]
    lists: dict[Place, KnownList] = {}
    where = {"thread_id": row.thread_id, "checkpoint_ns": row.checkpoint_ns, "versions": row.versions}
    for stored in connection.execute(sql.channels_at, where).fetchall():
        channel: str = stored[0]
        if channel in values:
            continue
        values[channel], known = load(connection, row.thread_id, row.checkpoint_ns, stored, serde)
        if known is not None:
            lists[row.thread_id, row.checkpoint_ns, channel] = known
    parent = row.parent_checkpoint_id
    loaded = CheckpointTuple(
        config=config_of(row.thread_id, row.checkpoint_ns, row.checkpoint_id),
        checkpoint=checkpoint,
        metadata=metadata_of(row),
        parent_config=config_of(row.thread_id, row.checkpoint_ns, parent) if parent else None,
        pending_writes=[
            (write.task_id, write.channel, serde.loads_typed((write.type, write.value)))
            for write in pending_writes(connection, row)
        ],
    )
    return Loaded(loaded, lists)


def metadata_of(row: CheckpointRow) -> CheckpointMetadata:
    """A checkpoint's metadata."""
    return cast("CheckpointMetadata", msgspec.json.decode(row.metadata))


def pending_writes(connection: sqlite3.Connection, row: CheckpointRow) -> list[WriteRow]:
    """The writes of a checkpoint that count, in the order a live run applies them."""
    where = {"thread_id": row.thread_id, "checkpoint_ns": row.checkpoint_ns, "checkpoint_id": row.checkpoint_id}
    return resolve([WriteRow(*write) for write in connection.execute(sql.writes_at, where)])


def resolve(writes: Sequence[WriteRow]) -> list[WriteRow]:
    """Of all that was written for each task, oldest first, what counts.

    Of an error, an interrupt, a resume value the newest. Of a task's other writes all that the newest run wrote:
    a run that did the task anew has applied its own writes and none of the earlier run's.
    """
    special: dict[tuple[str, int], WriteRow] = {}
    regular: dict[str, list[WriteRow]] = {}
    for write in writes:
        if write.idx < 0:
            special[write.task_id, write.idx] = write
            continue
        same_task = regular.setdefault(write.task_id, [])
        if same_task and same_task[-1].run_id != write.run_id:
            same_task.clear()
        same_task.append(write)
    counting = [*special.values(), *(write for same_task in regular.values() for write in same_task)]
    return sorted(counting, key=lambda write: writes_sort_key(write.task_path, write.task_id, write.idx))


def matches(row: CheckpointRow, wanted: dict[str, Any] | None) -> bool:
    """Whether a checkpoint's metadata has every value of `wanted`."""
    if not wanted:
        return True
    metadata = cast("dict[str, Any]", metadata_of(row))
    return all(metadata.get(key) == value for key, value in wanted.items())


def ancestors(connection: sqlite3.Connection, row: CheckpointRow) -> Iterator[CheckpointRow]:
    """The checkpoints a checkpoint comes from, nearest first."""
    following = row.parent_checkpoint_id
    while following is not None:
        where = {
            "thread_id": row.thread_id,
            "checkpoint_ns": row.checkpoint_ns,
            "checkpoint_id": following,
            "count": ANCESTORS,
        }
        found = [CheckpointRow(*ancestor) for ancestor in connection.execute(sql.ancestors, where)]
        yield from found
        following = found[-1].parent_checkpoint_id if found else None


def delta_history(
    connection: sqlite3.Connection, row: CheckpointRow | None, channels: Sequence[str], serde: SerializerProtocol
) -> dict[str, DeltaChannelHistory]:
    """What each channel's ancestors wrote, oldest first, back to the nearest that stored its value."""
    history: dict[str, DeltaChannelHistory] = {channel: {"writes": []} for channel in channels}
    remaining = set(channels)
    for ancestor in ancestors(connection, row) if row and remaining else ():
        for write in reversed(pending_writes(connection, ancestor)):
            if write.channel in remaining:
                value = serde.loads_typed((write.type, write.value))
                history[write.channel]["writes"].append((write.task_id, write.channel, value))
        for channel in stored_channels(connection, ancestor, remaining):
            history[channel]["seed"] = stored_value(connection, ancestor, channel, serde)
            remaining.discard(channel)
        if not remaining:
            break
    for entry in history.values():
        entry["writes"].reverse()
    return history


def stored_channels(connection: sqlite3.Connection, row: CheckpointRow, channels: Iterable[str]) -> set[str]:
    """Those of some channels that a checkpoint has a stored value for."""
    where = {
        "thread_id": row.thread_id,
        "checkpoint_ns": row.checkpoint_ns,
        "channels": msgspec.json.encode(list(channels)).decode(),
        "inline": row.inline,
        "versions": row.versions,
    }
    return {channel for (channel,) in connection.execute(sql.stored_channels, where)}


def stored_value(connection: sqlite3.Connection, row: CheckpointRow, channel: str, serde: SerializerProtocol) -> Any:
    """The value a checkpoint has stored for a channel."""
    inline = cast("Checkpoint", serde.loads_typed((row.type, row.body)))["channel_values"]
    if channel in inline:
        return inline[channel]
    where = {
        "thread_id": row.thread_id,
        "checkpoint_ns": row.checkpoint_ns,
        "channel": channel,
        "version": versions_of(row)[channel],
    }
    stored = connection.execute(sql.channel_at, where).fetchone()
    return load(connection, row.thread_id, row.checkpoint_ns, (channel, where["version"], *stored), serde)[0]


def versions_of(row: CheckpointRow) -> ChannelVersions:
    """A checkpoint's channel versions."""
    return cast("ChannelVersions", msgspec.json.decode(row.versions))
