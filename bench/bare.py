"""One-node runs without a server: what PostgreSQL and the statements alone cost. No HTTP, no graph, no Redis."""

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any

import msgspec
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import empty_checkpoint

from turnkeeper.storage.postgres.storage import PostgresStorage
from turnkeeper.types import (
    EMPTY,
    Assistant,
    Claimed,
    Composed,
    NewThread,
    Outcome,
    Preconditions,
    RunRequest,
    timestamp,
    uuid7,
)

CLIENTS = 8
OUTCOME = Outcome(status="success", values=msgspec.Raw(b'{"n":1}'))


class NoRoom:
    """Signals of a server without a worker."""

    def reserve(self) -> bool:
        """Never."""
        return False

    def hand_over(self, claimed: Claimed | None) -> None:
        """Nothing was reserved."""

    def wake(self) -> None:
        """Nobody sleeps."""

    def cancel(self, run_ids: Sequence[str]) -> None:
        """Nobody runs."""


class Bare:
    """A storage, and the moves a run makes in it."""

    def __init__(self, uri: str) -> None:
        self._storage = PostgresStorage(uri, connections=10)
        self._assistant = uuid7()
        self._threads: list[str] = []

    async def open(self) -> None:
        """Connect, and make an assistant."""
        self._storage.open()
        now = timestamp(self._storage.clock())
        names: dict[str, Any] = {"assistant_id": self._assistant, "graph_id": "noop", "name": "noop"}
        empty: dict[str, Any] = {"description": None, "config": EMPTY, "context": EMPTY, "metadata": EMPTY}
        made = Assistant(**names, **empty, version=1, created_at=now, updated_at=now)
        await self._storage.assistants.create(made, exist_ok=False)

    async def threads(self, runs: int) -> None:
        """Make a thread for each run to come."""
        self._threads = [uuid7() for _ in range(runs)]
        for thread_id in self._threads:
            await self._storage.threads.create(NewThread(thread_id, {}), exist_ok=False)

    async def carry_out(self) -> None:
        """Admit, claim, store one checkpoint and end each run; several at once."""
        queue, number = iter(self._threads), itertools.count()

        async def client() -> None:
            for thread_id in queue:
                await self._storage.runs.admit([self._request(thread_id)], NoRoom())
                for claimed in (await self._storage.runs.claim(1)).taken:
                    await self._execute(claimed, next(number))

        await asyncio.gather(*(client() for _ in range(CLIENTS)))

    async def _execute(self, claimed: Claimed, number: int) -> None:
        saver = self._storage.run_checkpointer(claimed, deferred=True)
        config: RunnableConfig = {"configurable": {"thread_id": claimed.thread_id, "checkpoint_ns": ""}}
        checkpoint = {**empty_checkpoint(), "channel_values": {"n": number}, "channel_versions": {"n": "1"}}
        await saver.aput(config, checkpoint, {"source": "loop", "step": 1}, {"n": "1"})  # pyright: ignore[reportArgumentType] - a checkpoint with values
        await self._storage.runs.finish(claimed.run_id, claimed.attempt, OUTCOME)

    def _request(self, thread_id: str) -> RunRequest:
        return RunRequest(
            run_id=uuid7(),
            thread_id=thread_id,
            assistant_id=self._assistant,
            strategy="enqueue",
            compose=_composed,
            due_at=self._storage.clock(),
            preconditions=Preconditions(max_queued=1000),
        )

    def close(self) -> None:
        """Hang up."""
        self._storage.close()


def _composed(assistant: Assistant, thread_metadata: dict[str, Any], *, answers: bool) -> Composed:  # noqa: ARG001 - as storage calls it
    return Composed(metadata=msgspec.Raw(b"{}"), kwargs=msgspec.Raw(b"{}"))
