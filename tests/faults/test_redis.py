"""What may happen to Redis and to the way there: events and hints are late, streams break off, nothing is wrong."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from redis.asyncio.connection import AbstractConnection

from tests.conformance.event_logs import (
    FOREVER,
    RUN,
    THREAD,
    TwoOnRedis,
    all_of,
    become,
    end,
    frames_of,
    listen,
    numbers,
    some_of,
    stored_in_a_file,
    told,
)
from tests.conformance.redis_kit import RedisServer, Road
from tests.faults.buses import heard_at_last, in_order, stored
from turnkeeper.contracts import EventStore, Frame, Told
from turnkeeper.stream import attached, shared, tapes
from turnkeeper.stream.attached import AttachedSubscription
from turnkeeper.stream.redis import bus, link, reader, writer
from turnkeeper.stream.redis.link import Link
from turnkeeper.types import uuid7


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine makes nobody give Redis up, so that only tests that say so do."""
    for module in (link, bus, attached):
        monkeypatch.setattr(module, "ANSWER", FOREVER)
    monkeypatch.setattr(reader, "PULSE", 3.0)  # no longer: that may be how long a server takes to stop
    monkeypatch.setattr(writer, "PATIENCE", FOREVER)
    monkeypatch.setattr(writer, "GAPS_AFTER", 0.05)
    monkeypatch.setattr(shared, "OFFLINE", FOREVER)


@pytest.fixture
def short_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis has to answer soon: for servers that begin after this."""
    monkeypatch.setattr(link, "ANSWER", 0.4)


@pytest.fixture
def without_redis(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> RedisServer:
    """It is away, and servers do not wait for it when they start and stop."""
    monkeypatch.setattr(bus, "ANSWER", 0.1)
    redis_server.stop()
    return redis_server


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    with stored_in_a_file(tmp_path) as store:
        yield store


@pytest.fixture
async def servers(store: EventStore, redis_server: RedisServer) -> AsyncIterator[TwoOnRedis]:
    servers = TwoOnRedis(store, redis_server.uri, f"{uuid7()}:")
    await servers.start()
    yield servers
    await servers.stop()


@pytest.fixture
async def listening_road(redis_server: RedisServer) -> AsyncIterator[Road]:
    road = Road(redis_server.port)
    yield road
    await road.close()


async def up(servers: TwoOnRedis) -> None:
    """Wait until both servers are connected."""
    await become(servers.bus.reader.up.is_set)
    await become(servers.teller.bus.reader.up.is_set)


async def test_a_flushed_redis_breaks_no_stream(servers: TwoOnRedis, redis_server: RedisServer) -> None:
    listener = await listen(servers)
    for number in range(3):
        servers.there.append(told(number, durable=True))
    await servers.settled()
    redis_server.do("FLUSHALL")
    redis_server.do("SCRIPT", "FLUSH")
    for number in range(3, 6):
        servers.there.append(told(number, durable=True))
    servers.there.end(end(), durable=True)

    heard = await frames_of(listener)
    late = await listen(servers, after=0)
    late.finish(end())

    assert numbers(heard) == list(range(6))
    assert in_order(heard)
    assert await all_of(late) == list(range(6))


async def test_a_restarted_redis_breaks_streams_off_which_then_miss_nothing(
    servers: TwoOnRedis, redis_server: RedisServer, store: EventStore
) -> None:
    listener, waiter = await listen(servers), await listen(servers, frames=False)
    servers.there.append(told(0, durable=True))
    first = await listener.batch(FOREVER)
    waiting = asyncio.create_task(waiter.batch(FOREVER))
    redis_server.stop()
    for number in range(1, 5):
        servers.there.append(told(number, durable=True))
    await become(lambda: listener.closed)
    assert await waiting == []  # who waits for the end gets a chance to look for it elsewhere
    assert (listener.ended, waiter.closed) == (None, False)

    redis_server.start()
    again = await listen(servers, after=first[-1].seq)
    await up(servers)
    await servers.settled()
    servers.there.append(told(5, durable=True))
    heard = await heard_at_last(servers, 5, after=first[-1].seq, listener=again)
    servers.there.end(end(), durable=True)

    assert numbers(heard) == [1, 2, 3, 4, 5]
    await frames_of(waiter)
    assert waiter.ended == end()
    assert await stored(store) == list(range(6))


@pytest.mark.usefixtures("short_of_time")
@pytest.mark.parametrize("durable", [False, True])
async def test_a_moment_without_redis_costs_nothing(
    servers: TwoOnRedis,
    redis_server: RedisServer,
    store: EventStore,
    durable: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is paused for less than anybody's patience, but longer than it is waited for one answer."""
    append, tries = Link.append, 0

    async def counted(link: Link, *asked: Any) -> list[int]:
        nonlocal tries
        tries += 1
        return await append(link, *asked)

    listener = await listen(servers)
    servers.there.append(told(0, durable=durable))
    heard = await listener.batch(FOREVER)
    monkeypatch.setattr(Link, "append", counted)
    redis_server.pause()
    for number in range(1, 50):
        servers.there.append(told(number, durable=durable))
    await become(lambda: tries > 1)
    redis_server.go_on()
    heard += await heard_at_last(servers, 49, after=heard[-1].seq, listener=listener)
    await servers.settled()

    assert numbers(heard) == list(range(50))
    assert await stored(store) == (list(range(50)) if durable else [])


@pytest.mark.usefixtures("short_of_time")
async def test_what_is_told_during_a_long_pause_is_stored_once_and_in_order(
    servers: TwoOnRedis, redis_server: RedisServer, store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When Redis goes on it finds what it did not answer, and must not do it any more."""
    listener = await listen(servers)
    servers.there.append(told(0, durable=True))
    first = await listener.batch(FOREVER)
    monkeypatch.setattr(reader, "PULSE", 0.2)
    monkeypatch.setattr(writer, "PATIENCE", 0.5)
    redis_server.pause()
    number, more = 0, 20
    while more := more - (not servers.teller.bus.writer._up):
        number += 1
        servers.there.append(told(number, durable=True))
        servers.there.append(told(number, protocol=True))
        await asyncio.sleep(0.01)
    redis_server.go_on()
    await up(servers)
    await become(lambda: listener.closed)
    servers.there.append(told(number + 1, durable=True))
    heard = await heard_at_last(servers, number + 1, after=first[-1].seq)
    await servers.settled()

    assert numbers(heard) == list(range(1, number + 2))
    assert await stored(store) == list(range(number + 2))


async def test_a_cut_connection_of_who_listens_breaks_its_streams_off(
    store: EventStore, redis_server: RedisServer, listening_road: Road
) -> None:
    servers = TwoOnRedis(store, await listening_road.open(), f"{uuid7()}:", telling=redis_server.uri)
    await servers.start()
    listener = await listen(servers)
    heard: list[Frame] = []
    hearing = asyncio.create_task(heard_at_last(servers, 60, after=listener.since, listener=listener))
    for number in range(60):
        servers.there.append(told(number))
        if number % 20 == 10:
            listening_road.cut()
        await asyncio.sleep(0.005)
    heard = await hearing
    await servers.stop()

    assert numbers(heard) == list(range(60))
    assert listener.closed


async def test_who_listens_hears_that_something_was_lost_on_the_way(
    store: EventStore, redis_server: RedisServer, listening_road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The teller alone was cut off for long; the stream must not go on with a hole in it."""
    servers = TwoOnRedis(store, redis_server.uri, f"{uuid7()}:", telling=await listening_road.open())
    await servers.start()
    listener, waiter = await listen(servers), await listen(servers, frames=False)
    waiting = asyncio.create_task(waiter.batch(FOREVER))
    servers.there.append(told(0))
    assert numbers(await listener.batch(FOREVER)) == [0]
    monkeypatch.setattr(writer, "PATIENCE", 0.1)
    await listening_road.close()
    servers.there.append(told(1))
    servers.there.end(end())
    await become(lambda: not servers.teller.bus.writer._up)
    assert not listener.closed
    back = Road(redis_server.port)
    await back.open(listening_road.port)

    assert numbers(await some_of(listener, 1)) == []
    assert (listener.closed, listener.ended) == (True, None)
    assert await waiting == []
    await servers.stop()
    await back.close()


async def test_servers_start_and_tell_without_redis_and_heal_when_it_comes(
    store: EventStore, without_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "PATIENCE", 0.1)
    monkeypatch.setattr(shared, "OFFLINE", 0.3)
    servers = TwoOnRedis(store, without_redis.uri, f"{uuid7()}:")
    await servers.start()
    fresh = cast("AttachedSubscription", await listen(servers))
    assert not fresh.closed
    assert servers.there.wanted(THREAD, RUN, protocol=False)
    for number in range(3):
        servers.there.append(told(number, durable=True))
        servers.there.append(told(number, protocol=True))
    assert await fresh.batch(0.05) == []
    past = servers.here.subscribe(RUN, THREAD, frames=True, after=0)
    await become(servers.teller.bus.writer._idle.is_set)
    past.finish(end())  # as found in the database
    assert await all_of(past) == [0, 1, 2]
    await become(lambda: fresh.attached)
    monkeypatch.setattr(writer, "PATIENCE", FOREVER)
    monkeypatch.setattr(shared, "OFFLINE", FOREVER)
    without_redis.start()
    await up(servers)
    servers.there.append(told(3, durable=True))
    servers.there.end(end(), durable=True)

    assert numbers(await heard_at_last(servers, 5, after=fresh.since, listener=fresh)) == [0, 1, 2, 3]
    await servers.stop()


async def test_a_connection_that_closes_while_it_is_written_to_does_not_silence_a_server(
    servers: TwoOnRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = AbstractConnection.send_packed_command
    closed = iter([True])

    async def sent(connection: AbstractConnection, *command: Any, **options: Any) -> None:
        if next(closed, False):
            raise RuntimeError("unable to perform operation; the handler is closed")  # as uvloop says it
        await send(connection, *command, **options)

    listener = await listen(servers)
    monkeypatch.setattr(AbstractConnection, "send_packed_command", sent)
    servers.there.append(told(0))
    servers.there.end(end())
    assert await all_of(listener) == [0]


async def test_a_server_stops_while_others_talk_though_the_driver_swallows_that_it_is_cancelled(
    servers: TwoOnRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = AbstractConnection.read_response

    async def swallowing(connection: AbstractConnection, *asked: Any, **options: Any) -> Any:
        reading = asyncio.create_task(read(connection, *asked, **options))
        try:
            return await asyncio.shield(reading)
        except asyncio.CancelledError:
            return await reading

    async def talk() -> None:
        while True:
            await asyncio.sleep(0.05)
            servers.teller.bus.say("talk", b"")

    heard = asyncio.Event()
    servers.bus.hear("talk", lambda _: heard.set())
    await servers.bus.reader.opened(["talk"])
    monkeypatch.setattr(AbstractConnection, "read_response", swallowing)
    talking = asyncio.create_task(servers.teller.run(talk()))
    await heard.wait()
    async with asyncio.timeout(FOREVER):
        await servers.log.stop()
    monkeypatch.undo()
    talking.cancel()


async def test_a_stream_begun_while_redis_was_away_for_a_moment_tells_what_was_stored_meanwhile(
    store: EventStore, without_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "PATIENCE", 0.0)
    servers = TwoOnRedis(store, without_redis.uri, f"{uuid7()}:")
    await servers.start()
    listener = await listen(servers)
    for number in range(3):
        servers.there.append(told(number, durable=True))
    await become(lambda: not servers.teller.bus.writer._up)
    monkeypatch.setattr(writer, "PATIENCE", FOREVER)
    without_redis.start()
    await up(servers)
    servers.there.append(told(3, durable=True))
    servers.there.end(end(), durable=True)

    assert numbers(await heard_at_last(servers, 4, after=listener.since, listener=listener)) == [0, 1, 2, 3]
    await servers.stop()


async def test_a_stream_begun_while_redis_was_away_does_not_end_as_if_it_had_told_everything(
    store: EventStore, without_redis: RedisServer
) -> None:
    servers = TwoOnRedis(store, without_redis.uri, f"{uuid7()}:")
    await servers.start()
    listener = await listen(servers)
    without_redis.start()
    await up(servers)
    await become(lambda: cast("AttachedSubscription", listener).attached)
    servers.there.append(told(0))
    servers.there.end(end())

    assert numbers(await some_of(listener, 2)) in ([], [0])
    assert (listener.closed, listener.ended) == (True, None)
    await servers.stop()


async def test_a_stream_that_gave_redis_up_breaks_off_when_its_run_is_found_to_have_ended(
    store: EventStore, without_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "OFFLINE", 0.2)
    servers = TwoOnRedis(store, without_redis.uri, f"{uuid7()}:")
    await servers.start()
    listener = cast("AttachedSubscription", await listen(servers))
    await become(lambda: listener.attached)
    listener.finish(end())  # as found in the database

    assert numbers(await some_of(listener, 1)) == []
    assert (listener.closed, listener.ended) == (True, None)
    await servers.stop()


async def test_without_redis_a_stream_tells_what_is_stored_and_breaks_off(
    servers: TwoOnRedis, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers.there.append(told(0, durable=True))
    await servers.settled()
    monkeypatch.setattr(shared, "OFFLINE", 0.2)
    redis_server.stop()
    listener = await listen(servers, after=0)

    assert await all_of(listener) == [0]
    assert (listener.closed, listener.ended) == (True, None)


async def test_two_deployments_share_one_redis(store: EventStore, redis_server: RedisServer) -> None:
    ours, theirs = (TwoOnRedis(store, redis_server.uri, prefix) for prefix in ("ours:", "theirs:"))
    await ours.start()
    await theirs.start()
    listener = await listen(ours)
    theirs.there.append(told(1))
    theirs.there.end(end())
    await theirs.settled()
    ours.there.append(told(2))
    ours.there.end(end())

    assert await all_of(listener) == [2]
    await ours.stop()
    await theirs.stop()


async def test_what_redis_keeps_is_bounded_in_time_and_size(servers: TwoOnRedis, redis_server: RedisServer) -> None:
    def asked(command: str, key: str) -> int:
        return cast("int", redis_server.do(command, f"{servers.bus.link.prefix}{key}:{THREAD}"))

    big = 100_000
    for _ in range(50):
        servers.there.append(Told(THREAD, RUN, "values", b"1" * big))
    await servers.settled()
    assert link.LONGEST // 2 < asked("XLEN", "events") * big < link.LONGEST
    assert 0 < asked("TTL", "events") <= link.GOING
    servers.there.end(end())
    await servers.settled()

    assert 0 < asked("TTL", "events") <= tapes.RETENTION
    assert 0 < asked("TTL", "ends") <= tapes.RETENTION
