"""What a process asks the database, many questions in one statement."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from turnkeeper.contracts import Feed
from turnkeeper.stream.postgres.batches import Row
from turnkeeper.stream.postgres.clock import DatabaseClock
from turnkeeper.stream.postgres.connections import Opened
from turnkeeper.stream.postgres.topics import ENDS
from turnkeeper.stream.way import Seen, Unreachable
from turnkeeper.stream.wire import unpack_end, without_values

AT_ONCE = 50
"""Questions in one statement: it keeps those who tell waiting."""

LARGEST = 2**63 - 1


class Look:
    """What is known of a feed after a number."""

    def __init__(self, feed: Feed, after: int, *, frames: bool) -> None:
        """Without `frames`, only how its run ended."""
        self.feed = feed
        self.after = min(max(after, 0), LARGEST)
        self.kind = int(feed.protocol) if frames else None
        self.answer: asyncio.Future[Seen] = asyncio.get_running_loop().create_future()

    def seen(self, cut: int, rows: Sequence[Row]) -> Seen:
        """The answer."""
        ends = [without_values(unpack_end(row.data)) for row in rows if row.kind == ENDS]
        return Seen(cut, [row.frame() for row in rows if row.kind != ENDS], ends[-1] if ends else None)


class Readers:
    """In which dialects anybody listens to a thread."""

    def __init__(self, thread_id: str) -> None:
        self.thread_id = thread_id
        self.answer: asyncio.Future[set[bool]] = asyncio.get_running_loop().create_future()


class Questions:
    """Those that wait for an answer."""

    def __init__(self, process: str, clock: DatabaseClock) -> None:
        self._process = process
        self._clock = clock
        self._looks: list[Look] = []
        self._readers: list[Readers] = []

    def __len__(self) -> int:
        return len(self._looks) + len(self._readers)

    def look(self, question: Look) -> asyncio.Future[Seen]:
        """Ask what is known of a feed."""
        self._looks.append(question)
        return question.answer

    def readers(self, question: Readers) -> asyncio.Future[set[bool]]:
        """Ask who listens to a thread."""
        self._readers.append(question)
        return question.answer

    def refuse(self) -> None:
        """Nobody can be asked: raise `Unreachable` where an answer is waited for."""
        for question in (*self._looks, *self._readers):
            _fail(question.answer)
        self._looks.clear()
        self._readers.clear()

    async def ask(self, opened: Opened) -> None:
        """Get the answers to some of them. Raises what the driver raises; they wait on then."""
        if looks := self._looks[:AT_ONCE]:
            await self._ask_looks(opened, looks)
            del self._looks[: len(looks)]
        if readers := self._readers[:AT_ONCE]:
            await self._ask_readers(opened, readers)
            del self._readers[: len(readers)]

    async def _ask_looks(self, opened: Opened, looks: Sequence[Look]) -> None:
        (_, cut, *_), *rows = await opened.ask(
            "look",
            process=self._process,
            above=self._clock.newest,
            threads=[each.feed.thread_id for each in looks],
            kinds=[each.kind for each in looks],
            runs=[each.feed.run_id or "" for each in looks],
            after=[each.after for each in looks],
        )
        self._clock.met(cut)
        found: dict[int, list[Row]] = defaultdict(list)
        for place, *row in rows:
            found[place].append(Row(*row))
        for place, look in enumerate(looks, 1):
            _answer(look.answer, look.seen(cut, found[place]))

    async def _ask_readers(self, opened: Opened, readers: Sequence[Readers]) -> None:
        rows = await opened.ask("ask", threads=[each.thread_id for each in readers])
        for question in readers:
            _answer(question.answer, {kind == 1 for thread_id, kind in rows if thread_id == question.thread_id})


def _answer(future: asyncio.Future[Any], answer: object) -> None:
    if not future.done():  # who asked may have been cancelled
        future.set_result(answer)


def _fail(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_exception(Unreachable())
