"""One attempt at one run, as a story: open the graph, run it, stop it when told, write its end, tell its listeners."""

import asyncio
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.store.base import BaseStore

from turnkeeper import metrics
from turnkeeper.codec import raw
from turnkeeper.contracts import EventLog, Storage
from turnkeeper.errors import Fenced, Unavailable, WriteLost
from turnkeeper.graphs.frames import error_info
from turnkeeper.graphs.loader import Graphs
from turnkeeper.graphs.runner import RunArguments, Runner
from turnkeeper.types import Claimed, Ended, Outcome
from turnkeeper.worker.execution import Execution
from turnkeeper.worker.telling import Protocol, RunStream

log = structlog.get_logger()

RETRY_AFTER = 0.5
"""Seconds until what the database did not take is tried again."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What every attempt works with."""

    storage: Storage
    events: EventLog
    graphs: Graphs
    store: BaseStore
    cancel_grace: float
    run_timeout: float | None
    max_attempts: int


class Attempt:
    """Executes a claimed run. Lives on the worker's loop."""

    def __init__(self, parts: Parts, claimed: Claimed) -> None:
        self._parts = parts
        self._claimed = claimed
        self._attempt = claimed.attempt
        self._unreadable: msgspec.MsgspecError | None = None
        self._arguments = self._read()
        self._durable = not claimed.temporary and (self._arguments.resumable or self._arguments.protocol)
        self._emit = RunStream(parts.events, claimed, durable=self._durable)
        self._tell = Protocol(parts.events, claimed, durable=self._durable and self._arguments.protocol)
        self._runner = Runner(claimed, self._arguments, self._saver(), self._saver, self._emit, self._tell)
        self._execution = Execution(parts.cancel_grace)
        self._ending = False

    def _read(self) -> RunArguments:
        """The run's arguments; what another version wrote may not be readable, which must fail only this run."""
        try:
            return msgspec.json.decode(self._claimed.kwargs, type=RunArguments)
        except msgspec.MsgspecError as error:
            self._unreadable = error
            return RunArguments()

    async def execute(self) -> Ended | None:
        """From claim to end; `None` when the run is no longer this attempt's to end."""
        try:
            outcome = await self._outcome()
            self._ending = True
            ended = None if outcome is None else await self._finish(outcome)
            if ended is None:
                await self._release()
                return None
        except Fenced:
            return None
        if ended.status is None and (self._claimed.carried or self._claimed.attempt > 1):
            await self._publish()
        metrics.ENDED.labels(ended.status or "rolled_back").inc()
        if ended.status == "success":
            self._runner.ask()
        self._parts.events.end(ended, durable=self._durable, protocol=self._arguments.protocol)
        return ended

    async def _publish(self) -> None:
        """After a rollback: inputs that an attempt carried ahead stay, so show clients a state with them."""
        outcome = await self._halted("success")
        await self._parts.storage.threads.publish_state(self._claimed.thread_id, outcome)

    def stop(self) -> None:
        """The run was cancelled: stop its graph."""
        self._runner.stop()
        self._execution.stop("cancel")

    @property
    def number(self) -> int:
        """Which attempt of its run it is, as the database has it."""
        return self._attempt

    def lose(self) -> None:
        """The run is somebody else's by now: stop its graph. Nothing it still writes is accepted."""
        if self._ending or self._execution.why == "drain":
            return
        log.warning("a run was lost to another worker, or is about to be", run_id=self._claimed.run_id)
        self.drain()

    def drain(self) -> None:
        """The server stops: let go of the run so that it can be taken up again."""
        self._runner.stop()
        self._execution.stop("drain")

    def _saver(self, author: str | None = None) -> BaseCheckpointSaver[str]:
        """The checkpointer of this attempt. What is made on behalf of another run is on disk before we go on."""
        deferred = author is None and self._arguments.durability != "sync"
        return self._parts.storage.run_checkpointer(self._claimed, deferred=deferred, author=author)

    async def _outcome(self) -> Outcome | None:
        """How the graph ended, or what it left when it was stopped; `None` when the run is to be released."""
        self._emit("metadata", {"run_id": self._claimed.run_id, "attempt": self._claimed.attempt})
        self._tell("lifecycle", (), {"event": "running", "graph_name": self._claimed.graph_id})
        if self._claimed.cancel_action is not None or self._execution.why == "cancel":
            return await self._halted("interrupted")
        if self._unreadable is not None:
            return await self._halted("error", self._unreadable)
        if self._claimed.crashes >= self._parts.max_attempts:
            tried = f"The server went down {self._claimed.crashes} times while this run was going (max_attempts)."
            return await self._halted("error", RuntimeError(tried))
        timeout = self._arguments.run_timeout or self._parts.run_timeout
        work = await self._execution.see_through(self._perform(), timeout)
        if self._execution.left_behind:
            log.warning("a node ignores its cancellation and is left behind", run_id=self._claimed.run_id)
            metrics.LEFT_BEHIND.inc()
            self._attempt = await self._parts.storage.runs.seal(self._claimed.run_id, self._attempt)
        return await self._judge(work, timeout)

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

    async def _judge(self, work: asyncio.Task[Outcome], timeout: float | None) -> Outcome | None:
        """What the run comes to, from what its work came to and why it was stopped."""
        if work.done() and not work.cancelled() and work.exception() is None:
            return work.result()
        match self._execution.why:
            case "cancel":
                return await self._halted("interrupted")
            case "timeout":
                late = f"The run took longer than {timeout} seconds."
                return msgspec.structs.replace(await self._halted("timeout", TimeoutError(late)), reason=late)
            case "drain":
                return None
            case None:
                error = asyncio.CancelledError("The node was cancelled.") if work.cancelled() else work.exception()
                if isinstance(error, Fenced) or error is None:
                    raise Fenced(str(error))
                if isinstance(error, Unavailable) and self._may_try_again:
                    return None
                return await self._halted("error", error)

    async def _halted(self, status: Any, error: BaseException | None = None) -> Outcome:
        """What a run leaves that did not reach its end: the thread's newest checkpoint, and the error if any."""
        if error is not None:
            log.info("run failed", run_id=self._claimed.run_id, error=repr(error))
            self._emit("error", error_info(error))
        try:
            async with self._parts.graphs.open(
                self._claimed.graph_id, config=self._runner.config, access="threads.read", store=self._parts.store
            ) as graph:
                return await self._runner.halted(graph, status, error)
        except Exception as trouble:  # noqa: BLE001 - a graph that cannot be opened must not keep its run from ending
            return Outcome(status=status, rest="error", error=raw(error_info(error or trouble)))

    @property
    def _may_try_again(self) -> bool:
        """Whether a run the database did not keep up with is taken up again: not for ever, its steps may be dear."""
        return self._claimed.attempt < self._parts.max_attempts

    async def _release(self) -> None:
        """Put the run back into the queue. A full disk is waited out."""
        reason = "server stopping" if self._execution.why == "drain" else "a write was lost"
        while True:
            try:
                return await self._parts.storage.runs.release(self._claimed.run_id, self._attempt, reason)
            except Unavailable as error:
                log.warning("a run is not back in the queue yet", run_id=self._claimed.run_id, error=str(error))
                await asyncio.sleep(RETRY_AFTER)

    async def _finish(self, outcome: Outcome) -> Ended | None:
        """Write the end. A full disk is waited out; a checkpoint that could not be stored makes the run an error.

        `None` when steps did not get on disk and are to be done again.
        """
        finish, pause = self._parts.storage.runs.finish, 0.0
        while True:
            try:
                return await finish(self._claimed.run_id, self._attempt, outcome)
            except Fenced:
                raise
            except Unavailable as error:
                log.warning("the end of a run is not written yet", run_id=self._claimed.run_id, error=str(error))
                await asyncio.sleep(RETRY_AFTER)
            except WriteLost as error:
                if self._may_try_again:
                    return None
                outcome = await self._halted("error", error)
            except Exception as error:  # noqa: BLE001 - whatever it is, the run must end
                outcome = await self._halted("error", error)
                await asyncio.sleep(pause)
                pause = RETRY_AFTER
