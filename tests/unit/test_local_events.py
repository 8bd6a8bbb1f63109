"""The event log of one process: what listeners hear, in what order, what they find again, and who is dropped."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from turnkeeper.contracts import RUN_DONE, EventStore, Frame, Told
from turnkeeper.storage.sqlite.storage import SqliteStorage
from turnkeeper.stream import replay, subscription, tapes
from turnkeeper.stream.local import LocalEventLog
from turnkeeper.stream.signals import LocalSignals
from turnkeeper.stream.subscription import LocalSubscription
from turnkeeper.types import Claimed, Ended

THREAD, RUN, OTHER = "thread", "run", "other"
FOREVER = 60.0
"""Longer than any test may take: a wait that is not woken fails it."""

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
    storage = SqliteStorage(str(tmp_path / "turnkeeper.db"))
    storage.open()
    yield storage.events
    storage.close()


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


def told(number: int, run_id: str = RUN, *, durable: bool = False, **fields: Any) -> Told:
    return Told(THREAD, run_id, "values", str(number).encode(), durable=durable, **fields)


def end(run_id: str = RUN, **fields: Any) -> Ended:
    usual: dict[str, Any] = {"status": "success"}
    return Ended(run_id=run_id, thread_id=THREAD, **{**usual, **fields})


async def delivered() -> None:
    """Wait until what was told has been delivered."""
    await asyncio.sleep(0)


async def all_of(listener: LocalSubscription) -> list[int]:
    """Everything a listener hears until the end of its run."""
    return [int(frame.data) for frame in await frames_of(listener) if frame.event != RUN_DONE]


async def frames_of(listener: LocalSubscription) -> list[Frame]:
    """The same as frames."""
    heard: list[Frame] = []
    while listener.ended is None and not listener.closed:
        heard += await listener.batch(FOREVER)
    return heard


def listen(log: LocalEventLog, run_id: str = RUN, *, frames: bool = True, after: int | None = None) -> Any:
    return log.subscribe(run_id, THREAD, frames=frames, after=after)


def wanted(log: LocalEventLog, *, protocol: bool = False) -> bool:
    return log.wanted(THREAD, RUN, protocol=protocol)


async def test_frames_arrive_in_order_and_then_the_end(log: LocalEventLog) -> None:
    listener = listen(log)
    for number in range(100):
        log.append(told(number))
    log.end(end())

    assert await all_of(listener) == list(range(100))
    assert listener.ended == end()


async def test_a_run_has_not_ended_before_its_last_frame_was_taken(log: LocalEventLog) -> None:
    listener = listen(log)
    log.append(told(1))
    log.end(end())
    await asyncio.sleep(0)

    assert listener.ended is None
    assert [each.event for each in await listener.batch(FOREVER)] == ["values", RUN_DONE]
    assert listener.ended == end()


async def test_after_the_end_there_is_nothing_to_wait_for(log: LocalEventLog) -> None:
    listener = listen(log)
    log.end(end())
    await listener.batch(FOREVER)

    assert await listener.batch(FOREVER) == []
    assert await listener.batch(FOREVER) == []
    assert listener.ended == end()


async def test_every_listener_hears_everything(log: LocalEventLog) -> None:
    listeners = [listen(log) for _ in range(3)]
    hearing = [asyncio.create_task(all_of(each)) for each in listeners]
    for number in range(10):
        log.append(told(number))
        await asyncio.sleep(0)
    log.end(end())

    assert await asyncio.gather(*hearing) == [list(range(10))] * 3


async def test_a_listener_hears_only_its_own_run(log: LocalEventLog) -> None:
    listener = listen(log)
    log.append(told(1, OTHER))
    log.end(end(OTHER))
    log.append(told(2))
    log.end(end())

    assert await all_of(listener) == [2]


async def test_a_listener_for_the_end_only_hears_the_end_only(log: LocalEventLog) -> None:
    listener = listen(log, frames=False)
    log.append(told(1))
    log.end(end())

    assert await all_of(listener) == []
    assert listener.ended == end()


async def test_nothing_is_encoded_for_nobody(log: LocalEventLog) -> None:
    assert not wanted(log)
    listen(log, frames=False)
    assert not wanted(log)
    first, second = listen(log), listen(log)
    assert wanted(log)
    first.close()
    first.close()
    assert wanted(log)
    second.close()
    assert not wanted(log)


async def test_what_nobody_listened_to_is_not_kept(log: LocalEventLog) -> None:
    log.append(told(1))
    log.end(end())
    await asyncio.sleep(0)

    assert await listen(log).batch(0) == []


async def test_a_wait_that_brings_nothing_ends_in_time(log: LocalEventLog) -> None:
    assert await listen(log).batch(0.001) == []


async def test_a_wait_that_is_given_up_loses_nothing(log: LocalEventLog) -> None:
    listener = listen(log)
    waiting = asyncio.create_task(listener.batch(FOREVER))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    log.append(told(1))
    log.end(end())

    assert await all_of(listener) == [1]


async def test_a_listener_that_leaves_is_forgotten(log: LocalEventLog) -> None:
    left, stays = listen(log), listen(log)
    left.close()
    log.append(told(1))
    log.end(end())

    assert await all_of(stays) == [1]
    assert (left.closed, left.ended) == (True, None)
    stays.close()
    assert log._listeners.all() == []


async def test_leaving_wakes_whoever_waits(log: LocalEventLog) -> None:
    listener = listen(log)
    waiting = asyncio.create_task(listener.batch(FOREVER))
    await asyncio.sleep(0)

    listener.close()

    assert await waiting == []


async def test_a_slow_listener_is_dropped_and_nobody_else(log: LocalEventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscription, "MAX_BUFFERED", 3)
    slow, quick = listen(log), listen(log)
    heard: list[bytes] = []
    for number in range(4):
        log.append(told(number))
        heard += [each.data for each in await quick.batch(FOREVER)]
    log.end(end())

    assert (slow.closed, slow.ended) == (True, None)
    assert heard == [b"0", b"1", b"2", b"3"]
    assert await all_of(quick) == []
    assert quick.ended == end()


async def test_a_listener_that_keeps_up_may_hear_any_amount(
    log: LocalEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription, "MAX_BUFFERED", 3)
    listener = listen(log)

    for number in range(9):
        log.append(told(number))
        assert len(await listener.batch(FOREVER)) == 1
    assert not listener.closed


async def test_a_stopping_server_ends_streams_but_not_runs(log: LocalEventLog) -> None:
    listeners = [listen(log), listen(log, OTHER, frames=False)]
    hearing = [asyncio.create_task(all_of(each)) for each in listeners]
    await asyncio.sleep(0)

    log.close()

    assert await asyncio.gather(*hearing) == [[], []]
    assert [(each.closed, each.ended) for each in listeners] == [(True, None)] * 2


async def test_many_threads_may_tell_at_once(log: LocalEventLog) -> None:
    """Each thread's frames keep their order, and none is lost."""
    threads, each = 8, 500
    listener = listen(log)

    def tell(first: int) -> None:
        for number in range(first, first + each):
            log.append(told(number))

    def tell_all() -> None:
        tellers = [threading.Thread(target=tell, args=(number * each,)) for number in range(threads)]
        for teller in tellers:
            teller.start()
        for teller in tellers:
            teller.join()
        log.end(end())

    telling = asyncio.create_task(asyncio.to_thread(tell_all))
    heard = await all_of(listener)
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


@pytest.mark.parametrize("durable", [False, True])
async def test_who_comes_back_finds_what_it_missed_and_nothing_twice(log: LocalEventLog, durable: bool) -> None:
    first = listen(log)
    for number in range(10):
        log.append(told(number, durable=durable))
    seen = [frame.seq for frame in await first.batch(FOREVER)]
    first.close()
    log.append(told(10, durable=durable))

    for place, seq in enumerate([first.since, *seen]):
        again = listen(log, after=seq)
        await delivered()
        again.finish(end())
        assert await all_of(again) == list(range(place, 11))


@pytest.mark.parametrize("durable", [False, True])
async def test_a_replay_goes_over_into_what_is_told_meanwhile(
    log: LocalEventLog, durable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many listeners come while the run tells: each misses nothing, and hears nothing twice, wherever its page ends."""
    monkeypatch.setattr(replay, "PAGE", 3)
    hearing: list[asyncio.Task[list[int]]] = []
    for number in range(50):
        log.append(told(number, durable=durable))
        hearing.append(asyncio.create_task(all_of(listen(log, after=0))))
        if number % 7 == 0:
            await asyncio.sleep(0)
    log.end(end(), durable=durable)

    assert await asyncio.gather(*hearing) == [list(range(50))] * 50


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


async def test_frames_on_disk_and_in_memory_come_in_the_order_they_were_told(
    log: LocalEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "PAGE", 4)
    runs = [RUN, OTHER, "third"]
    for number in range(40):
        log.append(told(number, runs[number % 3], durable=number % 3 == 1))
    await delivered()

    heard: list[Frame] = []
    follower = log.follow(THREAD, protocol=False, after=0)
    while len(heard) < 40:
        heard += await follower.batch(FOREVER)

    assert [int(frame.data) for frame in heard] == list(range(40))
    assert all(earlier.seq < later.seq for earlier, later in pairwise(heard))


async def test_a_listener_is_not_at_the_end_before_it_has_read_what_it_missed(log: LocalEventLog) -> None:
    for number in range(3):
        log.append(told(number, durable=True))
    await delivered()

    listener = listen(log, after=0)
    listener.finish(end())

    assert listener.ended is None
    assert await all_of(listener) == [0, 1, 2]
    assert listener.ended == end()


async def test_the_events_of_another_run_or_dialect_are_not_replayed(log: LocalEventLog) -> None:
    for durable in (False, True):
        log.append(told(1, OTHER, durable=durable))
        log.append(told(2, protocol=True, durable=durable))
        log.append(told(3, durable=durable))
    await delivered()

    listener = listen(log, after=0)
    listener.finish(end())

    assert await all_of(listener) == [3, 3]


async def test_a_dropped_listener_never_counts_as_one_that_heard_all(
    log: LocalEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was too slow before the end of its run was looked up."""
    monkeypatch.setattr(subscription, "MAX_BUFFERED", 3)
    listener = listen(log, after=0)
    for number in range(4):
        log.append(told(number))
    await delivered()

    listener.finish(end())

    assert (listener.closed, listener.ended) == (True, None)


# --- how long what is in memory stays there ---------------------------------------------------------------------------


async def test_the_tape_of_a_run_is_readable_for_a_while_after_its_end(
    log: LocalEventLog, later: Callable[[], None]
) -> None:
    log.append(told(1))
    log.end(end(status="error", values=b"{}"))
    await delivered()
    assert [int(frame.data) for frame in await listen(log, after=0).batch(0) if frame.event != RUN_DONE] == [1]
    assert log.recent_end(THREAD, RUN) == end(status="error")
    assert log.recent_end("elsewhere", RUN) is None

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


async def test_nothing_is_left_of_a_run_or_thread_that_was_deleted(log: LocalEventLog) -> None:
    for run_id in (RUN, OTHER, "third"):
        log.append(told(1, run_id))
        log.end(end(run_id))
    await delivered()

    def known() -> list[str]:
        return [run_id for run_id in (RUN, OTHER, "third") if log.recent_end(THREAD, run_id) is not None]

    log.forget("elsewhere")
    await delivered()
    assert known() == [RUN, OTHER, "third"]
    log.forget(THREAD, RUN)
    await delivered()
    assert known() == [OTHER, "third"]
    assert await listen(log, after=0).batch(0) == []
    log.forget(THREAD)
    await delivered()
    assert known() == []
    assert log._tapes._size == 0
    assert not log._tapes._tapes


# --- threads ----------------------------------------------------------------------------------------------------------


async def test_who_follows_a_thread_hears_all_its_runs_and_their_ends(log: LocalEventLog) -> None:
    follower = log.follow(THREAD, protocol=False)
    log.append(told(1))
    log.append(told(2, OTHER))
    log.append(Told("elsewhere", "away", "values", b"3"))
    log.append(told(4, protocol=True))
    log.end(end())

    heard = await follower.batch(FOREVER)

    assert [(frame.run_id, frame.event) for frame in heard] == [(RUN, "values"), (OTHER, "values"), (RUN, RUN_DONE)]
    assert json.loads(heard[-1].data) == {"status": "run_done", "run_id": RUN}
    assert follower.ended is None


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


async def test_a_follower_that_comes_back_finds_runs_it_never_heard_of(log: LocalEventLog, store: EventStore) -> None:
    log.append(told(1, durable=True))
    log.end(end(), durable=True)
    log.append(told(2, OTHER))
    log.end(end(OTHER))
    await delivered()

    heard = await log.follow(THREAD, protocol=False, after=0).batch(FOREVER)

    assert [(frame.run_id, frame.event) for frame in heard] == [
        (RUN, "values"), (RUN, RUN_DONE), (OTHER, "values"), (OTHER, RUN_DONE)
    ]  # fmt: skip


async def test_what_is_not_said_by_a_run_is_told_to_followers(log: LocalEventLog) -> None:
    follower = log.follow(THREAD, protocol=False)
    log.append(Told(THREAD, "", "state_changed", b""))

    assert [frame.event for frame in await follower.batch(FOREVER)] == ["state_changed"]
    assert not log._tapes._tapes


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

    assert [int(frame.data) for frame in heard if frame.event != RUN_DONE] == [3, 4, 5]
    assert all(earlier.seq < later.seq for earlier, later in pairwise([*before, heard[-1]]))


async def test_what_was_told_before_the_log_started_is_not_lost(store: EventStore, clock: Time) -> None:
    log = LocalEventLog(store, clock, RETENTION)
    log.append(told(1))
    await log.start()
    listener = listen(log, after=0)
    log.append(told(2))
    log.end(end())

    assert await all_of(listener) == [1, 2]


async def test_of_a_run_that_was_rolled_back_nothing_is_kept(log: LocalEventLog, store: EventStore) -> None:
    log.append(told(1, durable=True))
    log.append(told(2, OTHER, durable=True))
    log.end(end(status=None), durable=True)
    await delivered()

    assert await listen(log, after=0).batch(0) == []
    assert log.recent_end(THREAD, RUN) == end(status=None)
    assert len(await listen(log, OTHER, after=0).batch(0)) == 1


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


async def test_a_frame_as_big_as_the_buffer_costs_nobody_the_stream(
    log: LocalEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small ones before it and behind it, which a listener has had no time to take, make it no slow reader."""
    monkeypatch.setattr(subscription, "MAX_BUFFERED", 10)
    listener = log.subscribe(RUN, THREAD, frames=True)
    sizes = [1, 100]
    for size in sizes:
        log.append(Told(THREAD, RUN, "values", b"x" * size))
    taken = await listener.batch(5.0)
    assert [len(frame.data) for frame in taken] == sizes
    assert not listener.closed


async def test_who_missed_more_than_is_kept_is_told_so(log: LocalEventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tapes, "LONGEST", 2 * (tapes.FRAME + 1))
    listener = log.subscribe(RUN, THREAD, frames=True)
    for number in range(6):
        log.append(Told(THREAD, RUN, "values", str(number).encode()))
    heard: list[Frame] = []
    while len(heard) < 6:
        heard += await listener.batch(5.0)

    async def resumed(after: int) -> list[str]:
        return [frame.event for frame in await log.subscribe(RUN, THREAD, frames=True, after=after).batch(5.0)]

    assert await resumed(heard[0].seq) == ["error", "values", "values"]
    assert await resumed(heard[2].seq) == ["error", "values", "values"]
    assert await resumed(heard[3].seq) == ["values", "values"]
    assert await resumed(0) == ["values", "values"]
