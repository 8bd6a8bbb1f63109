"""What a process has to tell and to ask, over one connection: many items per statement, and none twice."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import NamedTuple

import psycopg
import structlog

from turnkeeper.contracts import Feed
from turnkeeper.stream.postgres.batches import AT_ONCE, Batch, Item, Outbox
from turnkeeper.stream.postgres.clock import DatabaseClock
from turnkeeper.stream.postgres.connections import FIRST_DELAY, LONGEST_DELAY, Connect, Opened, first_line
from turnkeeper.stream.postgres.questions import Look, Questions, Readers
from turnkeeper.stream.postgres.topics import kind
from turnkeeper.stream.way import Seen, Topic, Unreachable

log = structlog.get_logger()

PACE = 0.01
"""Seconds between two batches of frames: a notification takes a lock of the whole database when it is committed."""

DOUBTFUL = 30.0
"""Seconds after which a batch is not sent again that may have arrived: what it told may have been swept up by then."""


class Change(NamedTuple):
    """Topics to be entered into the list of those with listeners, or taken off it."""

    statement: str
    topics: Sequence[Topic]


class Sender:
    """Used on one event loop."""

    def __init__(self, connect: Connect, clock: DatabaseClock, process: str) -> None:
        self._connect = connect
        self._clock = clock
        self._process = process
        self._outbox = Outbox()
        self._said: list[str] = []
        self._changes: list[Change] = []
        self._questions = Questions(process, clock)
        self._batch: Batch | None = None
        self._filled = asyncio.Event()
        self._urgent = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._up = False
        self._well = True
        self._full = False

    def put(self, item: Item, *, urgent: bool = False) -> None:
        """Send an item after those before it."""
        full = not self._outbox.put(item)
        if full and not self._full:
            log.warning("more is told than the database takes: streams break off")
        self._full = full
        self._wake(urgent=urgent or len(self._outbox) >= AT_ONCE)

    def say(self, message: str) -> None:
        """Send a notification."""
        if message not in self._said and (self._up or len(self._said) < AT_ONCE):
            self._said.append(message)
            self._wake(urgent=True)

    def announce(self, topics: Sequence[Topic]) -> None:
        """This process has listeners for topics, which was said before."""
        self._change("announce", topics)

    def leave(self, topics: Sequence[Topic]) -> None:
        """This process has no listeners any more for topics."""
        self._change("leave", topics)

    async def look(self, feed: Feed, after: int, *, frames: bool) -> Seen:
        """See `Way`."""
        self._ready_to_ask()
        return await self._questions.look(Look(feed, after, frames=frames))

    async def readers(self, thread_id: str) -> set[bool]:
        """See `Way`."""
        self._ready_to_ask()
        return await self._questions.readers(Readers(thread_id))

    async def run(self) -> None:
        """Send for ever, over one connection after the other."""
        delay = 0.0
        while True:
            try:
                async with self._connect() as opened:
                    self._up = True
                    await self._serve(opened)
            except Exception as error:  # noqa: BLE001 - whatever it was: another connection is tried
                if isinstance(error, psycopg.DataError) and self._batch is not None:
                    self._give_up(self._batch)  # it would not be taken another time either
                if self._well:
                    log.warning("what is told does not get to the database", error=first_line(error))
            delay = 0.0 if self._well else min(max(2 * delay, FIRST_DELAY), LONGEST_DELAY)
            self._up = self._well = False
            self._questions.refuse()
            await asyncio.sleep(delay)

    async def flush(self, timeout: float) -> None:
        """Wait up to `timeout` seconds until nothing is on its way."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._idle.wait()

    def _change(self, statement: str, topics: Sequence[Topic]) -> None:
        for first in range(0, len(topics), AT_ONCE):
            self._changes.append(Change(statement, topics[first : first + AT_ONCE]))
            self._wake(urgent=False)

    def _ready_to_ask(self) -> None:
        if not self._up:
            raise Unreachable
        self._wake(urgent=True)

    def _wake(self, *, urgent: bool) -> None:
        self._idle.clear()
        self._filled.set()
        if urgent:
            self._urgent.set()

    async def _serve(self, opened: Opened) -> None:
        self._filled.set()
        begun = 0.0
        while True:
            await self._filled.wait()
            self._filled.clear()
            while self._outbox or self._batch or self._said or self._changes or self._questions:
                await self._rest(begun + PACE - self._time())
                self._urgent.clear()
                begun = self._time()
                await self._round(opened)
                self._well = True
            self._idle.set()

    async def _rest(self, seconds: float) -> None:
        """Let frames come together, unless there are many or there is something that may not wait."""
        if seconds > 0 and len(self._outbox) < AT_ONCE:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._urgent.wait()

    async def _round(self, opened: Opened) -> None:
        """Everything that waits, once. What failed is there still for the next connection."""
        while self._changes:
            change = self._changes[0]
            threads, kinds = [each.thread_id for each in change.topics], [kind(each) for each in change.topics]
            await opened.ask(change.statement, process=self._process, threads=threads, kinds=kinds)
            self._changes.pop(0)
        await self._questions.ask(opened)
        if self._batch is None and self._outbox:
            self._batch = Batch(self._outbox.take(), self._clock.newest, self._time())
        said, self._said = self._said, []  # the same may be said again meanwhile, and has to be heard again
        try:
            if self._batch is not None:
                await self._send(opened, self._batch, said)
            elif said:
                await opened.ask("say", said=said)
        except BaseException:
            self._said[:0] = said
            raise

    async def _send(self, opened: Opened, batch: Batch, said: Sequence[str]) -> None:
        again, batch.again = batch.again, True
        if again and self._time() > batch.begun + DOUBTFUL:
            self._give_up(batch)
            self._said[:0] = said
            return
        sent = {"above": batch.above, "batch": batch.number, "again": again, "news": batch.news, "said": said}
        [(began, now)] = await opened.ask("tell", **sent, **batch.columns())
        self._batch = None
        self._clock.heard(now)
        self._clock.met(began + len(batch.items) - 1)

    def _give_up(self, batch: Batch) -> None:
        log.warning("what was told may not have got to the database: streams break off")
        self._batch = None
        self._outbox.lose(batch.items)

    def _time(self) -> float:
        return asyncio.get_running_loop().time()
