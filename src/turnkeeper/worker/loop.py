"""The worker: claims due runs, starts an attempt at each, and sleeps until it is woken."""

import asyncio
import contextlib
import time
from collections.abc import Sequence

import structlog

from turnkeeper.errors import Unavailable
from turnkeeper.types import Claimed, Clock
from turnkeeper.worker.attempt import RETRY_AFTER, Attempt, Parts
from turnkeeper.worker.places import Places

log = structlog.get_logger()

SLOW_POLL = 5.0
"""Seconds after which a worker looks for work unasked: wake-ups are hints, and hints get lost."""

MOST_AT_ONCE = 32
"""Runs claimed in one transaction: bounds how long others wait for it."""


class Worker:
    """Executes up to `jobs` runs at once. What `contracts.Signals` names is for any thread, the rest for its loop."""

    def __init__(self, parts: Parts, *, jobs: int, clock: Clock = time.time) -> None:
        self._parts = parts
        self._clock = clock
        self._places = Places(jobs)
        self._attempts: dict[str, tuple[Attempt, asyncio.Task[None]]] = {}
        self._work = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._claiming = False
        self._cancelled_early: set[str] = set()

    async def serve(self) -> None:
        """Take up what a crash left behind, then work until `stop`."""
        self._loop = asyncio.get_running_loop()
        await self._parts.storage.runs.recover()
        self._places.open()
        while self._places.are_open:
            self._work.clear()
            delay = await self._claim()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._work.wait(), delay)

    def reserve(self) -> bool:
        """See `contracts.Signals`."""
        return self._places.take(1) == 1

    def hand_over(self, claimed: Claimed | None) -> None:
        """See `contracts.Signals`."""
        if claimed is None:
            self._places.give_back(1)
        elif self._loop is not None:
            self._loop.call_soon_threadsafe(self._start, claimed)

    def wake(self) -> None:
        """See `contracts.Signals`."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._work.set)

    def cancel(self, run_ids: Sequence[str]) -> None:
        """See `contracts.Signals`."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._cancel, run_ids)

    def claim_no_more(self) -> None:
        """The server is about to stop: start nothing. May be called from any thread."""
        self._places.close()

    async def stop(self, timeout: float) -> None:
        """Claim no more, give the runs `timeout` seconds to end, put the rest back in the queue."""
        self._places.close()
        self._work.set()
        tasks = [task for _, task in self._attempts.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout)
        rest = list(self._attempts.values())
        for attempt, _ in rest:
            attempt.drain()
        if rest:
            await asyncio.wait([task for _, task in rest], timeout=self._parts.cancel_grace)

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
        task = asyncio.create_task(self._see_through(claimed, attempt))
        self._attempts[claimed.run_id] = attempt, task

    async def _see_through(self, claimed: Claimed, attempt: Attempt) -> None:
        try:
            ended = await attempt.execute()
        except Exception:
            log.exception("an attempt could not be ended; its run is taken up after a restart", run_id=claimed.run_id)
            ended = None
        finally:
            del self._attempts[claimed.run_id]
            was_full = self._places.give_back(1)
        if was_full or ended is None or ended.more:
            self._work.set()

    def _cancel(self, run_ids: Sequence[str]) -> None:
        for run_id in run_ids:
            if run_id in self._attempts:
                self._attempts[run_id][0].stop()
            elif self._claiming:  # its claim may be on its way back to us
                self._cancelled_early.add(run_id)
        self._work.set()
