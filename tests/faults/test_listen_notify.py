"""What may happen to PostgreSQL where nothing else tells processes of each other: streams are late, or break off."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from msgspec import Raw

from tests.conformance.event_logs import (
    FOREVER,
    RUN,
    THREAD,
    Process,
    TwoOnPostgres,
    all_of,
    become,
    end,
    follow,
    frames_of,
    listen,
    numbers,
    some_of,
    told,
)
from tests.conformance.listen_notify_kit import PostgresServer
from tests.faults.buses import become_stored, heard_at_last, in_order
from turnkeeper.contracts import EventStore, Frame, Subscription, Told
from turnkeeper.storage.postgres.storage import PostgresStorage
from turnkeeper.stream import postgres
from turnkeeper.stream.postgres import batches, keeper, reader, sender
from turnkeeper.stream.postgres.connections import Opened


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def store(database: PostgresServer) -> Iterator[EventStore]:
    storage = PostgresStorage(database.uri)
    storage.open()
    yield storage.events
    storage.close()


@pytest.fixture
async def servers(store: EventStore, database: PostgresServer) -> AsyncIterator[TwoOnPostgres]:
    servers = TwoOnPostgres(store, database.uri)
    await servers.start()
    yield servers
    await servers.stop()


# --- the database comes and goes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("durable", [False, True])
async def test_a_restarted_database_costs_time_and_nothing_else(
    servers: TwoOnPostgres, database: PostgresServer, store: EventStore, durable: bool
) -> None:
    """The streams do not even break off: what was told before is still there, and what is told meanwhile waits."""
    listener, waiter = await listen(servers), await listen(servers, frames=False)
    servers.there.append(told(0, durable=durable))
    heard = await listener.batch(FOREVER)
    database.stop()
    for number in range(1, 50):  # nobody waits here until it is back
        servers.there.append(told(number, durable=durable))
    assert await listener.batch(0.01) == []
    database.start()
    servers.there.end(end(), durable=durable)
    heard += await frames_of(listener)
    await frames_of(waiter)

    assert numbers(heard) == list(range(50))
    assert in_order(heard)
    assert (listener.ended, waiter.ended) == (end(), end())
    await become_stored(store, list(range(50)) if durable else [])


async def test_a_crashed_database_breaks_streams_off_and_all_heals(
    servers: TwoOnPostgres, database: PostgresServer, store: EventStore
) -> None:
    """What it knew of what was told is gone, so that nobody can say whether a listener has heard all."""
    listener, waiter = await listen(servers), await listen(servers, frames=False)
    servers.there.append(told(0, durable=True))
    first = await listener.batch(FOREVER)
    database.ask("checkpoint")  # the last moment of what is told may be missing after a crash
    waiting = asyncio.create_task(waiter.batch(FOREVER))
    database.stop("immediate")
    for number in range(1, 5):
        servers.there.append(told(number, durable=True))
    database.start()
    await become(lambda: listener.closed, within=2 * FOREVER)
    assert await waiting == []  # who waits for the end gets a chance to look for it elsewhere
    assert (listener.ended, waiter.closed, waiter.ended) == (None, False, None)

    servers.there.append(told(5, durable=True))
    heard = await heard_at_last(servers, 5, after=first[-1].seq)
    servers.there.end(end(), durable=True)
    await frames_of(waiter)

    assert numbers(heard) == [1, 2, 3, 4, 5]
    assert waiter.ended == end()
    await become_stored(store, list(range(6)))


async def test_a_database_that_is_gone_for_long_breaks_streams_off(
    servers: TwoOnPostgres, database: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another server may be better off."""
    monkeypatch.setattr(reader, "BEHIND", 0.2)
    listener = await listen(servers)
    database.stop()

    assert await all_of(listener) == []
    assert (listener.closed, listener.ended) == (True, None)


async def test_more_is_told_than_may_wait_and_the_streams_say_so(
    servers: TwoOnPostgres, database: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "MOST_WAITING", 10_000)
    listener, waiter = await listen(servers), await listen(servers, frames=False)
    database.stop()
    for number in range(1000):
        servers.there.append(told(number))
    await become(lambda: servers.teller.bus.sender._full)
    assert len(servers.teller.bus.sender._outbox) < 100
    waiting = asyncio.create_task(waiter.batch(2 * FOREVER))
    database.start()
    heard = numbers(await frames_of(listener))

    assert heard == list(range(len(heard)))
    assert (listener.closed, listener.ended) == (True, None)
    assert (await waiting, waiter.ended) == ([], None)
    servers.there.append(told(1000))
    assert (await heard_at_last(servers, len(heard) + 1, after=0))[-1].data == b"1000"


# --- connections ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("purpose", ["listen", "tell"])
async def test_a_killed_connection_costs_nothing(
    servers: TwoOnPostgres, database: PostgresServer, store: EventStore, purpose: str
) -> None:
    listener, waiter = await listen(servers), await listen(servers, frames=False)
    cut = 0
    for number in range(60):
        servers.there.append(told(number, durable=number % 2 == 0))
        if number % 20 == 10:
            cut += await asyncio.to_thread(database.cut, purpose)
        await asyncio.sleep(0.002)
    servers.there.end(end())
    heard = await frames_of(listener)
    await frames_of(waiter)

    assert cut >= 2
    assert numbers(heard) == list(range(60))
    assert in_order(heard)
    assert waiter.ended == end()
    await become_stored(store, list(range(0, 60, 2)))


async def test_what_may_have_been_told_long_ago_is_not_told_again(
    servers: TwoOnPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been swept up meanwhile, so that it would not be known again."""
    ask, cut = Opened.ask, threading.Event()
    monkeypatch.setattr(sender, "DOUBTFUL", 0.0)

    async def deaf(opened: Opened, name: str, **parameters: Any) -> list[Any]:
        answer = await ask(opened, name, **parameters)
        if name == "tell" and not cut.is_set():
            cut.set()
            raise psycopg.OperationalError("the connection is cut")
        return answer

    listener = await listen(servers)
    monkeypatch.setattr(Opened, "ask", deaf)
    servers.there.append(told(0))

    assert await all_of(listener) == [0]
    assert (listener.closed, listener.ended) == (True, None)


async def test_a_server_that_was_paused_for_long_does_not_go_on_as_if_nothing_had_happened(
    servers: TwoOnPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "BEHIND", 0.1)
    listener = await listen(servers)
    servers.there.append(told(0))
    await become(lambda: not servers.teller.bus.sender._outbox)
    time.sleep(0.3)

    assert numbers(await frames_of(listener)) in ([], [0])
    assert (listener.closed, listener.ended) == (True, None)


async def test_a_database_that_does_not_answer_holds_nobody_up(
    servers: TwoOnPostgres, database: PostgresServer
) -> None:
    listener = await listen(servers)
    with paused(database.pids("tell")):
        for number in range(100):
            servers.there.append(told(number))
        await servers.here.subscribe("late", THREAD, frames=True).ready()

    assert numbers(await some_of(listener, 100)) == list(range(100))


@contextmanager
def paused(pids: list[int]) -> Generator[None]:
    """Processes of the database that do nothing for a while."""
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


# --- what goes through ------------------------------------------------------------------------------------------------


async def test_frames_of_any_size_arrive(servers: TwoOnPostgres) -> None:
    """A notification takes 8000 bytes."""
    sizes = [0, 7900, 7999, 8000, 8001, 100_000, 3_000_000]
    listener = await listen(servers)
    for size in sizes:
        servers.there.append(Told(THREAD, RUN, "values", b"x" * size))
    servers.there.end(end(values=Raw(b'"' + b"y" * 50_000 + b'"')))

    assert [len(each.data) for each in (await frames_of(listener))[:-1]] == sizes
    assert listener.ended is not None
    assert len(bytes(listener.ended.values or b"")) == 50_002


async def test_more_threads_tell_at_once_than_a_notification_can_name(servers: TwoOnPostgres) -> None:
    names = [f"{number:03}".ljust(100, "x") for number in range(batches.AT_ONCE)]
    listeners = [servers.here.follow(name, protocol=False) for name in names]
    await asyncio.gather(*(each.ready() for each in listeners))
    for name in names:
        servers.there.append(Told(name, RUN, "values", name.encode()))

    heard = [await each.batch(FOREVER) for each in listeners]

    assert [[frame.data.decode() for frame in frames] for frames in heard] == [[name] for name in names]


async def test_three_processes_agree_on_one_order_with_no_number_twice(
    servers: TwoOnPostgres, database: PostgresServer, store: EventStore
) -> None:
    another = postgres.Bus(database.uri)
    third = Process(postgres.PostgresEventLog(store, another), another)
    await third.start()

    async def hear() -> tuple[list[Frame], Subscription]:
        listener = third.log.follow(THREAD, protocol=False)
        waiter = third.log.subscribe(RUN, THREAD, frames=False)
        await listener.ready()
        await waiter.ready()
        listening.set()
        return await some_of(listener, 900), waiter

    listening = asyncio.Event()
    theirs = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(hear(), third._loop))
    ours = await follow(servers)
    await become(listening.is_set)
    for number in range(300):
        for log in (servers.here, servers.there, third.log):
            log.append(told(number, f"run {id(log)}", durable=True))
        if number % 50 == 0:
            await asyncio.sleep(0.005)
    heard = await some_of(ours, 900)
    others, waiter = await theirs
    servers.here.end(end())

    assert heard == others
    assert in_order(heard)
    for run_id in {frame.run_id for frame in heard}:
        assert numbers([each for each in heard if each.run_id == run_id]) == list(range(300))
    await become(lambda: len(database.ask("select seq from events")) == 900)
    await become(lambda: waiter.ended == end())
    await third.stop()


# --- upkeep -----------------------------------------------------------------------------------------------------------


async def test_what_is_kept_is_bounded_in_time_and_size(
    servers: TwoOnPostgres, database: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "BEHIND", 0.0)
    big = 100_000

    async def sweep() -> None:
        database.ask("update stream_life set swept = '2000-01-01'")
        async with servers.bus.keeper._connect() as opened:
            await servers.bus.keeper.sweep(opened)

    def kept() -> list[str]:
        return database.ask("select run_id from stream_told where kind < 2 and run_id <> '' order by seq")

    listener = await listen(servers)
    for _ in range(50):
        servers.there.append(Told(THREAD, RUN, "values", b"1" * big))
    servers.there.append(Told("another", "short", "values", b"1"))
    await servers.settled()
    await some_of(listener, 50)
    await sweep()
    assert keeper.LONGEST // 2 < kept().count(RUN) * big <= keeper.LONGEST
    assert kept().count("short") == 1

    servers.there.end(end())
    await servers.settled()
    await sweep()
    assert RUN in kept()
    monkeypatch.setattr(servers.bus.keeper, "_retention", 0)
    await sweep()
    assert kept() == ["short"]
    monkeypatch.setattr(keeper, "GOING", 0)
    await sweep()
    assert kept() == []


async def test_who_listened_in_a_process_that_died_is_forgotten_and_who_lives_is_not(
    servers: TwoOnPostgres, database: PostgresServer
) -> None:
    await listen(servers)
    database.ask("insert into stream_readers values ('thread', 1, 'dead'), ('other', 0, 'dead')")
    database.ask("insert into stream_processes values ('dead', now() - interval '2 minutes')")
    database.ask("update stream_life set swept = '2000-01-01'")

    async with servers.bus.keeper._connect() as opened:
        await servers.bus.keeper.sweep(opened)
    assert database.ask("select process from stream_readers") == [servers.bus.name]

    database.ask("truncate stream_readers, stream_processes")  # as another would, if we had been silent
    async with servers.bus.keeper._connect() as opened:
        await servers.bus.keeper._beat(opened)
    await become(lambda: database.ask("select process from stream_readers") == [servers.bus.name])


# --- signals ----------------------------------------------------------------------------------------------------------


async def test_a_hint_is_not_swallowed_by_one_that_is_on_its_way(
    servers: TwoOnPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is another run to claim by then."""
    ask, heard, again = Opened.ask, 0, True

    def hear(_: bytes) -> None:
        nonlocal heard
        heard += 1

    async def slow(opened: Opened, name: str, **parameters: Any) -> list[Any]:
        nonlocal again
        answer = await ask(opened, name, **parameters)
        if name == "say" and again:
            again = False
            await become(lambda: heard == 1)
            servers.bus.say("wake", "another")
        return answer

    servers.teller.bus.hear("wake", hear)
    monkeypatch.setattr(Opened, "ask", slow)
    servers.bus.say("wake", "another")

    await become(lambda: heard == 2)
