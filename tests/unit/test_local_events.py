"""The event log of one process: what it keeps and for how long, in what numbers, and how often it wakes the loop.

What it has in common with those of several processes is in `tests/conformance/test_event_logs.py`.
"""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.event_logs import (
    FOREVER,
    OTHER,
    RUN,
    THREAD,
    Worker,
    all_of,
    end,
    frames_of,
    numbers,
    stored_in_a_file,
    told,
)
from turnkeeper.contracts import EventStore, Frame, Told
from turnkeeper.stream import subscription, tapes
from turnkeeper.stream.local import LocalEventLog
from turnkeeper.stream.signals import LocalSignals
from turnkeeper.stream.subscription import LocalSubscription

RETENTION = 3600.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Time:
    """A clock that stands still until told otherwise."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    with stored_in_a_file(tmp_path) as store:
        yield store


@pytest.fixture
async def log(store: EventStore, clock: Time) -> LocalEventLog:
    return await started(store, clock)


async def started(store: EventStore, clock: Time) -> LocalEventLog:
    """A log as it is when its server has just started."""
    log = LocalEventLog(store, clock, RETENTION)
    await log.start()
    return log


@pytest.fixture
async def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let the time pass after which nobody is waited for any more."""
    loop, timers = asyncio.get_running_loop(), list[Callable[[], None]]()
    call_later = loop.call_later

    def noted(delay: float, callback: Callable[..., Any], *args: Any) -> Any:
        if delay < RETENTION:
            return call_later(delay, callback, *args)
        timers.append(lambda: callback(*args))
        return None

    def pass_time() -> None:
        while timers:
            timers.pop(0)()

    monkeypatch.setattr(loop, "call_later", noted)
    return pass_time


async def delivered() -> None:
    """Wait until what was told has been delivered."""
    await asyncio.sleep(0)


def listen(
    log: LocalEventLog, run_id: str = RUN, *, frames: bool = True, after: int | None = None
) -> LocalSubscription:
    return log.subscribe(run_id, THREAD, frames=frames, after=after)


def wanted(log: LocalEventLog, *, protocol: bool = False) -> bool:
    return log.wanted(THREAD, RUN, protocol=protocol)


async def test_nothing_is_encoded_for_those_who_left_nor_kept_of_them(log: LocalEventLog) -> None:
    waiter = listen(log, frames=False)
    first, second = listen(log), listen(log)
    assert wanted(log)
    first.close()
    first.close()
    assert wanted(log)
    second.close()
    assert not wanted(log)
    waiter.close()
    assert log._listeners.all() == []


async def test_a_listener_that_keeps_up_may_hear_any_amount(
    log: LocalEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription, "MAX_BUFFERED", 3)
    listener = listen(log)

    for number in range(9):
        log.append(told(number))
        assert len(await listener.batch(FOREVER)) == 1
    assert not listener.closed


async def test_a_frame_as_big_as_the_buffer_costs_nobody_the_stream(
    log: LocalEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small ones before it and behind it, which a listener has had no time to take, make it no slow reader."""
    monkeypatch.setattr(subscription, "MAX_BUFFERED", 10)
    listener = listen(log)
    sizes = [1, 100]
    for size in sizes:
        log.append(Told(THREAD, RUN, "values", b"x" * size))

    assert [len(frame.data) for frame in await listener.batch(FOREVER)] == sizes
    assert not listener.closed


async def test_frames_told_together_wake_the_loop_once(log: LocalEventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, calls = asyncio.get_running_loop(), 0
    schedule = loop.call_soon_threadsafe

    def counted(callback: Callable[[], None]) -> asyncio.Handle:
        nonlocal calls
        calls += 1
        return schedule(callback)

    monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
    listener = listen(log)
    for number in range(100):
        log.append(told(number))
    log.end(end())

    assert await all_of(listener) == list(range(100))
    assert calls == 1


# --- what a listener finds that comes late or comes back --------------------------------------------------------------


async def test_every_frame_has_a_number_that_says_when(log: LocalEventLog, clock: Time) -> None:
    listener = listen(log)
    log.append(told(1))
    log.append(told(2))
    await delivered()
    clock.now += 1
    log.append(told(3))
    log.end(end())

    seqs = [frame.seq for frame in await frames_of(listener)]

    assert seqs[0] == listener.since + 1 == 1_800_000_000_000_001
    assert seqs[1:3] == [seqs[0] + 1, 1_800_000_001_000_000]


async def test_a_listener_that_comes_while_its_run_starts_hears_all_of_it(log: LocalEventLog) -> None:
    """Told from a thread of its own, as runs do, while listeners come on the API's loop."""
    loop, began, all_here = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def tell() -> None:
        loop.call_soon_threadsafe(began.set)
        for number in range(300):
            log.append(told(number, durable=number % 2 == 0))
        all_here.wait(FOREVER)
        log.end(end())

    telling = asyncio.create_task(asyncio.to_thread(tell))
    hearing = [asyncio.create_task(all_of(listen(log, after=0)))]
    await began.wait()
    hearing += [asyncio.create_task(all_of(listen(log, after=0))) for _ in range(5)]
    await asyncio.sleep(0)
    all_here.set()
    await telling

    assert await asyncio.gather(*hearing) == [list(range(300))] * 6


# --- how long what is in memory stays there ---------------------------------------------------------------------------


async def test_the_tape_of_a_run_is_readable_for_a_while_after_its_end(
    log: LocalEventLog, later: Callable[[], None]
) -> None:
    log.append(told(1))
    log.end(end())
    await delivered()
    assert numbers(await listen(log, after=0).batch(0)) == [1]
    assert log.recent_end(THREAD, RUN) == end()

    later()

    assert await listen(log, after=0).batch(0) == []
    assert log.recent_end(THREAD, RUN) is None
    assert not log._tapes._tapes
    assert not log._tapes._of_thread


async def test_a_tape_is_kept_as_long_as_its_run_goes_on(log: LocalEventLog, later: Callable[[], None]) -> None:
    log.append(told(1))
    await delivered()

    later()

    assert wanted(log)
    assert len(await listen(log, after=0).batch(0)) == 1


async def test_what_a_run_tells_is_kept_for_who_was_listening_a_moment_ago(
    log: LocalEventLog, later: Callable[[], None]
) -> None:
    """The connection broke before the run told anything; events of runs that nobody listens to are not even made."""
    listener = listen(log)
    waiting = asyncio.create_task(listener.batch(FOREVER))
    await asyncio.sleep(0)
    listener.close()
    await waiting

    assert wanted(log)
    later()
    assert not wanted(log)


async def test_who_was_refused_or_heard_the_end_is_not_waited_for(log: LocalEventLog) -> None:
    refused, content = listen(log), listen(log)
    refused.close()
    log.end(end(), durable=True)
    await all_of(content)
    content.close()

    assert not wanted(log)


async def test_of_a_long_stream_the_newest_frames_are_kept(log: LocalEventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tapes, "LONGEST", 10 * (tapes.FRAME + 2))
    for number in range(100, 200):
        log.append(told(number, OTHER))
    for number in range(10, 100):
        log.append(told(number))
    await delivered()

    listener = listen(log, after=0)
    listener.finish(end())

    assert await all_of(listener) == list(range(90, 100))


async def test_who_missed_more_than_is_kept_is_told_so(log: LocalEventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tapes, "LONGEST", 2 * (tapes.FRAME + 1))
    listener = listen(log)
    for number in range(6):
        log.append(told(number))
    heard: list[Frame] = []
    while len(heard) < 6:
        heard += await listener.batch(FOREVER)

    async def resumed(after: int) -> list[str]:
        return [frame.event for frame in await listen(log, after=after).batch(FOREVER)]

    assert await resumed(heard[0].seq) == ["error", "values", "values"]
    assert await resumed(heard[2].seq) == ["error", "values", "values"]
    assert await resumed(heard[3].seq) == ["values", "values"]
    assert await resumed(0) == ["values", "values"]


async def test_one_frame_may_be_of_any_size(log: LocalEventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tapes, "LONGEST", 1)
    log.append(told(1))
    log.append(told(2))
    await delivered()

    assert [frame.data for frame in await listen(log, after=0).batch(0)] == [b"2"]


async def test_the_memory_of_runs_that_have_ended_is_bounded(
    log: LocalEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest end is forgotten first, and no run that goes on."""
    monkeypatch.setattr(tapes, "MOST", 5 * (tapes.FRAME + 100))
    for run_id in ("going", "first", "second", "third"):
        log.append(told(1, run_id))
    for run_id in ("first", "second", "third"):
        log.end(end(run_id))
    await delivered()
    for number in range(2):
        log.append(told(number, "going"))
    await delivered()

    kept = {
        run_id: len(await listen(log, run_id, after=0).batch(0)) for run_id in ("going", "first", "second", "third")
    }

    assert kept == {"going": 3, "first": 0, "second": 0, "third": 2}


async def test_what_was_deleted_takes_no_memory(log: LocalEventLog) -> None:
    for run_id in (RUN, OTHER, "third"):
        log.append(told(1, run_id))
        log.end(end(run_id))
    log.forget(THREAD, RUN)
    log.forget(THREAD)
    await delivered()

    assert log._tapes._size == 0
    assert not log._tapes._tapes


# --- threads ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, {"event": "completed"}),
        ({"status": "error", "error": b'{"error":"E","message":"no"}'}, {"event": "failed", "error": "no"}),
        ({"status": "timeout", "error": b'{"error":"E","message":"slow"}'}, {"event": "failed", "error": "slow"}),
        ({"status": "interrupted"}, {"event": "interrupted"}),
        ({"status": None}, {"event": "interrupted"}),
        ({"interrupts": b'{"task":[{}]}'}, {"event": "interrupted"}),
    ],
)
async def test_the_event_protocol_says_how_a_run_ended(
    log: LocalEventLog, fields: dict[str, Any], said: dict[str, str]
) -> None:
    follower = log.follow(THREAD, protocol=True)
    log.end(end(**fields))

    [frame] = await follower.batch(FOREVER)

    assert (frame.event, frame.namespace, json.loads(frame.data)) == ("lifecycle", (), said)


async def test_nothing_is_encoded_for_a_dialect_that_nobody_speaks(log: LocalEventLog) -> None:
    follower = log.follow(THREAD, protocol=True)
    assert (wanted(log, protocol=True), wanted(log)) == (True, False)
    follower.close()
    assert not wanted(log, protocol=True)


# --- across restarts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("passed", [-86400.0, 0.0, 86400.0])
async def test_numbers_go_on_after_a_restart_also_when_the_clock_went_back(
    log: LocalEventLog, store: EventStore, clock: Time, passed: float
) -> None:
    for number in range(5):
        log.append(told(number, durable=True))
    await delivered()
    before = await listen(log, after=0).batch(FOREVER)
    log.close()
    clock.now += passed

    again = await started(store, clock)
    listener = listen(again, after=before[2].seq)
    again.append(told(5, durable=True))
    again.end(end())
    heard = await frames_of(listener)

    assert numbers(heard) == [3, 4, 5]
    assert all(earlier.seq < later.seq for earlier, later in pairwise([*before, heard[-1]]))


async def test_what_was_told_before_the_log_started_is_not_lost(store: EventStore, clock: Time) -> None:
    log = LocalEventLog(store, clock, RETENTION)
    log.append(told(1))
    await log.start()
    listener = listen(log, after=0)
    log.append(told(2))
    log.end(end())

    assert await all_of(listener) == [1, 2]


# --- signals ----------------------------------------------------------------------------------------------------------


async def test_signals_reach_the_worker_of_the_process() -> None:
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
