"""The event logs under test: one that tells and one that listens, which are the same where there is but one process."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from tests.conformance.conftest import new_file
from turnkeeper.contracts import RUN_DONE, EventLog, EventStore, Frame, Subscription, Told
from turnkeeper.storage.sqlite.storage import SqliteStorage
from turnkeeper.stream import postgres
from turnkeeper.stream.local import LocalEventLog
from turnkeeper.stream.redis.bus import Bus
from turnkeeper.stream.redis.log import RedisEventLog
from turnkeeper.stream.shared import SharedEventLog
from turnkeeper.types import Claimed, Ended

T = TypeVar("T")
B = TypeVar("B")

THREAD, RUN, OTHER = "thread", "run", "other"
FOREVER = 20.0
"""Longer than any test may take: a wait that is not woken fails it."""


class Servers(Protocol):
    """The servers of one deployment, as far as events go."""

    here: EventLog
    """The log of the server whose clients listen; on the test's loop."""
    there: EventLog
    """The log of the one whose worker executes the runs."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def settled(self) -> None:
        """Wait until everything told has reached who listens."""
        ...

    def close(self) -> None:
        """The server that listens stops."""
        ...


class OneProcess:
    """The event log of one process."""

    def __init__(self, store: EventStore) -> None:
        self._log = LocalEventLog(store)
        self.here: EventLog = self._log
        self.there: EventLog = self._log

    async def start(self) -> None:
        await self._log.start()

    async def stop(self) -> None:
        pass

    async def settled(self) -> None:
        await asyncio.sleep(0)

    def close(self) -> None:
        self._log.close()


class Process(Generic[B]):
    """Another process, as far as events go: its loop is in a thread of its own."""

    def __init__(self, log: SharedEventLog, bus: B) -> None:
        self.bus = bus
        self.log = log
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    async def start(self) -> None:
        self._thread.start()
        await self.run(self.log.start())

    async def run(self, doing: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(doing, self._loop))

    async def stop(self) -> None:
        await self.run(self.log.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class TwoOnRedis:
    """Two servers on one Redis."""

    def __init__(self, store: EventStore, uri: str, prefix: str, *, telling: str | None = None) -> None:
        """`telling`: how the server that tells gets to Redis, if not on the same way."""
        self.bus = Bus(uri, prefix=prefix)
        self.log = RedisEventLog(store, self.bus)
        tells = Bus(telling or uri, prefix=prefix)
        self.teller = Process(RedisEventLog(store, tells), tells)
        self.here: EventLog = self.log
        self.there: EventLog = self.teller.log
        self._heard = asyncio.Event()

    async def start(self) -> None:
        await self.log.start()
        await self.teller.start()

    async def stop(self) -> None:
        self.log.close()
        await self.log.stop()
        await self.teller.stop()

    async def settled(self) -> None:
        """What is told last gets to everybody last."""

        async def say() -> None:
            await asyncio.sleep(0)
            self.teller.bus.say(self.bus.name, b"")

        self._heard.clear()
        self.bus.reader.hold(self.bus.name, lambda _: self._heard.set())
        await self.bus.reader.opened([self.bus.name])
        await self.teller.run(say())
        await asyncio.wait_for(self._heard.wait(), FOREVER)
        await self.teller.run(self.teller.bus.writer.flush(FOREVER))  # it knows so, too, and has stored what is kept

    def close(self) -> None:
        self.log.close()


class TwoOnPostgres:
    """Two servers on one PostgreSQL."""

    def __init__(self, store: EventStore, uri: str) -> None:
        self.bus = postgres.Bus(uri)
        self.log = postgres.PostgresEventLog(store, self.bus)
        tells = postgres.Bus(uri)
        self.teller = Process(postgres.PostgresEventLog(store, tells), tells)
        self.here: EventLog = self.log
        self.there: EventLog = self.teller.log
        self._marks = 0

    async def start(self) -> None:
        await self.log.start()
        await self.teller.start()

    async def stop(self) -> None:
        self.log.close()
        await self.log.stop()
        await self.teller.stop()

    async def settled(self) -> None:
        """What is told last gets to everybody last."""
        self._marks += 1
        mark = f"mark {self._marks}"
        listener = self.here.follow(mark, protocol=False)
        await listener.ready()
        self.there.append(Told(mark, "", "mark", b""))
        assert await listener.batch(FOREVER)
        listener.close()

    def close(self) -> None:
        self.log.close()


@contextmanager
def stored_in_a_file(folder: Path) -> Generator[EventStore]:
    """What is kept for later, where the way itself keeps nothing."""
    path = folder / "turnkeeper.db"
    path.write_bytes(new_file())
    storage = SqliteStorage(str(path))
    storage.open()
    yield storage.events
    storage.close()


def told(number: int, run_id: str = RUN, *, durable: bool = False, **fields: Any) -> Told:
    return Told(THREAD, run_id, "values", str(number).encode(), durable=durable, **fields)


def end(run_id: str = RUN, **fields: Any) -> Ended:
    usual: dict[str, Any] = {"status": "success"}
    return Ended(run_id=run_id, thread_id=THREAD, **{**usual, **fields})


async def listen(servers: Servers, run_id: str = RUN, *, frames: bool = True, after: int | None = None) -> Subscription:
    """Listen as services do: nothing is admitted before it is ready."""
    subscription = servers.here.subscribe(run_id, THREAD, frames=frames, after=after)
    await subscription.ready()
    return subscription


async def follow(servers: Servers, *, protocol: bool = False, after: int | None = None) -> Subscription:
    subscription = servers.here.follow(THREAD, protocol=protocol, after=after)
    await subscription.ready()
    return subscription


async def frames_of(listener: Subscription) -> list[Frame]:
    """Everything a listener hears until the end of its run."""
    heard: list[Frame] = []
    async with asyncio.timeout(2 * FOREVER):
        while listener.ended is None and not listener.closed:
            heard += await listener.batch(FOREVER)
    return heard


def numbers(frames: list[Frame]) -> list[int]:
    """What the frames say, but for the end."""
    return [int(frame.data) for frame in frames if frame.event != RUN_DONE]


async def all_of(listener: Subscription) -> list[int]:
    return numbers(await frames_of(listener))


async def some_of(listener: Subscription, count: int) -> list[Frame]:
    """The next frames, at least so many."""
    heard: list[Frame] = []
    async with asyncio.timeout(2 * FOREVER):
        while len(heard) < count and not listener.closed:
            heard += await listener.batch(FOREVER)
    return heard


async def become(asked: Callable[[], bool], *, within: float = FOREVER) -> None:
    """Wait until something is true that nothing tells of."""
    async with asyncio.timeout(within):
        while not asked():
            await asyncio.sleep(0.01)


class Worker:
    """A worker that remembers what it was told by signals."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.heard = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def reserve(self) -> bool:
        return True

    def hand_over(self, claimed: Claimed | None) -> None:
        self._note(claimed)

    def wake(self) -> None:
        self._note("wake")

    def cancel(self, run_ids: Sequence[str]) -> None:
        self._note(list(run_ids))

    def _note(self, what: object) -> None:
        self.told.append(what)
        self._loop.call_soon_threadsafe(self.heard.set)
