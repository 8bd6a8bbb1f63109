"""The worker: claims due runs, starts an attempt at each, and sleeps until it is woken."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from turnkeeper.contracts import Signals
from turnkeeper.errors import Unavailable
from turnkeeper.types import Claimed, Clock
from turnkeeper.worker.attempt import RETRY_AFTER, Attempt, Parts
from turnkeeper.worker.holding import Holding
from turnkeeper.worker.places import Places

log = structlog.get_logger()

SLOW_POLL = 5.0
"""Seconds after which a worker looks for work unasked: wake-ups are hints, and hints get lost."""

ON_ITS_WAY = 0.02
"""Seconds between two looks whether the runs of a worker that stops have ended, or come yet."""

MOST_AT_ONCE = 32
"""Runs claimed in one transaction: bounds how long others wait for it."""


class Worker:
    """Executes up to `jobs` runs at once. What `contracts.Signals` names is for any thread, the rest for its loop."""

    def __init__(self, parts: Parts, signals: Signals, *, jobs: int, clock: Clock = time.time) -> None:
        """`signals` reach all workers, this one, too."""
        self._parts = parts
        self._signals = signals
        self._clock = clock
        self._places = Places(jobs)
        self._attempts: dict[tuple[str, int], Attempt] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._work = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._claiming = False
        self._draining = False
        self._cancelled_early: set[str] = set()

    async def serve(self) -> None:
        """Take up what a crash left behind, then work until `stop`. What others left behind, `hold` takes up."""
        self._loop = asyncio.get_running_loop()
        if self._parts.storage.leases is None:
            await self._parts.storage.runs.recover()
        self._places.open()
        while self._places.are_open:
            self._work.clear()
            delay = await self._claim()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._work.wait()

    async def hold(self) -> None:
        """Keep the runs where other workers could take them, until cancelled.

        On another loop than `serve`: a node that blocks that one does not make the worker silent.
        """
        if self._parts.storage.leases is not None:
            await Holding(self._parts.storage.leases, self).serve()

    def executing(self) -> dict[tuple[str, int], Attempt]:
        """What is executed now, by run and attempt. From any thread."""
        return dict(self._attempts)

    def post(self, job: Callable[[], None]) -> None:
        """Do something on the worker's loop. From any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(job)

    def wake_all(self) -> None:
        """There may be a run to claim, for any worker. From any thread."""
        self._signals.wake()

    async def release(self, run_id: str, attempt: int, reason: str) -> None:
        """Put a run back in its queue that this worker does not execute. Raises `Fenced` when it has it no more."""
        await self._parts.storage.runs.release(run_id, attempt, reason)

    def reserve(self) -> bool:
        """See `contracts.Signals`."""
        return self._places.take(1) == 1

    def hand_over(self, claimed: Claimed | None) -> None:
        """See `contracts.Signals`."""
        if claimed is None:
            self._places.give_back(1)
        else:
            self.post(partial(self._start, claimed))

    def wake(self) -> None:
        """See `contracts.Signals`."""
        self.post(self._work.set)

    def cancel(self, run_ids: Sequence[str]) -> None:
        """See `contracts.Signals`."""
        self.post(partial(self._cancel, run_ids))

    def claim_no_more(self) -> None:
        """The server is about to stop: start nothing. May be called from any thread."""
        self._places.close()

    async def stop(self, timeout: float) -> None:
        """Claim no more, give the runs `timeout` seconds to end, put the rest back in the queue."""
        self._places.close()
        self._work.set()
        await self._empty(timeout)
        self._draining = True
        for attempt in self._attempts.values():
            attempt.drain()
        await self._empty(self._parts.cancel_grace)

    async def _empty(self, timeout: float) -> None:
        """Wait until no run is left, nor one on its way here, which would be nobody's until its lease ends."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while not self._places.are_free:  # noqa: ASYNC110 - places are given back on other threads
                    await asyncio.sleep(ON_ITS_WAY)

    async def _claim(self) -> float:
        """Start as many runs as there are free places; returns how long to sleep then."""
        places = self._places.take(MOST_AT_ONCE)
        if not places:
            return SLOW_POLL
        self._claiming = True
        try:
            claims = await self._parts.storage.runs.claim(places)
            self._places.give_back(places - len(claims.taken))
            for claimed in claims.taken:
                self._start(claimed)
        except Unavailable as error:
            log.warning("no run can be claimed now", error=str(error))
            self._places.give_back(places)
            return RETRY_AFTER
        finally:
            self._claiming = False
            self._cancelled_early.clear()
        if len(claims.taken) == places:
            self._work.set()
        if claims.next_due is None:
            return SLOW_POLL
        return min(SLOW_POLL, max(0.0, claims.next_due - self._clock()))

    def _start(self, claimed: Claimed) -> None:
        attempt = Attempt(self._parts, claimed)
        if claimed.run_id in self._cancelled_early:
            attempt.stop()
        if self._draining:
            attempt.drain()
        self._attempts[claimed.run_id, claimed.attempt] = attempt
        task = asyncio.create_task(self._see_through(claimed, attempt))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _see_through(self, claimed: Claimed, attempt: Attempt) -> None:
        try:
            ended = await attempt.execute()
        except Exception:
            log.exception("an attempt could not be ended; its run is taken up after a restart", run_id=claimed.run_id)
            ended = None
        finally:
            del self._attempts[claimed.run_id, claimed.attempt]
            was_full = self._places.give_back(1)
        if ended is None or (ended.more and not self._places.are_open):
            self.wake_all()  # what we let go of, and what we do not claim any more, is for others
        if was_full or ended is None or ended.more:
            self._work.set()

    def _cancel(self, run_ids: Sequence[str]) -> None:
        asked = set(run_ids)
        for (run_id, _), attempt in self._attempts.items():
            if run_id in asked:
                attempt.stop()
        if self._claiming:  # a claim may be on its way back to us
            self._cancelled_early |= asked
        self._work.set()
