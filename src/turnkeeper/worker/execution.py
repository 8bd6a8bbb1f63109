"""A graph at work that can be stopped: its task is cancelled, waited for, and left behind if it does not listen."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Literal

from turnkeeper.graphs.threads import all_ended, note_threads
from turnkeeper.types import Outcome

Why = Literal["cancel", "timeout", "drain"]


class Execution:
    """One attempt's work. Lives on the worker's loop."""

    def __init__(self, grace: float) -> None:
        """`grace`: seconds a node that ignores its cancellation is waited for."""
        self._grace = grace
        self._loop = asyncio.get_running_loop()
        self._late: asyncio.Future[None] = self._loop.create_future()
        self._task: asyncio.Task[Outcome] | None = None
        self.why: Why | None = None
        """What it was stopped for, if it was."""
        self.left_behind = False
        """Whether something of it may still be running."""

    async def see_through(self, work: Coroutine[Any, Any, Outcome], timeout: float | None) -> asyncio.Task[Outcome]:
        """Do the work until it ends or is stopped; the task returned is done, unless it was left behind."""
        threads = note_threads()
        self._task = task = asyncio.create_task(work)
        if self.why is not None:
            self._cut()
        timer = self._loop.call_later(timeout, self.stop, "timeout") if timeout is not None else None
        try:
            await asyncio.wait({task, self._late}, return_when=asyncio.FIRST_COMPLETED)
            if self.why is not None:
                self.left_behind = not await all_ended(threads, self._late) or not task.done()
        finally:
            if timer is not None:
                timer.cancel()
        if not task.done():
            task.add_done_callback(_forget)
        return task

    def stop(self, why: Why) -> None:
        """Stop the work, once; the first reason counts, but for a cancel, which counts always."""
        first = self.why is None
        if first or why == "cancel":
            self.why = why
        if first and self._task is not None:
            self._cut()

    def _cut(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._loop.call_later(self._grace, self._give_up)

    def _give_up(self) -> None:
        if not self._late.done():
            self._late.set_result(None)


def _forget(work: "asyncio.Task[Outcome]") -> None:
    """Take what the task comes to, so that nobody warns of it."""
    if not work.cancelled():
        work.exception()
