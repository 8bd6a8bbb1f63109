"""The LangGraph checkpointer on our own database: one writer, fenced, and never more written than what changed."""

import copy
import itertools
import random
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from turnkeeper.storage.sqlite import checkpoint_removal as removal
from turnkeeper.storage.sqlite.channels import KnownLists, Place, Stale
from turnkeeper.storage.sqlite.checkpoint_puts import CheckpointPut, address, checkpoint_put, writes_put
from turnkeeper.storage.sqlite.checkpoint_rows import (
    Loaded,
    config_of,
    delta_history,
    find,
    find_all,
    find_at,
    matches,
    read,
)
from turnkeeper.storage.sqlite.database import Database
from turnkeeper.storage.sqlite.deferred import DeferredWrites
from turnkeeper.storage.sqlite.spans import KnownList

T = TypeVar("T")
Guard = Callable[[sqlite3.Connection], None]

PAGE = 16
"""Checkpoints that `list` reads at a time: each may be a whole long thread."""


class SqliteSaver(BaseCheckpointSaver[str]):
    """Checkpoints of LangGraph graphs, for one attempt of one run or for reading.

    The methods without an `a` block the calling thread; never call them on an event loop.
    """

    def __init__(
        self,
        database: Database,
        *,
        run_id: str | None = None,
        guard: Guard | None = None,
        serde: SerializerProtocol | None = None,
        deferred: DeferredWrites | None = None,
        look: Guard | None = None,
        wrote: Guard | None = None,
    ) -> None:
        """`run_id` is whose everything put here is; without it the metadata's `run_id` counts.

        `guard` runs first in the transaction of every write. What it raises (`Fenced`, `Conflict`) the caller gets,
        and nothing is written. With `deferred` the async puts return before they are on disk. `look` runs before every
        read of a checkpoint, `wrote` after every write: what they note, `guard` can compare.
        """
        super().__init__(serde=serde or JsonPlusSerializer())
        self._database = database
        self._run_id = run_id
        self._guard = guard
        self._deferred = deferred
        self._look = look
        self._wrote = wrote
        self._lists = KnownLists()  # shared by the copies `with_allowlist` makes

    def for_run(self, run_id: str, guard: Guard, deferred: DeferredWrites | None) -> "SqliteSaver":
        """A saver for one attempt. Cheaper than a new one, whose serialiser LangGraph would look through again."""
        saver = copy.copy(self)
        saver._run_id, saver._guard, saver._deferred = run_id, guard, deferred  # noqa: SLF001 - one of us
        saver._lists = KnownLists()  # noqa: SLF001
        return saver

    def get_next_version(self, current: str | float | None, channel: None) -> str:  # noqa: ARG002 - LangGraph's signature
        """A version after `current`, different on every branch of a thread."""
        count = int(str(current).partition(".")[0]) if current is not None else 0
        return f"{count + 1:07}.{random.getrandbits(32):08x}"

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint that `config` names, or the newest of its thread and namespace."""
        if self._deferred is not None and self._deferred.fresh:
            return None
        await self._settle()
        return self._learn(await self._database.read(partial(self._read, config)))

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """`aget_tuple`, blocking."""
        self._settle_sync()
        return self._learn(self._database.read_sync(partial(self._read, config)))

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Checkpoints, newest first; `filter` is what their metadata must equal."""
        await self._settle()
        seqs = await self._database.read(partial(_find_all, config, before))
        for page in _pages(seqs):
            for loaded in await self._database.read(partial(self._read_page, page, filter, limit)):
                yield loaded
                if limit is not None:
                    limit -= 1
            if limit is not None and limit <= 0:
                return

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """`alist`, blocking."""
        self._settle_sync()
        seqs = self._database.read_sync(partial(_find_all, config, before))
        for page in _pages(seqs):
            for loaded in self._database.read_sync(partial(self._read_page, page, filter, limit)):
                yield loaded
                if limit is not None:
                    limit -= 1
            if limit is not None and limit <= 0:
                return

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint; returns the config that names it."""
        put = self._checkpoint(config, checkpoint, metadata, new_versions)
        if self._deferred is not None and not put.channels.lists:  # where lists are stored, the next put builds on
            self._deferred.post(self._guarded(put.run))
            return self._stored(config, checkpoint, {})
        try:
            known = await self._database.write(self._guarded(put.run))
        except Stale:
            self._lists.forget()
            known = await self._database.write(
                self._guarded(self._checkpoint(config, checkpoint, metadata, new_versions).run)
            )
        return self._stored(config, checkpoint, known)

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """`aput`, blocking."""
        try:
            known = self._database.write_sync(
                self._guarded(self._checkpoint(config, checkpoint, metadata, new_versions).run)
            )
        except Stale:
            self._lists.forget()
            known = self._database.write_sync(
                self._guarded(self._checkpoint(config, checkpoint, metadata, new_versions).run)
            )
        return self._stored(config, checkpoint, known)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store what a task wrote on top of a checkpoint."""
        put = writes_put(config, writes, task_id, task_path, run_id=self._run_id, serde=self.serde)
        if self._deferred is not None:
            self._deferred.post(self._guarded(put.run))
        else:
            await self._database.write(self._guarded(put.run))

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """`aput_writes`, blocking."""
        put = writes_put(config, writes, task_id, task_path, run_id=self._run_id, serde=self.serde)
        self._database.write_sync(self._guarded(put.run))

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """What each channel's ancestors wrote, back to the nearest checkpoint that stored its value."""
        await self._settle()
        return await self._database.read(partial(self._history, config, channels))

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """`aget_delta_channel_history`, blocking."""
        self._settle_sync()
        return self._database.read_sync(partial(self._history, config, channels))

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete everything stored of a thread."""
        await self._database.write(self._guarded(lambda connection: removal.delete_thread(connection, thread_id)))

    def delete_thread(self, thread_id: str) -> None:
        """`adelete_thread`, blocking."""
        self._database.write_sync(self._guarded(lambda connection: removal.delete_thread(connection, thread_id)))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Take back all that runs put: their checkpoints, and their writes on anyone's checkpoints."""
        await self._database.write(self._guarded(lambda connection: removal.delete_for_runs(connection, run_ids)))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """`adelete_for_runs`, blocking."""
        self._database.write_sync(self._guarded(lambda connection: removal.delete_for_runs(connection, run_ids)))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread. Raises `Conflict` when the target already has checkpoints."""
        await self._database.write(
            self._guarded(lambda connection: removal.copy_thread(connection, source_thread_id, target_thread_id))
        )

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """`acopy_thread`, blocking."""
        self._database.write_sync(
            self._guarded(lambda connection: removal.copy_thread(connection, source_thread_id, target_thread_id))
        )

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Drop history. Raises `Invalid` on a strategy other than `keep_latest` and `delete`."""
        await self._database.write(self._guarded(lambda connection: removal.prune(connection, thread_ids, strategy)))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """`aprune`, blocking."""
        self._database.write_sync(self._guarded(lambda connection: removal.prune(connection, thread_ids, strategy)))

    async def _settle(self) -> None:
        """What was put must be seen by the reads that follow."""
        if self._deferred is not None:
            await self._deferred.settle()

    def _settle_sync(self) -> None:
        if self._deferred is not None:
            self._deferred.settle_sync()

    def _checkpoint(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> CheckpointPut:
        return checkpoint_put(
            config, checkpoint, metadata, new_versions, run_id=self._run_id, serde=self.serde, lists=self._lists
        )

    def _guarded(self, job: Callable[[sqlite3.Connection], T]) -> Callable[[sqlite3.Connection], T]:
        guard, wrote = self._guard, self._wrote
        if guard is None:
            return job

        def guarded(connection: sqlite3.Connection) -> T:
            guard(connection)
            result = job(connection)
            if wrote is not None:
                wrote(connection)
            return result

        return guarded

    def _stored(
        self, config: RunnableConfig, checkpoint: Checkpoint, known: Mapping[Place, KnownList]
    ) -> RunnableConfig:
        for place, made in known.items():
            self._lists.learn(place, made)
        thread_id, checkpoint_ns, _ = address(config)
        return config_of(thread_id, checkpoint_ns, checkpoint["id"])

    def _read(self, config: RunnableConfig, connection: sqlite3.Connection) -> Loaded | None:
        if self._look is not None:
            self._look(connection)
        row = find(connection, *address(config))
        return read(connection, row, self.serde) if row else None

    def _learn(self, loaded: Loaded | None) -> CheckpointTuple | None:
        if loaded is None:
            return None
        for place, known in loaded.lists.items():
            self._lists.learn(place, known)
        return loaded.tuple

    def _read_page(
        self, page: Sequence[int], wanted: dict[str, Any] | None, limit: int | None, connection: sqlite3.Connection
    ) -> Sequence[CheckpointTuple]:
        found = (find_at(connection, seq) for seq in page)
        matching = (row for row in found if row and matches(row, wanted))
        return [read(connection, row, self.serde).tuple for row in itertools.islice(matching, limit)]

    def _history(
        self, config: RunnableConfig, channels: Sequence[str], connection: sqlite3.Connection
    ) -> Mapping[str, DeltaChannelHistory]:
        row = find(connection, *address(config))
        return delta_history(connection, row, channels, self.serde)


def _find_all(
    config: RunnableConfig | None, before: RunnableConfig | None, connection: sqlite3.Connection
) -> Sequence[int]:
    end = address(before)[2] if before else None
    if config is None:
        return find_all(connection, before=end)
    named = config.get("configurable", {})
    return find_all(
        connection,
        str(named["thread_id"]),
        named.get("checkpoint_ns"),
        named.get("checkpoint_id"),
        before=end,
    )


def _pages(seqs: Sequence[int]) -> Iterator[Sequence[int]]:
    return (seqs[start : start + PAGE] for start in range(0, len(seqs), PAGE))
