"""One attempt at one run, as a story: open the graph, run it, stop it when told, write its end, tell its listeners."""

import asyncio
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
from langgraph.store.base import BaseStore

from turnkeeper.codec import encode, raw
from turnkeeper.contracts import EventLog, Frame, Storage
from turnkeeper.errors import Fenced
from turnkeeper.graphs.frames import error_info
from turnkeeper.graphs.loader import Graphs
from turnkeeper.graphs.runner import RunArguments, Runner
from turnkeeper.types import Claimed, Ended, Outcome

log = structlog.get_logger()

MAX_ATTEMPTS = 3
"""A run that took the server down this often is not tried again."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What every attempt works with."""

    storage: Storage
    events: EventLog
    graphs: Graphs
    store: BaseStore
    cancel_grace: float


class Attempt:
    """Executes a claimed run. Lives on the worker's loop."""

    def __init__(self, parts: Parts, claimed: Claimed) -> None:
        self._parts = parts
        self._claimed = claimed
        self._arguments = msgspec.json.decode(claimed.kwargs, type=RunArguments)
        saver = parts.storage.run_checkpointer(claimed, deferred=self._arguments.durability != "sync")
        self._runner = Runner(claimed, self._arguments, saver, self._emit)
        self._work: asyncio.Task[Outcome] | None = None
        self._stopping = claimed.cancel_action is not None
        self._draining = False
        self._abandoned: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def execute(self) -> Ended | None:
        """From claim to end; `None` when the run is no longer this attempt's to end."""
        try:
            outcome = await self._outcome()
            if outcome is None:
                await self._parts.storage.runs.release(self._claimed.run_id, self._claimed.attempt)
                return None
            ended = await self._finish(outcome)
        except Fenced:
            return None
        self._parts.events.end(ended)
        return ended

    async def _finish(self, outcome: Outcome) -> Ended:
        """Write the end. A checkpoint that could not be stored turns a success into an error."""
        finish = self._parts.storage.runs.finish
        try:
            return await finish(self._claimed.run_id, self._claimed.attempt, outcome)
        except Fenced:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the run must end
            return await finish(self._claimed.run_id, self._claimed.attempt, await self._failed(error))

    def stop(self) -> None:
        """The run was cancelled: cancel its graph, and wait no longer than `cancel_grace` for it."""
        if not self._stopping:
            self._stopping = True
            self._cancel_work()

    def drain(self) -> None:
        """The server stops: let go of the run so that it can be taken up again."""
        self._draining = True
        self._cancel_work()

    def _cancel_work(self) -> None:
        if self._work is not None:
            self._runner.stop()
            self._work.cancel()
            asyncio.get_running_loop().call_later(self._parts.cancel_grace, self._abandon)

    def _abandon(self) -> None:
        if not self._abandoned.done():
            self._abandoned.set_result(None)

    async def _outcome(self) -> Outcome | None:
        """How the graph ended, or what it left when it was stopped; `None` when the run is to be released."""
        self._emit("metadata", {"run_id": self._claimed.run_id, "attempt": self._claimed.attempt})
        if self._stopping:
            return await self._halted("interrupted")
        if self._claimed.attempt > MAX_ATTEMPTS:
            return await self._failed(
                RuntimeError(f"The server stopped {MAX_ATTEMPTS} times while this run was going.")
            )
        self._work = asyncio.create_task(self._perform())
        await asyncio.wait({self._work, self._abandoned}, return_when=asyncio.FIRST_COMPLETED)
        return await self._judge(self._work)

    async def _perform(self) -> Outcome:
        runner, arguments = self._runner, self._arguments
        async with self._parts.graphs.open(
            self._claimed.graph_id,
            config=runner.config,
            access="threads.create_run",
            store=self._parts.store,
            context=arguments.context,
        ) as graph:
            return await runner.run(graph)

    async def _judge(self, work: asyncio.Task[Outcome]) -> Outcome | None:
        if not work.done():
            log.warning("a node ignores its cancellation and is left behind", run_id=self._claimed.run_id)
            work.add_done_callback(_forget)
        elif not work.cancelled() and work.exception() is None:
            return work.result()
        if self._stopping:
            return await self._halted("interrupted")
        if self._draining:
            return None
        error = asyncio.CancelledError() if work.cancelled() else work.exception()
        if isinstance(error, Fenced) or error is None:
            raise Fenced(str(error))
        return await self._failed(error)

    async def _failed(self, error: BaseException) -> Outcome:
        log.info("run failed", run_id=self._claimed.run_id, error=repr(error))
        self._emit("error", error_info(error))
        return await self._halted("error", error)

    async def _halted(self, status: Any, error: BaseException | None = None) -> Outcome:
        try:
            async with self._parts.graphs.open(
                self._claimed.graph_id, config=self._runner.config, access="threads.read", store=self._parts.store
            ) as graph:
                return await self._runner.halted(graph, status, error)
        except Exception as trouble:  # noqa: BLE001 - a graph that cannot be opened must not keep its run from ending
            return Outcome(status=status, rest="error", error=raw(error_info(error or trouble)))

    def _emit(self, event: str, data: Any) -> None:
        """Encode and hand on an event if anybody listens."""
        run_id = self._claimed.run_id
        if self._parts.events.wanted(run_id):
            self._parts.events.append(run_id, Frame(event, encode(data)))


def _forget(work: "asyncio.Task[Outcome]") -> None:
    """Take what an abandoned task comes to, so that nobody warns of it."""
    if not work.cancelled():
        work.exception()
