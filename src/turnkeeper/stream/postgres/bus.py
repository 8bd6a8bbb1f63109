"""What the event log and the signals of a process share: its way to PostgreSQL and back."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable
from functools import partial

import msgspec
import psycopg

from turnkeeper.contracts import Feed, Told
from turnkeeper.stream.local import End, Gone
from turnkeeper.stream.postgres.batches import Item, frame_item
from turnkeeper.stream.postgres.clock import DatabaseClock
from turnkeeper.stream.postgres.connections import connect
from turnkeeper.stream.postgres.keeper import Keeper
from turnkeeper.stream.postgres.reader import Reader
from turnkeeper.stream.postgres.sender import Sender
from turnkeeper.stream.postgres.topics import ENDS, FORGET, FORGET_WITH_END, Topics
from turnkeeper.stream.tapes import RETENTION
from turnkeeper.stream.way import Hearer, Seen, Topic, Unreachable
from turnkeeper.stream.wire import pack_end
from turnkeeper.types import Clock

ANSWER = 1.0
"""Seconds the database is waited for when the process starts and stops."""

LINGER = 1.0
"""Seconds between two looks at which topics nobody listens to any more."""

RETRY_AFTER = 0.1


class Bus:
    """One process on one PostgreSQL: implements `Way` and `Switchboard`.

    Begins and ends on the API's loop, to which all of it belongs. It has two connections, and now and then a third.
    """

    def __init__(self, uri: str, *, retention: float = RETENTION, clock: Clock = time.time) -> None:
        """`uri` as libpq takes it; the database has to be migrated, and no pooler in between that shares sessions.

        `retention`: seconds what a run told is kept after its end.
        """
        self.name = secrets.token_hex(8)
        """What tells this process from the others."""
        self.retention = retention
        self.clock = DatabaseClock(clock)
        self.topics = Topics()
        self.sender = Sender(partial(connect, uri, "tell"), self.clock, self.name)
        self.reader = Reader(partial(connect, uri, "listen"), self.clock, self.name, self.topics)
        self.keeper = Keeper(partial(connect, uri, "keep"), self.clock, self.name, self.announce, retention)
        self.reader.on_up = self._came
        self.reader.on_down = self._went
        self._watching: list[tuple[Callable[[], None], Callable[[], None]]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def is_up(self) -> bool:
        return self.reader.up.is_set()

    def connect(self, hearer: Hearer) -> None:
        self.reader.connect(hearer)

    def watch(self, *, on_up: Callable[[], None], on_down: Callable[[], None]) -> None:
        """Be called when the connection is there (again), and when it was lost."""
        self._watching.append((on_up, on_down))

    def call(self, job: Callable[[], None]) -> None:
        """Do something on the bus's loop; nothing before `start` and after the loop's end. From any thread."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # closed
                self._loop.call_soon_threadsafe(job)

    async def start(self, above: int) -> None:
        """Connect. A database that is not there now is waited for a second, and then in the background."""
        self._loop = asyncio.get_running_loop()
        self.clock.met(above)
        jobs = (self.reader.run(), self.sender.run(), self.keeper.run(), self._tidy())
        self._tasks = [asyncio.create_task(job) for job in jobs]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER):
                await self.reader.up.wait()

    async def stop(self) -> None:
        """Tell what waits, if that takes no longer than a second, and let go of all connections."""
        await self.sender.flush(ANSWER)
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks, timeout=ANSWER)
        with contextlib.suppress(psycopg.Error, OSError, TimeoutError):
            async with asyncio.timeout(ANSWER):
                await self.keeper.part()

    # --- signals ------------------------------------------------------------------------------------------------------

    def say(self, channel: str, message: str | bytes) -> None:
        """Tell something on a channel. On the bus's loop."""
        text = message if isinstance(message, str) else message.decode()
        self.sender.say(msgspec.json.encode(["say", channel, text]).decode())

    def hear(self, channel: str, heard: Callable[[bytes], None]) -> None:
        """Listen to what is said on a channel. On the bus's loop."""
        self.reader.hear(channel, heard)

    # --- events -------------------------------------------------------------------------------------------------------

    def moment(self) -> int:
        return self.clock.moment()

    def tell(self, told: Told) -> None:
        """See `Way`. What is durable is stored in passing: what has its number is there, also after a restart."""
        self.sender.put(frame_item(told))

    def end(self, end: End, *, kept: bool) -> None:  # noqa: ARG002 - it is a row, whoever may ask for it
        """See `Way`. Of a run that was rolled back the frames are removed."""
        thread_id, run_id = end.ended.thread_id, end.ended.run_id
        self.sender.put(Item(ENDS, thread_id, run_id, data=pack_end(end.ended)), urgent=True)
        if end.durable and end.ended.status is None:
            self.sender.put(Item(FORGET, thread_id, run_id))

    def forget(self, gone: Gone) -> None:
        self.sender.put(Item(FORGET_WITH_END, gone.thread_id, gone.run_id or ""))

    def hold(self, topic: Topic) -> None:
        self.topics.hold(topic)

    def release(self, topic: Topic) -> None:
        self.topics.release(topic)

    async def look(self, feed: Feed, after: int, *, frames: bool) -> Seen:
        """See `Way`. What is told later is heard, unless something is lost meanwhile."""
        losses = self.reader.losses
        if not self.is_up:
            raise Unreachable
        seen = await self.sender.look(feed, after, frames=frames)
        if losses != self.reader.losses:
            raise Unreachable
        return seen

    def expect(self, thread_id: str) -> None:
        self.reader.expect(thread_id)

    def expect_no_more(self, thread_id: str) -> None:
        self.reader.expect_no_more(thread_id)

    async def readers(self, thread_id: str) -> set[bool]:
        """See `Way`. Asked until there is an answer, as far as this process would hear if that changed."""
        while True:
            await self.reader.up.wait()
            with contextlib.suppress(Unreachable):
                return await self.sender.readers(thread_id)
            await asyncio.sleep(RETRY_AFTER)

    def announce(self) -> None:
        """Say again what this process listens to: it may have been forgotten."""
        self.sender.announce(self.topics.read())

    # --- upkeep -------------------------------------------------------------------------------------------------------

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(LINGER)
            self.sender.leave(self.topics.drop())

    def _came(self) -> None:
        self.announce()
        for on_up, _ in self._watching:
            on_up()

    def _went(self) -> None:
        for _, on_down in self._watching:
            on_down()
