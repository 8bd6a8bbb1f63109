"""What a process has to tell, on its way to Redis: many items per round trip, none twice, and never waited for."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence

import structlog
from redis.exceptions import RedisError

from turnkeeper.contracts import Frame, Told
from turnkeeper.stream.redis.link import Item, Link
from turnkeeper.stream.wire import number

log = structlog.get_logger()

PATIENCE = 2.0
"""Seconds a batch is tried again before what waits is given up."""

RETRY_AFTER = 0.05
GAPS_AFTER = 0.5
"""Seconds after which it is tried to say that something was given up."""

AT_ONCE = 256
AT_ONCE_BYTES = 1024 * 1024
NOTHING = ("", "", "", "", "")
MOST_WAITING = 32 * 1024 * 1024
"""Bytes that may wait. Above it frames that are not durable are dropped, and the durable go to the store alone."""


class Entry:
    """One item on its way, and what it is about."""

    __slots__ = ("item", "size", "told", "undone")

    def __init__(self, item: Item, told: Told | None = None, undone: str | None = None) -> None:
        """`told`: what a frame tells. `undone`: a run all of whose stored frames are to be removed."""
        self.item = item
        self.told = told
        self.undone = undone
        self.size = sum(len(part) for part in item)


class Writer:
    """Used on one event loop."""

    def __init__(self, link: Link, settled: Callable[[Sequence[Frame], Sequence[str]], None]) -> None:
        """`settled` is called with the durable frames that have their numbers now, and with runs that are undone."""
        self._link = link
        self._settled = settled
        self._waiting: deque[Entry] = deque()
        self._size = 0
        self._gaps: set[str] = set()
        self._sent = 0
        self._filled = asyncio.Event()
        self._up = True
        self._idle = asyncio.Event()
        self._idle.set()

    def put(self, entry: Entry) -> None:
        """Send an item after those before it."""
        if self._size > MOST_WAITING and entry.told is not None and not entry.told.durable:
            self._gaps.add(entry.told.thread_id)
            return
        self._waiting.append(entry)
        self._size += entry.size
        self._idle.clear()
        self._filled.set()

    async def run(self) -> None:
        """Send for ever."""
        while True:
            await self._filled.wait()
            self._filled.clear()
            while (self._waiting or self._gaps) and await self._send(self._take()):
                pass
            self._idle.set()

    async def flush(self, timeout: float) -> None:
        """Wait up to `timeout` seconds until nothing is on its way."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._idle.wait()

    def _take(self) -> list[Entry]:
        batch = [Entry(("gap", self._gaps.pop(), *NOTHING)) for _ in range(min(len(self._gaps), AT_ONCE))]
        size = 0
        while self._waiting and len(batch) < AT_ONCE and size < AT_ONCE_BYTES:
            entry = self._waiting.popleft()
            size += entry.size
            batch.append(entry)
        self._size -= size
        return batch

    async def _send(self, batch: list[Entry]) -> bool:
        """Send a batch, or give up; whether it got there."""
        loop = asyncio.get_running_loop()
        until = loop.time() + (PATIENCE if self._up else 0.0)
        self._sent += 1
        while True:
            try:
                numbers = await self._link.append([entry.item for entry in batch], self._sent)
            except (RedisError, OSError) as error:
                if loop.time() >= until or self._size > MOST_WAITING:
                    self._give_up(batch, error)
                    return False
                await asyncio.sleep(RETRY_AFTER)
            except asyncio.CancelledError:
                self._give_up(batch, "the server stops")
                raise
            else:
                self._up = True
                told = [each.told for each in batch if each.told is not None]
                self._settle(batch, _durable(told, [seq or self._link.next() for seq in numbers]))
                return True

    def _give_up(self, batch: list[Entry], why: object) -> None:
        """Redis gets neither this batch nor what waits behind it; durable frames are stored all the same."""
        if self._up:
            log.warning("what is told does not get to Redis", why=str(why))
        self._up = False
        lost = [*batch, *self._waiting]
        self._waiting.clear()
        self._size = 0
        self._gaps |= {str(each.item[1]) for each in lost if each.item[0] in ("frame", "end", "gap")}
        told = [each.told for each in lost if each.told is not None and each.told.durable]
        self._settle(lost, _durable(told, [self._link.next() for _ in told]))
        asyncio.get_running_loop().call_later(GAPS_AFTER, self._filled.set)

    def _settle(self, entries: Sequence[Entry], durable: Sequence[Frame]) -> None:
        try:
            self._settled(durable, [each.undone for each in entries if each.undone is not None])
        except Exception:
            log.exception("events of a stream could not be kept for later")


def _durable(told: Sequence[Told], numbers: Sequence[int]) -> list[Frame]:
    return [number(each, seq) for each, seq in zip(told, numbers, strict=True) if each.durable]
