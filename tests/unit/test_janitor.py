"""The janitor makes its rounds as long as the server runs, whatever goes wrong in one."""

import asyncio
from typing import Any, cast

import pytest

from turnkeeper.errors import Unavailable
from turnkeeper.worker.janitor import Janitor


class Events:
    """Events of which two are too old, whenever that is."""

    def __init__(self) -> None:
        self.before: list[int] = []

    async def purge(self, before: int) -> int:
        self.before.append(before)
        return 2


class Rounds:
    """A storage that notes when it was purged, and fails as told."""

    def __init__(self, *results: int | Exception) -> None:
        self.results = list(results)
        self.times: list[float] = []
        self.events = Events()
        self.done = asyncio.Event()

    async def purge(self, now: float) -> int:
        self.times.append(now)
        result = self.results.pop(0) if self.results else 0
        if not self.results:
            self.done.set()
        if isinstance(result, Exception):
            raise result
        return result


async def test_a_round_says_how_much_it_removed() -> None:
    storage = Rounds(3)
    assert await Janitor(cast("Any", storage), stream_ttl=2).run_once(5.0) == 3 + 2
    assert storage.times == [5.0]
    assert storage.events.before == [3_000_000]


@pytest.mark.parametrize("error", [Unavailable("the disk is full"), ValueError("a mistake of ours")])
async def test_after_a_round_that_failed_comes_the_next(error: Exception) -> None:
    storage = Rounds(error, 1)
    clock = iter([1.0, 2.0, 3.0])
    rounds = asyncio.create_task(
        Janitor(cast("Any", storage), stream_ttl=2, clock=lambda: next(clock), every=0).serve()
    )
    await asyncio.wait_for(storage.done.wait(), 10)
    rounds.cancel()
    with pytest.raises(asyncio.CancelledError):
        await rounds
    assert storage.times[:2] == [1.0, 2.0]
