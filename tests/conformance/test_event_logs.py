"""The event log, whichever: what listeners hear, in what order, what they find again, and who is dropped.

On Redis and PostgreSQL it is told in one process and heard in another.
"""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from msgspec import Raw

from tests.conformance.event_logs import (
    FOREVER,
    OTHER,
    RUN,
    THREAD,
    OneProcess,
    Servers,
    TwoOnPostgres,
    TwoOnRedis,
    all_of,
    become,
    end,
    follow,
    frames_of,
    listen,
    numbers,
    some_of,
    stored_in_a_file,
    told,
)
from tests.conformance.listen_notify_kit import forget_told
from tests.conformance.postgres_kit import Postgres
from tests.conformance.redis_kit import RedisServer
from turnkeeper.contracts import RUN_DONE, EventStore, Frame, Told
from turnkeeper.storage.postgres.storage import PostgresStorage
from turnkeeper.stream import replay, subscription
from turnkeeper.types import uuid7


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    server = RedisServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    with stored_in_a_file(tmp_path) as store:
        yield store


@pytest.fixture
def on_postgres(postgres: Postgres) -> Iterator[Servers]:
    """Here the way stores what is durable, so the store has to be in the same database."""
    storage = PostgresStorage(forget_told(postgres.uri))
    storage.open()
    yield TwoOnPostgres(storage.events, postgres.uri)
    storage.close()


@pytest.fixture(params=["local", "redis", "postgres"])
async def servers(request: pytest.FixtureRequest) -> AsyncIterator[Servers]:
    servers: Servers
    if request.param == "local":
        servers = OneProcess(request.getfixturevalue("store"))
    elif request.param == "postgres":
        servers = request.getfixturevalue("on_postgres")
    else:
        store, server = request.getfixturevalue("store"), request.getfixturevalue("redis_server")
        servers = TwoOnRedis(store, server.uri, f"{uuid7()}:")
    await servers.start()
    yield servers
    await servers.stop()


async def test_frames_arrive_in_order_and_then_the_end(servers: Servers) -> None:
    listener = await listen(servers)
    for number in range(1000):
        servers.there.append(told(number))
    servers.there.end(end())

    assert await all_of(listener) == list(range(1000))
    assert listener.ended == end()


async def test_a_frame_arrives_as_it_was_told(servers: Servers) -> None:
    run, protocol = await listen(servers), await follow(servers, protocol=True)
    servers.there.append(Told(THREAD, RUN, "messages|a:1", b'{"\xc3\xa9":"\\n:"}'))
    servers.there.append(Told(THREAD, RUN, "tasks", b"", ("a:1", "b:2"), "node", protocol=True))

    [plain], [nested] = await run.batch(FOREVER), await protocol.batch(FOREVER)

    assert plain == Frame(plain.seq, THREAD, RUN, "messages|a:1", b'{"\xc3\xa9":"\\n:"}')
    assert nested == Frame(nested.seq, THREAD, RUN, "tasks", b"", ("a:1", "b:2"), "node", protocol=True)


async def test_a_run_has_not_ended_before_its_last_frame_was_taken(servers: Servers) -> None:
    listener = await listen(servers)
    servers.there.append(told(1))
    servers.there.end(end())
    await servers.settled()

    assert listener.ended is None
    assert [each.event for each in await listener.batch(FOREVER)] == ["values", RUN_DONE]
    assert listener.ended == end()
    assert await listener.batch(FOREVER) == []


async def test_every_listener_hears_everything_in_the_same_order(servers: Servers) -> None:
    listeners = [await listen(servers) for _ in range(3)] + [await follow(servers)]
    for number in range(100):
        servers.there.append(told(number))
    servers.there.end(end())

    first, *others = [await some_of(each, 101) for each in listeners]

    assert numbers(first) == list(range(100))
    assert others == [first] * 3


async def test_a_listener_hears_only_its_own_run(servers: Servers) -> None:
    listener = await listen(servers)
    servers.there.append(told(1, OTHER))
    servers.there.end(end(OTHER))
    servers.there.append(told(2))
    servers.there.end(end())

    assert await all_of(listener) == [2]


async def test_a_listener_for_the_end_only_hears_the_end_only(servers: Servers) -> None:
    listener = await listen(servers, frames=False)
    servers.there.append(told(1))
    servers.there.end(end(values=Raw(b'{"said":"done"}'), error=Raw(b'{"message":"no"}')))

    assert await frames_of(listener) == []
    assert listener.ended is not None
    assert (bytes(listener.ended.values or b""), bytes(listener.ended.error or b"")) == (
        b'{"said":"done"}',
        b'{"message":"no"}',
    )


async def test_nothing_is_encoded_for_nobody_and_everything_for_whoever_comes(servers: Servers) -> None:
    def wanted(run_id: str, *, protocol: bool = False) -> bool:
        return servers.there.wanted(THREAD, run_id, protocol=protocol)

    await become(lambda: not wanted(RUN) and not wanted(RUN, protocol=True))
    await listen(servers, frames=False)
    assert not wanted(RUN)
    await listen(servers)
    await become(lambda: wanted(RUN))
    assert not wanted(RUN, protocol=True)
    await follow(servers, protocol=True)
    await become(lambda: wanted(RUN, protocol=True))


async def test_what_is_listened_to_before_it_begins_is_wanted_from_its_first_event_on(servers: Servers) -> None:
    for number in range(20):
        listener = await listen(servers, f"run {number}")
        assert servers.there.wanted(THREAD, f"run {number}", protocol=False)
        await servers.settled()
        assert servers.there.wanted(THREAD, f"run {number}", protocol=False)
        listener.close()


async def test_a_wait_that_brings_nothing_ends_in_time(servers: Servers) -> None:
    assert await servers.here.subscribe(RUN, THREAD, frames=True).batch(0.001) == []
    assert await (await listen(servers)).batch(0.001) == []


async def test_a_wait_that_is_given_up_loses_nothing(servers: Servers) -> None:
    listener = await listen(servers)
    waiting = asyncio.create_task(listener.batch(FOREVER))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    servers.there.append(told(1))
    servers.there.end(end())

    assert await all_of(listener) == [1]


async def test_a_listener_that_leaves_is_forgotten(servers: Servers) -> None:
    left, stays = await listen(servers), await listen(servers)
    waiting = asyncio.create_task(left.batch(FOREVER))
    await asyncio.sleep(0)
    left.close()
    left.close()
    servers.there.append(told(1))
    servers.there.end(end())

    assert await waiting == []
    assert await all_of(stays) == [1]
    assert (left.closed, left.ended) == (True, None)


async def test_a_slow_listener_is_dropped_and_nobody_else(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscription, "MAX_BUFFERED", 3)
    slow, quick = await listen(servers), await listen(servers)
    heard: list[bytes] = []
    for number in range(4):
        servers.there.append(told(number))
        heard += [each.data for each in await quick.batch(FOREVER)]
    servers.there.end(end())

    assert heard == [b"0", b"1", b"2", b"3"]
    assert await all_of(quick) == []
    assert quick.ended == end()
    assert (slow.closed, slow.ended) == (True, None)


async def test_a_stopping_server_ends_streams_but_not_runs(servers: Servers) -> None:
    listeners = [await listen(servers), await listen(servers, OTHER, frames=False)]
    hearing = [asyncio.create_task(all_of(each)) for each in listeners]
    await asyncio.sleep(0)

    servers.close()

    assert await asyncio.gather(*hearing) == [[], []]
    assert [(each.closed, each.ended) for each in listeners] == [(True, None)] * 2


async def test_many_threads_may_tell_at_once(servers: Servers) -> None:
    """Each thread's frames keep their order, and none is lost; also those told by another server."""
    tellers, each = 8, 200
    listener = await listen(servers)

    def tell(first: int) -> None:
        log = servers.there if first % (2 * each) else servers.here
        for number in range(first, first + each):
            log.append(told(number))

    threads = [threading.Thread(target=tell, args=(number * each,)) for number in range(tellers)]
    for thread in threads:
        thread.start()
    heard = await some_of(listener, tellers * each)
    for thread in threads:
        thread.join()

    assert len(heard) == tellers * each
    assert all(earlier.seq < later.seq for earlier, later in pairwise(heard))
    for first in range(0, tellers * each, each):
        mine = [number for number in numbers(heard) if first <= number < first + each]
        assert mine == list(range(first, first + each))


# --- what a listener finds that comes late or comes back --------------------------------------------------------------


@pytest.mark.parametrize("durable", [False, True])
async def test_who_comes_back_finds_what_it_missed_and_nothing_twice(servers: Servers, durable: bool) -> None:
    first = await listen(servers)
    for number in range(10):
        servers.there.append(told(number, durable=durable))
    seen = [frame.seq for frame in await some_of(first, 10)]
    first.close()
    servers.there.append(told(10, durable=durable))
    await servers.settled()

    for place, seq in enumerate([first.since, *seen]):
        again = await listen(servers, after=seq)
        again.finish(end())
        assert await all_of(again) == list(range(place, 11))


@pytest.mark.parametrize("durable", [False, True])
async def test_a_replay_goes_over_into_what_is_told_meanwhile(
    servers: Servers, durable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many listeners come while the run tells: each misses nothing, and hears nothing twice, wherever its page ends."""
    monkeypatch.setattr(replay, "PAGE", 3)
    hearing: list[asyncio.Task[list[int]]] = []
    for number in range(50):
        servers.there.append(told(number, durable=durable))
        hearing.append(asyncio.create_task(all_of(servers.here.subscribe(RUN, THREAD, frames=True, after=0))))
        if number % 7 == 0:
            await asyncio.sleep(0.001)
    hearing += [asyncio.create_task(all_of(await listen(servers, after=0))) for _ in range(3)]
    servers.there.end(end(), durable=durable)

    late = [await listen(servers, after=0) for _ in range(2)]
    for each in late:
        await servers.settled()
        each.finish(end())

    assert [await all_of(each) for each in late] == [list(range(50))] * 2
    assert await asyncio.gather(*hearing) == [list(range(50))] * 53


async def test_frames_on_disk_and_in_memory_come_in_the_order_they_were_told(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "PAGE", 4)
    runs = [RUN, OTHER, "third"]
    for number in range(40):
        servers.there.append(told(number, runs[number % 3], durable=number % 3 == 1))
    await servers.settled()

    heard = await some_of(await follow(servers, after=0), 40)

    assert numbers(heard) == list(range(40))
    assert all(earlier.seq < later.seq for earlier, later in pairwise(heard))


async def test_a_listener_is_not_at_the_end_before_it_has_read_what_it_missed(servers: Servers) -> None:
    for number in range(3):
        servers.there.append(told(number, durable=True))
    await servers.settled()

    listener = servers.here.subscribe(RUN, THREAD, frames=True, after=0)
    listener.finish(end())

    assert listener.ended is None
    assert await all_of(listener) == [0, 1, 2]
    assert listener.ended == end()


async def test_the_events_of_another_run_or_dialect_are_not_replayed(servers: Servers) -> None:
    for durable in (False, True):
        servers.there.append(told(1, OTHER, durable=durable))
        servers.there.append(told(2, protocol=True, durable=durable))
        servers.there.append(told(3, durable=durable))
    await servers.settled()

    listener = await listen(servers, after=0)
    listener.finish(end())

    assert await all_of(listener) == [3, 3]


async def test_what_was_told_before_is_not_heard_by_who_listens_from_now_on(servers: Servers) -> None:
    servers.there.append(told(1))
    await servers.settled()
    listener, follower = await listen(servers), await follow(servers)
    servers.there.append(told(2))

    assert [numbers(await each.batch(FOREVER)) for each in (listener, follower)] == [[2], [2]]


async def test_a_dropped_listener_never_counts_as_one_that_heard_all(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was too slow before the end of its run was looked up."""
    monkeypatch.setattr(subscription, "MAX_BUFFERED", 3)
    listener = await listen(servers, after=0)
    for number in range(4):
        servers.there.append(told(number))
    await servers.settled()

    listener.finish(end())

    assert (listener.closed, listener.ended) == (True, None)


async def test_a_run_that_ended_is_known_for_a_while(servers: Servers) -> None:
    servers.there.append(told(1))
    servers.there.end(end(status="error", values=Raw(b"{}")))
    await servers.settled()

    late = await listen(servers, after=0)

    assert numbers(await late.batch(FOREVER)) == [1]
    assert servers.here.recent_end(THREAD, RUN) == end(status="error")
    assert servers.here.recent_end("elsewhere", RUN) is None


async def test_nothing_is_left_of_a_run_or_thread_that_was_deleted(servers: Servers) -> None:
    runs = (RUN, OTHER, "third")
    for run_id in runs:
        servers.there.append(told(1, run_id))
        servers.there.end(end(run_id))

    async def known() -> list[str]:
        found: list[str] = []
        for run_id in runs:
            listener = await listen(servers, run_id, after=0)
            frames = await listener.batch(0)
            assert bool(frames) == (servers.here.recent_end(THREAD, run_id) is not None)
            found += [run_id] if frames else []
        return found

    for thread_id, run_id, left in (("elsewhere", None, [*runs]), (THREAD, RUN, [OTHER, "third"]), (THREAD, None, [])):
        await servers.settled()
        servers.here.forget(thread_id, run_id)
        await servers.settled()
        await become_known(known, left)


async def become_known(known: Any, left: list[str]) -> None:
    async with asyncio.timeout(FOREVER):
        while await known() != left:
            await asyncio.sleep(0.01)


async def test_of_a_run_that_was_rolled_back_nothing_is_kept(servers: Servers) -> None:
    servers.there.append(told(1, durable=True))
    servers.there.append(told(2, OTHER, durable=True))
    servers.there.end(end(status=None), durable=True)
    await servers.settled()

    assert await (await listen(servers, after=0)).batch(0) == []
    assert servers.here.recent_end(THREAD, RUN) == end(status=None)
    assert numbers(await (await listen(servers, OTHER, after=0)).batch(0)) == [2]


# --- threads ----------------------------------------------------------------------------------------------------------


async def test_who_follows_a_thread_hears_all_its_runs_and_their_ends(servers: Servers) -> None:
    follower = await follow(servers)
    servers.there.append(told(1))
    servers.there.append(told(2, OTHER))
    servers.there.append(Told("elsewhere", "away", "values", b"3"))
    servers.there.append(told(4, protocol=True))
    servers.there.end(end())

    heard = await some_of(follower, 3)

    assert [(frame.run_id, frame.event) for frame in heard] == [(RUN, "values"), (OTHER, "values"), (RUN, RUN_DONE)]
    assert json.loads(heard[-1].data) == {"status": "run_done", "run_id": RUN}
    assert follower.ended is None


async def test_the_event_protocol_says_how_a_run_ended(servers: Servers) -> None:
    follower = await follow(servers, protocol=True)
    servers.there.end(end(status="error", error=Raw(b'{"error":"E","message":"no"}')))

    [frame] = await follower.batch(FOREVER)

    assert (frame.event, json.loads(frame.data)) == ("lifecycle", {"event": "failed", "error": "no"})


async def test_a_follower_that_comes_back_finds_runs_it_never_heard_of(servers: Servers) -> None:
    servers.there.append(told(1, durable=True))
    servers.there.end(end(), durable=True)
    servers.there.append(told(2, OTHER))
    servers.there.end(end(OTHER))
    await servers.settled()

    heard = await (await follow(servers, after=0)).batch(FOREVER)

    assert [(frame.run_id, frame.event) for frame in heard] == [
        (RUN, "values"), (RUN, RUN_DONE), (OTHER, "values"), (OTHER, RUN_DONE)
    ]  # fmt: skip


async def test_what_is_not_said_by_a_run_is_told_to_followers_and_to_nobody_later(servers: Servers) -> None:
    follower = await follow(servers)
    assert servers.there.wanted(THREAD, "", protocol=False)
    servers.there.append(Told(THREAD, "", "state_changed", b""))

    assert [frame.event for frame in await follower.batch(FOREVER)] == ["state_changed"]
    assert await (await follow(servers, after=0)).batch(0) == []
