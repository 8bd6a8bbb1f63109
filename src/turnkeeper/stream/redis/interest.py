"""Whether anybody, in whichever process, listens to the runs this process executes.

Redis knows: a process that listens to a thread is subscribed to its channel. It is asked once per run, and says so when
somebody joins later. Until it has answered, a run tells: who listened before it began misses nothing.
"""

import asyncio
import time
from functools import partial

from redis.exceptions import RedisError

from turnkeeper.stream.redis.bus import Bus
from turnkeeper.stream.redis.wire import told_channel, wanted_channel

FORGOTTEN = 120.0
"""Seconds without a question after which a run is taken for one that does not tell any more."""

DIALECTS = (False, True)


class _Run:
    __slots__ = ("asked", "dialects", "sure", "thread_id")

    def __init__(self, thread_id: str) -> None:
        self.thread_id = thread_id
        self.dialects: set[bool] = set()
        self.sure = False
        self.asked = time.monotonic()

    def wants(self, *, protocol: bool) -> bool:
        """Whether somebody listens, as far as is known. Who did once may come back, up to the run's end."""
        return not self.sure or protocol in self.dialects


class Interest:
    """`wanted` and `guess` may be asked from any thread, the rest belongs to the bus's loop."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._runs: dict[str, _Run] = {}
        self._of_thread: dict[str, set[str]] = {}
        self._asking: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        bus.watch(on_up=self._ask_again, on_down=lambda: None)

    def wanted(self, thread_id: str, run_id: str, *, protocol: bool) -> bool:
        """Whether anybody would read what a run tells in a dialect."""
        run = self._runs.get(run_id)
        if run is None:
            if run_id not in self._asking:
                self._asking.add(run_id)
                self._bus.call(partial(self._begin, thread_id, run_id))
            return True
        run.asked = time.monotonic()
        return run.wants(protocol=protocol)

    def guess(self, run_id: str, *, protocol: bool) -> bool:
        """The same of a run that is about to end."""
        run = self._runs.get(run_id)
        return run is None or run.wants(protocol=protocol)

    def end(self, run_id: str) -> None:
        """A run tells no more."""
        run = self._runs.pop(run_id, None)
        self._asking.discard(run_id)
        if run is None:
            return
        self._bus.reader.release(wanted_channel(run.thread_id))
        others = self._of_thread[run.thread_id]
        others.discard(run_id)
        if not others:
            del self._of_thread[run.thread_id]

    def forget_silent(self) -> None:
        """End what has not asked for long: its end was told by another process, or nobody."""
        before = time.monotonic() - FORGOTTEN
        for run_id in [run_id for run_id, run in self._runs.items() if run.asked < before]:
            self.end(run_id)

    def stop(self) -> None:
        """Ask nothing any more."""
        for task in self._tasks:
            task.cancel()

    def _begin(self, thread_id: str, run_id: str) -> None:
        self._asking.discard(run_id)
        if run_id not in self._runs:
            self._runs[run_id] = _Run(thread_id)
            self._of_thread.setdefault(thread_id, set()).add(run_id)
            self._bus.reader.hold(wanted_channel(thread_id), partial(self._joined, thread_id))
            self._ask(self._runs[run_id])

    def _joined(self, thread_id: str, message: bytes) -> None:
        for run_id in self._of_thread.get(thread_id, ()):
            self._runs[run_id].dialects.add(message == b"1")

    def _ask_again(self) -> None:
        self.forget_silent()
        for run in self._runs.values():
            run.sure = False
            self._ask(run)

    def _ask(self, run: _Run) -> None:
        task = asyncio.get_running_loop().create_task(self._look(run))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look(self, run: _Run) -> None:
        """Ask once it would be heard if somebody joined; if Redis fails, ask again when it is back."""
        await self._bus.reader.opened([wanted_channel(run.thread_id)])
        try:
            counts = await self._bus.link.listeners([told_channel(run.thread_id, protocol=each) for each in DIALECTS])
        except (RedisError, OSError):
            return
        run.dialects |= {dialect for dialect, count in zip(DIALECTS, counts, strict=True) if count}
        run.sure = True
