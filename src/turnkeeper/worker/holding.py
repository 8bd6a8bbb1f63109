"""What keeps runs a worker's own where there are others: signs of life, and letting go of what was lost."""

import asyncio
import contextlib
from collections.abc import Callable, Collection
from functools import partial
from typing import Protocol

import structlog

from turnkeeper.contracts import Leases
from turnkeeper.errors import Fenced, Unavailable
from turnkeeper.types import Held
from turnkeeper.worker.attempt import Attempt

log = structlog.get_logger()

PER_LEASE = 4
"""Signs of life within the time a worker may be silent."""

MARGIN = 0.8
"""The part of that time after which a worker that cannot reach the database takes its runs for lost."""


UNKNOWN = "its worker did not hear that it has it"
"""The journal's word for a run that was claimed, or could not be ended, when the database went away."""


class Executor(Protocol):
    """What is asked of a worker, from another loop than its own."""

    def executing(self) -> dict[tuple[str, int], Attempt]:
        """What is executed now, by run and attempt."""
        ...

    def post(self, job: Callable[[], None]) -> None:
        """Do something on the worker's loop."""
        ...

    def wake_all(self) -> None:
        """There may be a run to claim, for any worker."""
        ...

    async def release(self, run_id: str, attempt: int, reason: str) -> None:
        """Put a run back in its queue. Raises `Fenced` when the worker has it no more."""
        ...


class Holding:
    """Renews the leases of a worker's runs, and puts those of silent workers back in the queue."""

    def __init__(self, leases: Leases, worker: Executor) -> None:
        self._leases = leases
        self._worker = worker
        self._time = asyncio.get_running_loop().time
        self._renewed = self._time()
        self._unknown: dict[tuple[str, int], float] = {}
        """Runs the database says we have and that nobody executes, and since when."""

    async def serve(self) -> None:
        """Go on until cancelled."""
        while True:
            began = self._time()
            try:
                await self._renew()
                if await self._leases.expire():
                    self._worker.wake_all()
            except Unavailable as error:
                log.warning("the worker cannot say that it is alive", error=str(error))
            except Exception:
                log.exception("the worker could not say that it is alive")
            if self._time() - self._renewed > self._leases.seconds * MARGIN:
                self._give_up()
            await asyncio.sleep(max(0.0, began + self._leases.seconds / PER_LEASE - self._time()))

    async def _renew(self) -> None:
        began, executing = self._time(), self._worker.executing()
        held = await self._leases.renew()
        self._renewed = began
        for (run_id, _), attempt in executing.items():
            self._worker.post(partial(_follow, attempt, held.get(run_id)))
        await self._let_go(held, {run_id for run_id, _ in executing})

    async def _let_go(self, held: dict[str, Held], executing: Collection[str]) -> None:
        """Of runs that nobody executes: the answer to their claim got lost, or their end cannot be written.

        They get as much time as those of a dead worker: what is claimed may be on its way to its attempt.
        """
        now, before = self._time(), self._unknown
        unknown = {(run_id, each.attempt) for run_id, each in held.items() if run_id not in executing}
        self._unknown = {run: before.get(run, now) for run in unknown}
        lost = [run for run, since in self._unknown.items() if now - since >= self._leases.seconds]
        for run_id, attempt in lost:
            log.warning("a run is put back that nobody executes", run_id=run_id)
            with contextlib.suppress(Fenced):
                await self._worker.release(run_id, attempt, UNKNOWN)
        if lost:
            self._worker.wake_all()

    def _give_up(self) -> None:
        """The database cannot be reached for so long that others may execute our runs by now."""
        for attempt in self._worker.executing().values():
            self._worker.post(attempt.lose)


def _follow(attempt: Attempt, held: Held | None) -> None:
    """Do what the database says, which knows everything, whatever became of the signals."""
    if held is None or held.attempt != attempt.number:
        attempt.lose()
    elif held.cancel is not None:
        attempt.stop()
