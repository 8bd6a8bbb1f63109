"""Upkeep: this process says that it is there, and one process at a time sweeps up what is too old."""

import asyncio
from collections.abc import Callable
from typing import Any

import psycopg
import structlog

from turnkeeper.stream.postgres.clock import DatabaseClock
from turnkeeper.stream.postgres.connections import Connect, Opened, first_line
from turnkeeper.stream.postgres.reader import BEHIND
from turnkeeper.stream.tapes import LONGEST

log = structlog.get_logger()

BEAT = 15.0
"""Seconds between two signs of life."""

SILENT = 60.0
"""Seconds after which a process that gives none has no listeners any more."""

GOING = 3600.0
"""Seconds a frame is kept while its run goes on."""

AT_ONCE = 500
"""Rows that are removed at once: nobody waits long for a lock."""


class Keeper:
    """Connects now and then for a moment: a sweep shall delay nothing that is told or heard."""

    def __init__(
        self, connect: Connect, clock: DatabaseClock, process: str, announce: Callable[[], None], retention: float
    ) -> None:
        """`announce` is called when the database has taken this process for gone."""
        self._connect = connect
        self._clock = clock
        self._process = process
        self._announce = announce
        self._retention = retention

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            await asyncio.sleep(BEAT)
            try:
                async with self._connect() as opened:
                    await self._beat(opened)
                    await self.sweep(opened)
            except (psycopg.Error, OSError) as error:
                log.warning("what was told is not swept up", error=first_line(error))

    async def part(self) -> None:
        """This process ends: it has no listeners any more."""
        async with self._connect() as opened:
            await opened.ask("part", process=self._process)

    async def _beat(self, opened: Opened) -> None:
        [(unknown, now)] = await opened.ask("beat", process=self._process)
        self._clock.heard(now)
        if unknown:
            self._announce()

    async def sweep(self, opened: Opened) -> None:
        """Remove what is too old or too much, if no other process did so a moment ago."""
        if not await opened.ask("take_broom", pause=BEAT / 2):
            return
        await opened.ask("sweep_processes", silent=SILENT)
        now = self._clock.now()
        await _drain(opened, "sweep_ended", ended=now - int(self._retention * 1_000_000))
        await _drain(opened, "sweep_old", old=now - int(GOING * 1_000_000))
        read = now - int(1.5 * BEHIND * 1_000_000)
        for thread, upto in await opened.ask("too_long", longest=LONGEST, read=read):
            await _drain(opened, "trim", thread=thread, upto=upto)


async def _drain(opened: Opened, name: str, **parameters: Any) -> None:
    while len(await opened.ask(name, most=AT_ONCE, **parameters)) == AT_ONCE:
        pass
