"""Event log and signals of one process: what listeners hear, in what order, and what becomes of slow ones."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from turnkeeper.contracts import Frame
from turnkeeper.stream import local
from turnkeeper.stream.local import LocalEventLog, LocalSignals, LocalSubscription
from turnkeeper.types import Claimed, Ended

RUN, OTHER = "run", "other"
FOREVER = 60.0
"""Longer than any test may take: a wait that is not woken fails it."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def log() -> LocalEventLog:
    log = LocalEventLog()
    log.bind(asyncio.get_running_loop())
    return log


def frame(number: int) -> Frame:
    return Frame("values", str(number).encode())


def end(run_id: str = RUN) -> Ended:
    return Ended(run_id=run_id, thread_id="thread", status="success")


async def all_of(subscription: LocalSubscription) -> list[int]:
    """Everything a listener hears until the end of its run."""
    heard: list[int] = []
    while subscription.ended is None and not subscription.closed:
        heard += [int(each.data) for each in await subscription.batch(FOREVER)]
    return heard


async def test_frames_arrive_in_order_and_then_the_end(log: LocalEventLog) -> None:
    subscription = log.subscribe(RUN, frames=True)
    for number in range(100):
        log.append(RUN, frame(number))
    log.end(end())

    assert await all_of(subscription) == list(range(100))
    assert subscription.ended == end()


async def test_a_run_has_not_ended_before_its_last_frame_was_taken(log: LocalEventLog) -> None:
    subscription = log.subscribe(RUN, frames=True)
    log.append(RUN, frame(1))
    log.end(end())
    await asyncio.sleep(0)

    assert subscription.ended is None
    assert [each.data for each in await subscription.batch(FOREVER)] == [b"1"]
    assert subscription.ended == end()


async def test_after_the_end_there_is_nothing_to_wait_for(log: LocalEventLog) -> None:
    subscription = log.subscribe(RUN, frames=True)
    log.end(end())

    assert await subscription.batch(FOREVER) == []
    assert await subscription.batch(FOREVER) == []
    assert subscription.ended == end()


async def test_every_listener_hears_everything(log: LocalEventLog) -> None:
    subscriptions = [log.subscribe(RUN, frames=True) for _ in range(3)]
    hearing = [asyncio.create_task(all_of(each)) for each in subscriptions]
    for number in range(10):
        log.append(RUN, frame(number))
        await asyncio.sleep(0)
    log.end(end())

    assert await asyncio.gather(*hearing) == [list(range(10))] * 3


async def test_a_listener_hears_only_its_own_run(log: LocalEventLog) -> None:
    subscription = log.subscribe(RUN, frames=True)
    log.append(OTHER, frame(1))
    log.end(end(OTHER))
    log.append(RUN, frame(2))
    log.end(end())

    assert await all_of(subscription) == [2]


async def test_a_listener_for_the_end_only_hears_the_end_only(log: LocalEventLog) -> None:
    subscription = log.subscribe(RUN, frames=False)
    log.append(RUN, frame(1))
    log.end(end())

    assert await all_of(subscription) == []
    assert subscription.ended == end()


async def test_nothing_is_encoded_for_nobody(log: LocalEventLog) -> None:
    assert not log.wanted(RUN)
    log.subscribe(RUN, frames=False)
    assert not log.wanted(RUN)
    first, second = log.subscribe(RUN, frames=True), log.subscribe(RUN, frames=True)
    assert log.wanted(RUN)
    first.close()
    first.close()
    assert log.wanted(RUN)
    second.close()
    assert not log.wanted(RUN)


async def test_what_nobody_listened_to_is_not_kept(log: LocalEventLog) -> None:
    log.append(RUN, frame(1))
    log.end(end())
    await asyncio.sleep(0)

    assert await log.subscribe(RUN, frames=True).batch(0) == []


async def test_a_wait_that_brings_nothing_ends_in_time(log: LocalEventLog) -> None:
    assert await log.subscribe(RUN, frames=True).batch(0.001) == []


async def test_a_wait_that_is_given_up_loses_nothing(log: LocalEventLog) -> None:
    subscription = log.subscribe(RUN, frames=True)
    waiting = asyncio.create_task(subscription.batch(FOREVER))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    log.append(RUN, frame(1))
    log.end(end())

    assert await all_of(subscription) == [1]


async def test_a_listener_that_leaves_is_forgotten(log: LocalEventLog) -> None:
    left, stays = log.subscribe(RUN, frames=True), log.subscribe(RUN, frames=True)
    left.close()
    log.append(RUN, frame(1))
    log.end(end())

    assert await all_of(stays) == [1]
    assert (left.closed, left.ended) == (True, None)
    stays.close()
    assert log._listeners == {}
    assert log._reading == {}


async def test_leaving_wakes_whoever_waits(log: LocalEventLog) -> None:
    subscription = log.subscribe(RUN, frames=True)
    waiting = asyncio.create_task(subscription.batch(FOREVER))
    await asyncio.sleep(0)

    subscription.close()

    assert await waiting == []


async def test_a_slow_listener_is_dropped_and_nobody_else(log: LocalEventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "MAX_BUFFERED", 3)
    slow, quick = log.subscribe(RUN, frames=True), log.subscribe(RUN, frames=True)
    heard: list[bytes] = []
    for number in range(4):
        log.append(RUN, frame(number))
        heard += [each.data for each in await quick.batch(FOREVER)]
    log.end(end())

    assert (slow.closed, slow.ended) == (True, None)
    assert heard == [b"0", b"1", b"2", b"3"]
    assert await all_of(quick) == []
    assert quick.ended == end()


async def test_a_listener_that_keeps_up_may_hear_any_amount(
    log: LocalEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "MAX_BUFFERED", 3)
    subscription = log.subscribe(RUN, frames=True)

    for number in range(9):
        log.append(RUN, frame(number))
        assert len(await subscription.batch(FOREVER)) == 1
    assert not subscription.closed


async def test_a_stopping_server_ends_streams_but_not_runs(log: LocalEventLog) -> None:
    subscriptions = [log.subscribe(RUN, frames=True), log.subscribe(OTHER, frames=False)]
    hearing = [asyncio.create_task(all_of(each)) for each in subscriptions]
    await asyncio.sleep(0)

    log.close()

    assert await asyncio.gather(*hearing) == [[], []]
    assert [(each.closed, each.ended) for each in subscriptions] == [(True, None)] * 2


async def test_many_threads_may_tell_at_once(log: LocalEventLog) -> None:
    """Each thread's frames keep their order, and none is lost."""
    threads, each = 8, 500
    subscription = log.subscribe(RUN, frames=True)

    def tell(first: int) -> None:
        for number in range(first, first + each):
            log.append(RUN, frame(number))

    def tell_all() -> None:
        tellers = [threading.Thread(target=tell, args=(number * each,)) for number in range(threads)]
        for teller in tellers:
            teller.start()
        for teller in tellers:
            teller.join()
        log.end(end())

    telling = asyncio.create_task(asyncio.to_thread(tell_all))
    heard = await all_of(subscription)
    await telling

    assert len(heard) == threads * each
    for first in range(0, threads * each, each):
        mine = [number for number in heard if first <= number < first + each]
        assert mine == list(range(first, first + each))


async def test_frames_told_together_wake_the_loop_once(log: LocalEventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, calls = asyncio.get_running_loop(), 0
    schedule = loop.call_soon_threadsafe

    def counted(callback: Callable[[], None]) -> asyncio.Handle:
        nonlocal calls
        calls += 1
        return schedule(callback)

    monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
    subscription = log.subscribe(RUN, frames=True)
    for number in range(100):
        log.append(RUN, frame(number))
    log.end(end())

    assert await all_of(subscription) == list(range(100))
    assert calls == 1


# --- signals ----------------------------------------------------------------------------------------------------------


class Worker:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def reserve(self) -> bool:
        return True

    def hand_over(self, claimed: Claimed | None) -> None:
        self.told.append(claimed)

    def wake(self) -> None:
        self.told.append("wake")

    def cancel(self, run_ids: object) -> None:
        self.told.append(run_ids)


def test_signals_reach_the_worker_of_the_process() -> None:
    signals, worker = LocalSignals(), Worker()
    signals.connect(worker)

    assert signals.reserve()
    signals.hand_over(None)
    signals.wake()
    signals.cancel(["a"])
    signals.cancel([])

    assert worker.told == [None, "wake", ["a"]]


def test_signals_to_nobody_do_no_harm() -> None:
    signals = LocalSignals()

    signals.wake()
    signals.cancel(["a"])
    signals.hand_over(None)
    assert not signals.reserve()
