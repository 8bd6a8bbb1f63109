"""What the event log and the signals of a process share: its way to Redis and back."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Sequence

from turnkeeper.contracts import Frame
from turnkeeper.stream.redis.link import ANSWER, Link
from turnkeeper.stream.redis.reader import Reader
from turnkeeper.stream.redis.writer import NOTHING, Entry, Writer
from turnkeeper.stream.tapes import RETENTION
from turnkeeper.types import Clock

PREFIX = "turnkeeper:"

CANCELLED_WITHIN = 0.1
"""Seconds after which a task that was cancelled is cancelled again."""

Settled = Callable[[Sequence[Frame], Sequence[str]], None]


class Bus:
    """One process on one Redis. Begins and ends on the API's loop, to which all of it belongs."""

    def __init__(
        self, uri: str, *, prefix: str = PREFIX, retention: float = RETENTION, clock: Clock = time.time
    ) -> None:
        """`prefix`: of all keys and channels, so that deployments may share one Redis.

        `retention`: seconds what a run told is kept after its end. Raises `ValueError` for a bad `uri`.
        """
        self.name = secrets.token_hex(8)
        """What tells this process from the others."""
        self.retention = retention
        self.link = Link(uri, prefix, self.name, retention=retention, clock=clock)
        self.writer = Writer(self.link, self._settle)
        self.reader = Reader(prefix, self.link.connection, on_up=self._came, on_down=self._went)
        self._settled: Settled = lambda _frames, _runs: None
        self._watching: list[tuple[Callable[[], None], Callable[[], None]]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def watch(self, *, on_up: Callable[[], None], on_down: Callable[[], None]) -> None:
        """Be called when the connection is there (again), and when it was lost."""
        self._watching.append((on_up, on_down))

    def on_settled(self, settled: Settled) -> None:
        """Name who gets the durable frames with their numbers, and the runs whose frames are not to be kept."""
        self._settled = settled

    def call(self, job: Callable[[], None]) -> None:
        """Do something on the bus's loop; nothing before `start` and after the loop's end. From any thread."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # closed
                self._loop.call_soon_threadsafe(job)

    def say(self, channel: str, message: str | bytes) -> None:
        """Tell something on a channel. On the bus's loop."""
        self.writer.put(Entry(("say", channel, message, *NOTHING[1:])))

    def hear(self, channel: str, heard: Callable[[bytes], None]) -> None:
        """Listen to what is said on a channel. On the bus's loop."""
        self.reader.hold(channel, heard)

    async def start(self) -> None:
        """Connect. A Redis that is not there now is waited for a second, and then in the background."""
        self._loop = asyncio.get_running_loop()
        self._tasks = [asyncio.create_task(self.reader.run()), asyncio.create_task(self.writer.run())]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER):
                await self.reader.up.wait()

    async def stop(self) -> None:
        """Tell what waits, if that takes no longer than a second, and let go of all connections."""
        await self.writer.flush(ANSWER)
        self.reader.end()
        left = set(self._tasks)
        while left:  # not once: the driver's waits for the socket may swallow a cancellation
            for task in left:
                task.cancel()
            _, left = await asyncio.wait(left, timeout=CANCELLED_WITHIN)
        await self.link.close()

    def _settle(self, frames: Sequence[Frame], runs: Sequence[str]) -> None:
        self._settled(frames, runs)

    def _came(self) -> None:
        for on_up, _ in self._watching:
            on_up()

    def _went(self) -> None:
        for _, on_down in self._watching:
            on_down()
