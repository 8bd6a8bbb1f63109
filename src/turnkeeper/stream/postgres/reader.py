"""The one connection by which a process hears that there are news, and fetches those it listens to."""

import asyncio
import random
from collections.abc import Callable
from typing import cast

import msgspec
import structlog
from psycopg import sql

from turnkeeper.stream.postgres.batches import Row
from turnkeeper.stream.postgres.clock import DatabaseClock
from turnkeeper.stream.postgres.connections import FIRST_DELAY, LONGEST_DELAY, Connect, Opened, first_line
from turnkeeper.stream.postgres.topics import ENDS, GAP, Topics, bits
from turnkeeper.stream.way import Hearer, Topic
from turnkeeper.stream.wire import unpack_end

log = structlog.get_logger()

BEHIND = 10.0
"""Seconds a process may be behind or cut off, and catches up. After more, streams break off."""

PULSE = 1.0
"""Seconds between two moments at which it is known that nothing was missed."""

MOST, MOST_BYTES = 500, 1024 * 1024
"""Rows and bytes that are fetched at once."""

Heard = Callable[[bytes], None]


class Reader:
    """Used on one event loop."""

    _hearer: Hearer

    def __init__(self, connect: Connect, clock: DatabaseClock, process: str, topics: Topics) -> None:
        self._connect = connect
        self._clock = clock
        self._process = process
        self._topics = topics
        self._channels: dict[str, Heard] = {}
        self._expected: dict[str, int] = {}
        self._life: object = None
        self._place = 0
        self._target = 0
        self._due: set[str] | None = set()
        self._since: int | None = None
        self._alive = 0.0
        self._breaking: asyncio.TimerHandle | None = None
        self.up = asyncio.Event()
        self.losses = 0
        """How often something may have been missed."""
        self.on_up: Callable[[], None] = lambda: None
        self.on_down: Callable[[], None] = lambda: None

    def connect(self, hearer: Hearer) -> None:
        """Name who hears."""
        self._hearer = hearer

    def hear(self, channel: str, heard: Heard) -> None:
        """Listen to what is said on a channel."""
        self._channels[channel] = heard

    def expect(self, thread_id: str) -> None:
        """Hear of those who begin to listen to a thread."""
        self._expected[thread_id] = self._expected.get(thread_id, 0) + 1

    def expect_no_more(self, thread_id: str) -> None:
        """Take back one `expect`."""
        self._expected[thread_id] -= 1
        if not self._expected[thread_id]:
            del self._expected[thread_id]

    async def run(self) -> None:
        """Listen for ever, over one connection after the other."""
        delay = FIRST_DELAY
        while True:
            try:
                async with self._connect() as opened:
                    await self._listen(opened)
            except Exception as error:  # noqa: BLE001 - whatever it was: another connection is tried
                if self.up.is_set() or delay == FIRST_DELAY:
                    log.warning("does not hear of other processes from the database", error=first_line(error))
            delay = FIRST_DELAY if self.up.is_set() else min(2 * delay, LONGEST_DELAY)
            self._down()
            await asyncio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311 - processes shall not come all at once

    async def _listen(self, opened: Opened) -> None:
        await opened.connection.execute(sql.SQL("listen {}").format(sql.Identifier(opened.channel)))
        [(life, newest, now)] = await opened.ask("begin", process=self._process, above=self._clock.newest)
        self._clock.heard(now)
        self._begin(life, newest)
        self.up.set()
        self.on_up()
        self._hearer.up()
        while True:
            waiting = 0.0 if self._is_due() else PULSE
            async for notify in opened.connection.notifies(timeout=waiting, stop_after=1):
                self._take(notify.payload)
            self._alive = asyncio.get_running_loop().time()
            if self._is_due():
                await self._fetch(opened)

    def _begin(self, life: object, newest: int) -> None:
        """Go on from where the last connection ended, unless what was told since may be gone."""
        if self._breaking is not None:
            self._breaking.cancel()
            self._breaking = None
        late = asyncio.get_running_loop().time() > self._alive + BEHIND  # also if it was paused, so that no timer ran
        if late or life != self._life or not self._place:
            if self._life is not None:
                self._lose()
            self._life, self._place, self._due = life, newest, set()
        else:
            self._due = set(self._topics.threads())
        self._since = self._clock.now()
        self._target = newest
        self._clock.met(newest)

    def _down(self) -> None:
        if self.up.is_set():
            self.up.clear()
            self.on_down()
            self._breaking = asyncio.get_running_loop().call_later(BEHIND, self._lose)

    def _lose(self) -> None:
        """What was told since the last fetch is given up."""
        self._place = 0
        self.losses += 1
        self._hearer.lost()

    def _is_due(self) -> bool:
        return self._due is None or bool(self._due)

    # --- notifications ------------------------------------------------------------------------------------------------

    def _take(self, payload: str) -> None:
        try:
            match cast("list[object]", msgspec.json.decode(payload)):
                case ["told", int(upto), news]:
                    self._told(upto, self._concerned(news))
                case ["wanted", str(thread_id), int(kind)] if thread_id in self._expected:
                    self._hearer.wanted_by_others(thread_id, protocol=kind == 1)
                case ["say", str(channel), str(message)] if channel in self._channels:
                    self._channels[channel](message.encode())
                case _:
                    pass
        except Exception:
            log.exception("what was told cannot be understood")

    def _concerned(self, news: object) -> set[str] | None:
        """The threads listened to among those with news, as `Batch.news` names them."""
        if news is None:
            return None
        return {each[1:] for each in msgspec.convert(news, list[str]) if int(each[0]) & self._topics.of(each[1:])}

    def _told(self, upto: int, threads: set[str] | None) -> None:
        """There is news for threads; `None` if it does not say for which."""
        self._clock.met(upto)
        if not (threads is None or threads or self._is_due()):
            self._place = upto
            return
        self._target = max(self._target, upto)
        if not self._is_due():
            self._since = upto
        self._due = None if threads is None or self._due is None else self._due | threads

    # --- news ---------------------------------------------------------------------------------------------------------

    async def _fetch(self, opened: Opened) -> None:
        """Fetch a mouthful of what is due, and hand it over."""
        if self._since is not None and self._clock.now() - self._since > BEHIND * 1_000_000:
            self._lose()
            self._arrive()
            return
        threads = None if self._due is None else list(self._due)
        bounds = {"after": self._place, "upto": self._target, "most": MOST, "bytes": MOST_BYTES}
        rows = [Row(*row) for row in await opened.ask("fetch", threads=threads, **bounds)]
        if len(rows) < MOST and sum(len(row.data) for row in rows) < MOST_BYTES:
            self._arrive()
        else:
            self._place = self._since = rows[-1].seq
        for row in rows:
            self._hand(row)

    def _arrive(self) -> None:
        """All that was due is here."""
        self._place, self._due, self._since = self._target, set(), None

    def _hand(self, row: Row) -> None:
        if not bits(row.kind) & self._topics.of(row.thread_id):
            return
        try:
            if row.kind == GAP:
                for protocol in (None, False, True):
                    self._hearer.gap(Topic(row.thread_id, protocol))
            elif row.kind == ENDS:
                self._hearer.ended(unpack_end(row.data))
            else:
                self._hearer.frame(row.frame())
        except Exception:
            log.exception("what was told cannot be understood")
