"""What is done when crons are due: a run for each, and the next tick named, in one transaction."""

import asyncio

import structlog

from turnkeeper.contracts import Signals, Storage
from turnkeeper.errors import Invalid, TurnkeeperError, Unavailable
from turnkeeper.services.admitting import Admitting
from turnkeeper.services.cron_bodies import run_body
from turnkeeper.services.runs import RunService
from turnkeeper.services.schedules import seconds, upcoming
from turnkeeper.types import Admitted, Cron

log = structlog.get_logger()

AT_ONCE = 16
"""Crons that are fired at once: their transactions may share a write to the disk."""

GRACE = 60.0
"""Seconds after its end in which a cron may still be late. Who ended while no server ran is not made up for."""


class Firing:
    """Fires crons. Any number of processes may do so at the same time: of each tick only one gets a run."""

    def __init__(self, storage: Storage, admitting: Admitting, runs: RunService, signals: Signals) -> None:
        self._storage = storage
        self._admitting = admitting
        self._runs = runs
        self._signals = signals

    async def next_due(self) -> float | None:
        """The earliest tick of all, in seconds since the epoch. Raises `Unavailable`."""
        tick = await self._storage.crons.next_due()
        return None if tick is None else seconds(tick)

    async def fire_due(self) -> int:
        """Fire what is due; how many runs were made. Raises `Unavailable`."""
        made = 0
        while due := await self._storage.crons.due(self._storage.clock(), AT_ONCE):
            results = await asyncio.gather(*map(self._fire, due), return_exceptions=True)
            for result in results:
                if isinstance(result, BaseException):
                    raise result
                made += result is not None
        return made

    async def _fire(self, cron: Cron) -> Admitted | None:
        """Make the run of a cron's tick. After a pause there is one run for all the ticks that were missed."""
        tick, now = seconds(cron.next_run_date or ""), self._storage.clock()
        try:
            following = upcoming(cron, max(tick, now))
        except Invalid as error:  # say, a time zone this machine does not know
            log.error("a cron cannot go on", cron_id=cron.cron_id, error=str(error))  # noqa: TRY400 - no bug of ours
            following = None
        if cron.end_time is not None and now > seconds(cron.end_time) + GRACE:
            await self._storage.crons.skip(cron, None)
            return None
        admitted = await self._admit(cron, following)
        if admitted is not None:
            self._runs.announce(admitted.stopped)
        return admitted

    async def _admit(self, cron: Cron, following: str | None) -> Admitted | None:
        """The run, unless it is refused, which is nobody's affair but this cron's. Raises `Unavailable`."""
        try:
            request = self._admitting.request(cron.thread_id, run_body(cron), cron_id=cron.cron_id)
            return await self._storage.crons.fire(cron, following, request, self._signals)
        except Unavailable:
            raise
        except TurnkeeperError as error:
            log.warning("a cron's run was refused", cron_id=cron.cron_id, thread_id=cron.thread_id, error=str(error))
        except Exception:
            log.exception("a cron could not be fired", cron_id=cron.cron_id)
        await self._storage.crons.skip(cron, following)
        return None
