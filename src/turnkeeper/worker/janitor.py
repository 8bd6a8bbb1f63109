"""The janitor: removes what was kept long enough, now and then."""

import asyncio
import time

import structlog

from turnkeeper.contracts import Storage
from turnkeeper.errors import Unavailable
from turnkeeper.types import Clock

log = structlog.get_logger()

EVERY = 60.0
"""Seconds between two rounds."""


class Janitor:
    """Cleans up behind the runs of one storage."""

    def __init__(self, storage: Storage, *, stream_ttl: float, clock: Clock = time.time, every: float = EVERY) -> None:
        """`stream_ttl`: seconds the events of a run are kept; `every`: seconds between two rounds."""
        self._storage = storage
        self._stream_ttl = stream_ttl
        self._clock = clock
        self._every = every

    async def serve(self) -> None:
        """Make a round now and then until cancelled; one that fails is followed by the next all the same."""
        while True:
            try:
                await self.run_once(self._clock())
            except Unavailable as error:
                log.warning("nothing can be removed now", error=str(error))
            except Exception:
                log.exception("a round of the janitor failed")
            await asyncio.sleep(self._every)

    async def run_once(self, now: float) -> int:
        """Make one round as of `now` (seconds since the epoch); how many rows were removed. Raises `Unavailable`."""
        told_before = int((now - self._stream_ttl) * 1_000_000)  # the places of events are microseconds
        return await self._storage.purge(now) + await self._storage.events.purge(told_before)
