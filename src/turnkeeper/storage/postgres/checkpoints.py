"""The LangGraph checkpointer: the tables and the reads of `langgraph-checkpoint-postgres`, writes of our own.

A write is one statement that is fenced (I7) and says whose it is, so that a rollback can take it back.
"""

import copy
import random
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)
from langgraph.checkpoint.postgres import Conn, PostgresSaver
from langgraph.checkpoint.serde.base import SerializerProtocol
from psycopg import Connection

from turnkeeper.errors import Invalid
from turnkeeper.storage.postgres import checkpoint_ids
from turnkeeper.storage.postgres import checkpoint_removal as removal
from turnkeeper.storage.postgres.checkpoint_puts import Owner, Put, address, checkpoint_put, writes_put
from turnkeeper.storage.postgres.database import Database, in_transaction, translated
from turnkeeper.storage.postgres.deferred import DeferredPuts
from turnkeeper.storage.postgres.edits import Edit

T = TypeVar("T")

PAGE = 16
"""Checkpoints that `list` reads at a time: each may be a whole long thread."""


class Saver(PostgresSaver):
    """Checkpoints of LangGraph graphs, for one attempt of one run or for reading.

    The methods without an `a` block the calling thread; never call them on an event loop.
    """

    def __init__(
        self,
        database: Database,
        *,
        run_id: str | None = None,
        owner: Owner | None = None,
        edit: Edit | None = None,
        serde: SerializerProtocol | None = None,
    ) -> None:
        """`run_id` is whose everything put here is; without it the metadata's `run_id` counts.

        Puts raise `Fenced` unless `owner` owns its run, and `Conflict` when something stands against the `edit`.
        """
        super().__init__(cast("Conn", database.pool), serde=serde)
        self._database = database
        self._run_id = run_id
        self._owner = owner
        self._edit = edit
        self._fresh = [False]  # shared by the copies `with_allowlist` makes
        self._puts: DeferredPuts | None = None
        self._defers = False

    def for_run(self, run_id: str, owner: Owner, puts: DeferredPuts | None, *, deferred: bool, fresh: bool) -> "Saver":
        """A saver for one attempt. Cheaper than a new one, whose serialiser LangGraph would look through again.

        `puts` is what the attempt has deferred, and is written before anything else; with `deferred` the async puts are
        added to it. With `fresh` nothing is stored of the thread yet, which need not be asked for before the first put.
        """
        saver = copy.copy(self)
        saver._run_id, saver._owner, saver._fresh = run_id, owner, [fresh]  # noqa: SLF001 - one of us
        saver._puts, saver._defers = puts, deferred  # noqa: SLF001
        return saver

    def get_next_version(self, current: str | float | None, channel: None) -> str:  # noqa: ARG002 - LangGraph's signature
        """A version after `current`, different on every branch of a thread; shorter than the library's."""
        count = int(str(current).partition(".")[0]) if current is not None else 0
        return f"{count + 1:07}.{random.getrandbits(32):08x}"

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint that `config` names, or the newest of its thread and namespace."""
        if self._fresh[0]:
            return None
        if self._edit is not None:
            self._database.call(self._edit.look)
        self._settle()
        with translated():
            found = super().get_tuple(_named(config))
        if found is not None:
            checkpoint_ids.go_on_after(found.checkpoint["id"])
        return found

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """`get_tuple` without blocking the event loop."""
        return None if self._fresh[0] else await self._database.on_thread(lambda: self.get_tuple(config))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Checkpoints, newest first; `filter` is what their metadata must contain."""
        left = limit
        while page := self._page(config, filter, before, left):
            yield from page
            left = None if left is None else left - len(page)
            before = page[-1].config
            if len(page) < PAGE or config is None:
                return

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """`list` without blocking the event loop."""
        pages = self.list(config, filter=filter, before=before, limit=limit)
        done = object()
        while (found := await self._database.on_thread(lambda: next(pages, done))) is not done:
            yield cast("CheckpointTuple", found)

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint; returns the config that names it."""
        put = checkpoint_put(config, checkpoint, metadata, new_versions, run_id=self._run_id, serde=self.serde)
        self._put_now(put)
        return self._stored(config, checkpoint)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """`put` without blocking the event loop."""
        put = checkpoint_put(config, checkpoint, metadata, new_versions, run_id=self._run_id, serde=self.serde)
        await self._put(put)
        return self._stored(config, checkpoint)

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store what a task wrote on top of a checkpoint."""
        put = writes_put(config, writes, task_id, task_path, run_id=self._run_id, serde=self.serde)
        self._fresh[0] = False
        self._put_now(put)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """`put_writes` without blocking the event loop."""
        put = writes_put(config, writes, task_id, task_path, run_id=self._run_id, serde=self.serde)
        self._fresh[0] = False
        await self._put(put)

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """What each channel's ancestors wrote, back to the nearest checkpoint that stored its value."""
        self._settle()
        with translated():
            return super().get_delta_channel_history(config=config, channels=channels)

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """`get_delta_channel_history` without blocking the event loop."""
        return await self._database.on_thread(lambda: self.get_delta_channel_history(config=config, channels=channels))

    def delete_thread(self, thread_id: str) -> None:
        """Delete everything stored of a thread."""
        self._change(lambda connection: removal.delete_thread(connection, thread_id))

    async def adelete_thread(self, thread_id: str) -> None:
        """`delete_thread` without blocking the event loop."""
        await self._database.on_thread(lambda: self.delete_thread(thread_id))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Take back all that runs put: their checkpoints, and their writes on anyone's checkpoints."""
        self._change(lambda connection: removal.delete_for_runs(connection, run_ids))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """`delete_for_runs` without blocking the event loop."""
        await self._database.on_thread(lambda: self.delete_for_runs(run_ids))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread. Raises `Conflict` when the target already has checkpoints."""
        self._change(lambda connection: removal.copy_thread(connection, source_thread_id, target_thread_id))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """`copy_thread` without blocking the event loop."""
        await self._database.on_thread(lambda: self.copy_thread(source_thread_id, target_thread_id))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Drop history. Raises `Invalid` on a strategy other than `keep_latest` and `delete`.

        Raises `NotImplementedError` on `keep_latest` for a thread with a delta channel, as the library does.
        """
        if strategy not in ("keep_latest", "delete"):
            raise Invalid(f"There is no prune strategy {strategy!r}; the strategies are 'keep_latest' and 'delete'.")
        self._settle()
        with translated():
            super().prune(thread_ids, strategy=strategy)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """`prune` without blocking the event loop."""
        await self._database.on_thread(lambda: self.prune(thread_ids, strategy=strategy))

    def _page(
        self,
        config: RunnableConfig | None,
        wanted: dict[str, Any] | None,
        before: RunnableConfig | None,
        limit: int | None,
    ) -> "list[CheckpointTuple]":
        """Some checkpoints, read whole: the library's generator would hold a connection until its consumer is done.

        Those of all threads are not paged: a copy has the ids of its original, so no id says how far one has come.
        """
        size = limit if config is None else min(PAGE, PAGE if limit is None else limit)
        self._settle()
        with translated():
            found = super().list(config and _named(config), filter=wanted, before=before and _named(before), limit=size)
            return [*found]

    async def _put(self, put: Put) -> None:
        if self._puts is None or not self._defers:
            await self._database.on_thread(lambda: self._put_now(put))
        elif self._puts.post(put):
            await self._database.run(self._puts.write)

    def _put_now(self, put: Put) -> None:
        self._settle()
        self._database.call(self._guarded(put))

    def _settle(self) -> None:
        """Write what the attempt has deferred."""
        if self._puts is not None and self._puts.wait:
            self._database.call(self._puts.write)

    def _change(self, job: Callable[[Connection], None]) -> None:
        def change(connection: Connection) -> None:
            if self._owner is not None:
                self._owner.hold(connection)
            job(connection)

        self._settle()
        self._database.call(in_transaction(change))

    def _guarded(self, put: Put) -> Callable[[Connection], None]:
        owner, edit = self._owner, self._edit
        if edit is None:
            return lambda connection: put.run(connection, owner)

        def guarded(connection: Connection) -> None:
            edit.guard(connection)
            put.run(connection, owner)
            edit.wrote(connection)

        return in_transaction(guarded)

    def _stored(self, config: RunnableConfig, checkpoint: Checkpoint) -> RunnableConfig:
        self._fresh[0] = False
        thread_id, checkpoint_ns, _ = address(config)
        return {
            "configurable": {"thread_id": thread_id, "checkpoint_ns": checkpoint_ns, "checkpoint_id": checkpoint["id"]}
        }


def _named(config: RunnableConfig) -> RunnableConfig:
    """A config whose ids are texts, whatever a client sent: the library hands them to the database as they are."""
    named = config.get("configurable", {})
    ids = ("thread_id", "checkpoint_ns", "checkpoint_id")
    return {"configurable": {name: str(named[name]) for name in ids if named.get(name) is not None}}
