"""What holds on the way between processes, whatever it is: nothing comes twice, and no worker sleeps for ever."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.conformance.event_logs import (
    FOREVER,
    THREAD,
    Worker,
    all_of,
    become,
    end,
    listen,
    numbers,
    some_of,
    stored_in_a_file,
    told,
)
from tests.faults.buses import Linked, become_stored, by_postgres, by_redis, in_order
from turnkeeper.contracts import EventStore
from turnkeeper.storage.postgres.storage import PostgresStorage
from turnkeeper.stream.broadcast import BroadcastSignals
from turnkeeper.stream.postgres import bus as postgres_bus
from turnkeeper.stream.postgres import reader as postgres_reader
from turnkeeper.stream.redis import reader as redis_reader


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def attentive(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not told is not found out by asking now and then; who has left is soon forgotten."""
    monkeypatch.setattr(postgres_reader, "PULSE", 2 * FOREVER)
    for module in (redis_reader, postgres_bus):
        monkeypatch.setattr(module, "LINGER", 0.05)


@pytest.fixture(params=["redis", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EventStore]:
    if request.param == "redis":
        with stored_in_a_file(tmp_path) as store:
            yield store
        return
    storage = PostgresStorage(request.getfixturevalue("database").uri)
    storage.open()
    yield storage.events
    storage.close()


@pytest.fixture
async def linked(
    request: pytest.FixtureRequest, store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Linked]:
    if "redis" in request.node.callspec.params.values():
        linking = by_redis(request.getfixturevalue("redis_server"), store)
    else:
        linking = by_postgres(request.getfixturevalue("database"), store, monkeypatch)
    async with linking as linked:
        yield linked


async def test_an_answer_that_got_lost_doubles_nothing(linked: Linked) -> None:
    """What was told is there, but who told it does not know."""
    listener = await listen(linked.servers)
    for number in range(60):
        linked.servers.there.append(told(number, durable=number % 2 == 0))
        if number % 20 == 10:
            linked.lose_an_answer()
        if number % 20 == 19:
            await become(linked.is_lost)
    heard = await some_of(listener, 60)

    assert numbers(heard) == list(range(60))
    assert in_order(heard)
    await become_stored(linked.store, list(range(0, 60, 2)))


async def test_nothing_is_left_of_listeners_that_left_and_runs_that_ended(linked: Linked) -> None:
    servers = linked.servers
    for number in range(5):
        listener = await listen(servers, f"run {number}")
        servers.there.wanted(THREAD, f"run {number}", protocol=False)
        servers.there.append(told(number, f"run {number}"))
        servers.there.end(end(f"run {number}"))
        await all_of(listener)
        listener.close()
    await servers.settled()

    await become(lambda: not linked.left())
    assert not servers.teller.log._interest._runs
    assert not servers.teller.log._interest._of_thread


async def test_signals_reach_the_workers_of_all_processes(linked: Linked) -> None:
    here, there = BroadcastSignals(linked.servers.bus), BroadcastSignals(linked.servers.teller.bus)
    near, far = Worker(), Worker()
    here.connect(near)
    there.connect(far)
    await linked.hear_signals()

    assert here.reserve()
    here.hand_over(None)
    here.wake()
    await asyncio.wait_for(far.heard.wait(), FOREVER)
    here.cancel(["a", "b"])
    here.cancel([])
    await become(lambda: len(far.told) == 2)
    await linked.servers.settled()
    assert near.told == [None, "wake", ["a", "b"]]
    assert far.told == ["wake", ["a", "b"]]

    many = [f"run {number}".ljust(36) for number in range(1000)]
    here.cancel(many)
    await become(lambda: len(far.told) == 12)
    assert [each for told in far.told[2:] for each in told] == many  # type: ignore[attr-defined]

    far.told.clear()
    await linked.break_off()
    await become(lambda: far.told == ["wake"])  # whatever it missed, it looks for work
