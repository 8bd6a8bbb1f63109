"""What a put writes: serialised at once, as the caller may change its values later; stored in one statement."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import orjson
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    get_serializable_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.types import _DeltaSnapshot  # pyright: ignore[reportPrivateUsage] - stored as the stock saver does
from psycopg import Connection, Cursor

from turnkeeper.storage.checkpoint_metadata import as_json
from turnkeeper.storage.postgres import endings
from turnkeeper.storage.postgres.connections import Blobs
from turnkeeper.storage.postgres.statements import load

SQL = load("checkpoints")
RUNS = load("runs")

INLINE = 128
"""Characters of a text up to which it stands in the checkpoint itself, which each checkpoint that follows repeats."""

_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


@dataclass(frozen=True, slots=True)
class Owner:
    """An attempt that must own its run for a put to be taken (I7)."""

    run_id: str
    attempt: int

    def hold(self, connection: Connection) -> None:
        """See that the run is not taken from the attempt before the transaction ends. Raises `Fenced`."""
        named = {"run_id": self.run_id, "attempt": self.attempt}
        if connection.execute(RUNS.hold_run, named).fetchone() is None:
            raise endings.fenced(self.run_id, self.attempt)


@dataclass(frozen=True, slots=True)
class Put:
    """A statement and its parameters."""

    statement: bytes
    parameters: dict[str, Any]

    def run(self, connection: Connection, owner: Owner | None) -> None:
        """Store it. Raises `Fenced` when `owner` no longer owns its run."""
        [(stored,)] = self.send(connection, owner).fetchall()
        if owner is not None and not stored:
            raise endings.fenced(owner.run_id, owner.attempt)

    def send(self, connection: Connection, owner: Owner | None) -> Cursor[Any]:
        """Store it; the answer has a row that says whether `owner` still owned its run, and it was."""
        fence = {"owner": owner.run_id, "attempt": owner.attempt} if owner else {"owner": None, "attempt": 0}
        return connection.execute(self.statement, {**self.parameters, **fence})


def checkpoint_put(
    config: RunnableConfig,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    new_versions: ChannelVersions,
    *,
    run_id: str | None,
    serde: SerializerProtocol,
) -> Put:
    """Serialise a checkpoint. Values JSON says exactly stand in its row, the others are stored once per version."""
    thread_id, checkpoint_ns, parent = address(config)
    values = checkpoint["channel_values"]
    inline = {channel: value for channel, value in values.items() if _is_plain(value)}
    new = [channel for channel in new_versions if channel in values and channel not in inline]
    typed = [serde.dumps_typed(values[channel]) for channel in new]
    for channel, value in values.items():
        if isinstance(value, _DeltaSnapshot):
            inline[channel] = True  # how the library marks it
    full = cast("dict[str, Any]", get_serializable_checkpoint_metadata(config, metadata))
    body = orjson.dumps({**checkpoint, "channel_values": inline}).decode()
    parameters = {
        **_named(thread_id, checkpoint_ns, checkpoint["id"], run_id or full.get("run_id")),
        "parent_checkpoint_id": parent,
        "checkpoint": body,
        "metadata": _NUL.sub(r"\1", as_json(full)),
        "channels": new,
        "versions": [str(new_versions[channel]) for channel in new],
        **_blobs(typed),
    }
    return Put(SQL.put_checkpoint, parameters)


def writes_put(
    config: RunnableConfig,
    writes: Sequence[tuple[str, Any]],
    task_id: str,
    task_path: str,
    *,
    run_id: str | None,
    serde: SerializerProtocol,
) -> Put:
    """Serialise a task's writes; of several errors, interrupts or resume values the last counts."""
    thread_id, checkpoint_ns, checkpoint_id = address(config)
    placed = {WRITES_IDX_MAP.get(channel, place): (channel, value) for place, (channel, value) in enumerate(writes)}
    typed = [serde.dumps_typed(value) for _, value in placed.values()]
    parameters = {
        **_named(thread_id, checkpoint_ns, checkpoint_id, run_id or _run_id(config)),
        "task_id": task_id,
        "task_path": task_path,
        "idxs": list(placed),
        "channels": [channel for channel, _ in placed.values()],
        **_blobs(typed),
    }
    return Put(SQL.put_writes, parameters)


def address(config: RunnableConfig) -> tuple[str, str, str | None]:
    """The thread, namespace and checkpoint a config names."""
    named = config.get("configurable", {})
    return str(named["thread_id"]), named.get("checkpoint_ns", ""), named.get("checkpoint_id")


def _named(thread_id: str, checkpoint_ns: str, checkpoint_id: str | None, run_id: str | None) -> dict[str, str | None]:
    return {"thread_id": thread_id, "checkpoint_ns": checkpoint_ns, "checkpoint_id": checkpoint_id, "run_id": run_id}


def _blobs(typed: Sequence[tuple[str, bytes]]) -> Mapping[str, Any]:
    return {"types": [kind for kind, _ in typed], "blobs": Blobs(stored for _, stored in typed)}


def _is_plain(value: object) -> bool:
    """Whether JSON in the database says the value as it is: it has no infinity, and its texts no NUL."""
    match value:
        case None | bool():
            return True
        case int():
            return abs(value) < 2**63
        case float():
            return math.isfinite(value)
        case str():
            return len(value) <= INLINE and "\0" not in value and value.isprintable()
        case _:
            return False


def _run_id(config: RunnableConfig) -> str:
    for part in (config.get("metadata"), config.get("configurable")):
        if part and (run_id := part.get("run_id")):
            return str(run_id)
    return ""
