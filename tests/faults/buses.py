"""Two servers that tell each other by Redis or by PostgreSQL, as far as what may happen is the same for both."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from typing import Any, Protocol

import psycopg
import pytest

from tests.conformance.event_logs import (
    FOREVER,
    RUN,
    THREAD,
    Servers,
    TwoOnPostgres,
    TwoOnRedis,
    become,
    listen,
    numbers,
)
from tests.conformance.listen_notify_kit import PostgresServer
from tests.conformance.redis_kit import RedisServer, Road
from turnkeeper.contracts import EventStore, Feed, Frame, Subscription
from turnkeeper.errors import Unavailable
from turnkeeper.stream.postgres.connections import Opened
from turnkeeper.types import uuid7


async def stored(store: EventStore) -> list[int] | None:
    """What is kept for later of the run; `None` while its own connections are broken."""
    with suppress(Unavailable):
        return numbers(await store.read(Feed(THREAD, RUN), 0, 2**62, 10_000))
    return None


async def become_stored(store: EventStore, expected: list[int]) -> None:
    """Wait until so much is kept for later of the run."""
    found: list[int] | None = None
    async with asyncio.timeout(FOREVER):
        while found != expected:
            found = await stored(store)


async def heard_at_last(
    servers: Servers, count: int, *, after: int, listener: Subscription | None = None
) -> list[Frame]:
    """What a client hears that comes back after each break. `listener`: what it hears by at first."""
    heard: list[Frame] = []
    listener = listener or await listen(servers, after=after)
    async with asyncio.timeout(2 * FOREVER):
        while len(heard) < count:
            try:
                heard += await listener.batch(0.1)
            except Unavailable:  # connections of the store break, too
                listener.close()
            if listener.closed:
                listener.close()
                listener = await listen(servers, after=heard[-1].seq if heard else after)
    assert in_order(heard)
    return heard


def in_order(heard: list[Frame]) -> bool:
    """Whether nothing came twice, and nothing too late."""
    return all(earlier.seq < later.seq for earlier, later in pairwise(heard))


class Linked(Protocol):
    """Two servers that are linked by whatever it is."""

    store: EventStore

    @property
    def servers(self) -> TwoOnRedis | TwoOnPostgres:
        """Both; the one called `there` tells."""
        ...

    def lose_an_answer(self) -> None:
        """What the server that tells asks for next is done, but it does not hear so."""
        ...

    def is_lost(self) -> bool:
        """Whether that has happened."""
        ...

    async def hear_signals(self) -> None:
        """Wait until both servers would hear signals."""
        ...

    async def break_off(self) -> None:
        """Break the connections by which the servers listen."""
        ...

    def left(self) -> list[str]:
        """What is still known of those who listened."""
        ...


class ByRedis:
    """Implements `Linked`. What is told goes by a road."""

    def __init__(self, server: RedisServer, store: EventStore, road: Road, way: str) -> None:
        self._server = server
        self._road = road
        self.store = store
        self.servers = TwoOnRedis(store, server.uri, f"{uuid7()}:", telling=way)

    def lose_an_answer(self) -> None:
        self._road.deaf = True

    def is_lost(self) -> bool:
        return not self._road.deaf

    async def hear_signals(self) -> None:
        names = ("cancel", "wake")
        await self.servers.bus.reader.opened(names)
        channels = self.servers.teller.bus.reader._channels
        await become(lambda: all(channels[name].open.is_set() for name in names))

    async def break_off(self) -> None:
        await asyncio.to_thread(self._server.stop)
        await asyncio.to_thread(self._server.start)

    def left(self) -> list[str]:
        readers = (self.servers.bus.reader, self.servers.teller.bus.reader)
        return [name for reader in readers for name in reader._channels if THREAD in name]


class ByPostgres:
    """Implements `Linked`."""

    def __init__(self, server: PostgresServer, store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self._server = server
        self._losing = False
        self.store = store
        self.servers = TwoOnPostgres(store, server.uri)
        ask = Opened.ask

        async def deaf(opened: Opened, name: str, **parameters: Any) -> list[Any]:
            answer = await ask(opened, name, **parameters)
            if name == "tell" and self._losing:
                self._losing = False
                raise psycopg.OperationalError("the connection is cut")
            return answer

        monkeypatch.setattr(Opened, "ask", deaf)

    def lose_an_answer(self) -> None:
        self._losing = True

    def is_lost(self) -> bool:
        return not self._losing

    async def hear_signals(self) -> None:
        pass

    async def break_off(self) -> None:
        assert await asyncio.to_thread(self._server.cut, "listen") == 2

    def left(self) -> list[str]:
        known = (self.servers.bus.topics.threads(), self.servers.teller.bus.reader._expected)
        listeners = self._server.ask("select thread_id from stream_readers")
        return [name for names in (listeners, *known) for name in names if name == THREAD]


@asynccontextmanager
async def by_redis(server: RedisServer, store: EventStore) -> AsyncGenerator[Linked]:
    """Two servers that have begun; they are stopped afterwards."""
    road = Road(server.port)
    linked = ByRedis(server, store, road, await road.open())
    await linked.servers.start()
    yield linked
    await linked.servers.stop()
    await road.close()


@asynccontextmanager
async def by_postgres(
    server: PostgresServer, store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Linked]:
    """Two servers that have begun; they are stopped afterwards."""
    linked = ByPostgres(server, store, monkeypatch)
    await linked.servers.start()
    yield linked
    await linked.servers.stop()
