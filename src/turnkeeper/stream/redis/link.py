"""Commands to Redis, and the one clock of all processes: that of Redis."""

import math
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from typing import Any, NamedTuple, cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as LostError
from redis.exceptions import RedisError

from turnkeeper.contracts import Feed
from turnkeeper.stream.tapes import LONGEST
from turnkeeper.types import Clock

ANSWER = 1.0
"""Seconds Redis has to answer; what it has not begun by then, it does not do any more."""

GOING = 3600
"""Seconds a thread's stream lasts after its newest frame while a run goes on."""

CONNECTIONS = 16
LARGEST = 2**63 - 1

Item = tuple[str | bytes, str | bytes, str | bytes, str | bytes, str | bytes, str | bytes, str | bytes]
"""One item of a batch, see append.lua."""


class LateError(RedisError):
    """Redis came to a batch when it was too late, and did nothing."""


class Seen(NamedTuple):
    """What is known of a thread at one moment."""

    cut: int
    """All frames told later have a greater `seq`."""
    entries: Sequence[tuple[bytes, Sequence[bytes]]]
    ended: bytes | None


class Link:
    """Connections to one Redis, used on one event loop. Every command raises `RedisError` or `OSError`."""

    def __init__(self, uri: str, prefix: str, process: str, *, retention: float, clock: Clock) -> None:
        """`process`: a name no other has. `retention`: seconds what a run told is kept after its end.

        Raises `ValueError` for a bad `uri`.
        """
        options: dict[str, Any] = {
            "protocol": 2,
            "socket_timeout": ANSWER,
            "socket_connect_timeout": ANSWER,
            "retry": Retry(NoBackoff(), 0),
            "decode_responses": False,
        }
        self._pool = BlockingConnectionPool.from_url(uri, max_connections=CONNECTIONS, timeout=ANSWER, **options)
        self._redis = Redis(connection_pool=self._pool)
        self._append = self._redis.register_script(_script("append"))
        self._look = self._redis.register_script(_script("look"))
        self._retention = max(1, math.ceil(retention))
        self._clock = clock
        self._ahead: float | None = None
        self._process = process
        self.prefix = prefix
        self.newest = 0
        """The greatest `seq` this process knows of."""

    def connection(self) -> AbstractConnection:
        """A connection outside the pool, not opened yet."""
        return self._pool.connection_class(**self._pool.connection_kwargs)

    def now(self) -> int:
        """The time at Redis in microseconds, not above it; as far as it was never heard of, this machine's."""
        if self._ahead is None:
            return int(self._clock() * 1_000_000)
        return int(time.monotonic() * 1_000_000 + self._ahead)

    def next(self) -> int:
        """A `seq` for what Redis could not give one."""
        self.newest = max(self.newest + 1, self.now())
        return self.newest

    async def append(self, items: Sequence[Item], batch: int) -> list[int]:
        """Carry out items; the numbers of the frames among them, 0 where it is not known any more.

        `batch` counts what this process sends: it is safe to send one again that may have arrived.
        """
        deadline = 0 if self._ahead is None else self.now() + int(ANSWER * 1_000_000)
        head = [self.prefix, deadline, self.newest, batch, GOING, self._retention, LONGEST]
        keys = [f"{self.prefix}clock", f"{self.prefix}batch:{self._process}"]
        with _translated():
            done, now, *rest = await self._append(keys, [*head, *(part for item in items for part in item)])
        self._ahead = now - time.monotonic() * 1_000_000
        if not done:
            raise LateError("Redis came to it too late.")
        numbers = cast("list[int]", rest[0])
        self.newest = max(self.newest, *numbers) if numbers else self.newest
        return numbers

    async def look(self, feed: Feed, after: int, *, frames: bool) -> Seen:
        """What is known of a feed's thread after a `seq`; whoever executes its runs hears that somebody listens.

        Without `frames`, only how its run ended.
        """
        begin, dialect = min(max(after, 0), LARGEST), str(int(feed.protocol)) if frames else ""
        args = [self.prefix, self.newest, feed.thread_id, begin, dialect, feed.run_id or ""]
        with _translated():
            now, cut, entries, ended = await self._look([f"{self.prefix}clock"], args)
        self._ahead = now - time.monotonic() * 1_000_000
        self.newest = max(self.newest, cut)
        return Seen(cut, entries, ended)

    async def listeners(self, channels: Sequence[str]) -> list[int]:
        """How many processes listen to each channel."""
        with _translated():
            found = await self._redis.pubsub_numsub(*(self.prefix + each for each in channels))
        return [count for _, count in found]

    async def close(self) -> None:
        """Let go of all connections."""
        await self._redis.aclose()
        await self._pool.disconnect()


@contextmanager
def _translated() -> Generator[None]:
    """The event loop's own error for a connection that was closed a moment ago, which the driver lets through."""
    try:
        yield
    except RuntimeError as error:
        raise LostError(str(error)) from error


def _script(name: str) -> str:
    return files("turnkeeper.stream.redis").joinpath(f"{name}.lua").read_text()
