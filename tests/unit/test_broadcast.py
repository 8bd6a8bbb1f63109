"""Wake-ups between processes: one worker looks at once, no worker is left out for long."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence

from turnkeeper.stream.broadcast import BroadcastSignals
from turnkeeper.types import Claimed

FOREVER = 10


class Air:
    """What all processes say is heard by all, those included that said it."""

    def __init__(self) -> None:
        self.heard: dict[str, list[Callable[[bytes], None]]] = defaultdict(list)


class Bus:
    def __init__(self, air: Air, name: str) -> None:
        self.name = name
        self._air = air

    def watch(self, *, on_up: Callable[[], None], on_down: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_soon(on_up)

    def call(self, job: Callable[[], None]) -> None:
        job()

    def say(self, channel: str, message: str | bytes) -> None:
        for heard in self._air.heard[channel]:
            heard(message.encode() if isinstance(message, str) else message)

    def hear(self, channel: str, heard: Callable[[bytes], None]) -> None:
        self._air.heard[channel].append(heard)


class Worker:
    def __init__(self) -> None:
        self.woken = 0
        self.is_woken = asyncio.Event()

    def reserve(self) -> bool:
        return False

    def hand_over(self, claimed: Claimed | None) -> None:
        raise AssertionError(claimed)

    def wake(self) -> None:
        self.woken += 1
        self.is_woken.set()

    def cancel(self, run_ids: Sequence[str]) -> None:
        raise AssertionError(run_ids)


async def cluster(count: int) -> tuple[BroadcastSignals, list[Worker]]:
    """A process that only admits, and workers in others, all of which it has heard of."""
    air = Air()
    server, workers = BroadcastSignals(Bus(air, "server")), [Worker() for _ in range(count)]
    await asyncio.sleep(0)
    for number, worker in enumerate(workers):
        BroadcastSignals(Bus(air, f"worker{number}")).connect(worker)
    await asyncio.sleep(0)
    for worker in workers:
        worker.woken = 0
        worker.is_woken.clear()
    return server, workers


async def test_a_run_wakes_one_worker_and_the_others_only_a_moment_later() -> None:
    server, workers = await cluster(3)

    for _ in range(5):
        server.wake()

    assert sum(worker.woken for worker in workers) == 5
    await asyncio.wait_for(asyncio.gather(*(worker.is_woken.wait() for worker in workers)), FOREVER)
    assert sum(worker.woken for worker in workers) <= 5 + len(workers)


async def test_a_worker_that_has_died_keeps_no_run_from_the_others() -> None:
    server, [dead, alive] = await cluster(2)
    dead.wake = lambda: None

    for _ in range(3):
        alive.is_woken.clear()
        server.wake()
        await asyncio.wait_for(alive.is_woken.wait(), FOREVER)
