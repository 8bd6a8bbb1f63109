"""The timetable: sleeps until a cron is due, and fires it."""

import asyncio
import contextlib

import structlog

from turnkeeper.errors import Unavailable
from turnkeeper.services.firing import Firing
from turnkeeper.types import Clock

log = structlog.get_logger()

LOOK_EVERY = 2.0
"""Seconds after which is looked unasked: other processes make crons, too."""

SHORTEST = 0.005
"""Seconds that are slept in any case, so that a clock that is a little behind does not make us look in a circle."""


class Timetable:
    """Fires the crons of one storage, on the API's loop: a node that blocks that of the runs makes no cron late."""

    def __init__(self, firing: Firing, changed: asyncio.Event, clock: Clock) -> None:
        """`changed` is set when a cron may be due earlier than it was."""
        self._firing = firing
        self._changed = changed
        self._clock = clock

    async def serve(self) -> None:
        """Fire what is due until cancelled; what goes wrong is tried again."""
        while True:
            self._changed.clear()
            delay = LOOK_EVERY
            try:
                delay = await self.run_once()
            except Unavailable as error:
                log.warning("no cron can be fired now", error=str(error))
            except Exception:
                log.exception("crons could not be fired")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):  # `wait_for` may lose a cancellation
                    await self._changed.wait()

    async def run_once(self) -> float:
        """Fire what is due now; how many seconds to sleep then. Raises `Unavailable`."""
        tick = await self._firing.next_due()
        if tick is not None and tick <= self._clock():
            await self._firing.fire_due()
            tick = await self._firing.next_due()
        return LOOK_EVERY if tick is None else min(LOOK_EVERY, max(SHORTEST, tick - self._clock()))
