"""The timetable looks as long as the server runs, whatever goes wrong, and at once when there is something new."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from turnkeeper.errors import Unavailable
from turnkeeper.worker import timetable
from turnkeeper.worker.timetable import LOOK_EVERY, SHORTEST, Timetable


class Crons:
    """Crons that are due when told, and fail as told."""

    def __init__(self, *errors: Exception, next_due: float | None = None) -> None:
        self.errors = list(errors)
        self.due = next_due
        self.fired = 0
        self.looks: asyncio.Queue[None] = asyncio.Queue()

    async def fire_due(self) -> int:
        self.fired += 1
        return 1

    async def next_due(self) -> float | None:
        self.looks.put_nowait(None)
        if self.errors:
            raise self.errors.pop(0)
        return self.due


@asynccontextmanager
async def looking(crons: Crons, changed: asyncio.Event, clock: Callable[[], float]) -> AsyncGenerator[None]:
    task = asyncio.create_task(Timetable(cast("Any", crons), changed, clock).serve())
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("due", "sleep", "fired"),
    [(None, LOOK_EVERY, 0), (100.5, 0.5, 0), (100.0, SHORTEST, 1), (99.0, SHORTEST, 1), (9e9, LOOK_EVERY, 0)],
)
async def test_it_fires_what_is_due_and_sleeps_until_the_next_tick(due: float | None, sleep: float, fired: int) -> None:
    crons = Crons(next_due=due)
    assert await Timetable(cast("Any", crons), asyncio.Event(), lambda: 100.0).run_once() == sleep
    assert crons.fired == fired


async def test_a_new_cron_is_seen_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timetable, "LOOK_EVERY", 999.0)
    crons, changed = Crons(), asyncio.Event()
    async with looking(crons, changed, lambda: 0.0):
        for _ in range(3):
            await asyncio.wait_for(crons.looks.get(), 10)
            changed.set()


@pytest.mark.parametrize("error", [Unavailable("the disk is full"), ValueError("a mistake of ours")])
async def test_after_a_look_that_failed_comes_the_next(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timetable, "LOOK_EVERY", 0.0)
    crons = Crons(error)
    async with looking(crons, asyncio.Event(), lambda: 0.0):
        for _ in range(2):
            await asyncio.wait_for(crons.looks.get(), 10)
