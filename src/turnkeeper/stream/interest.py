"""Whether anybody, in whichever process, listens to the runs this process executes.

It is asked once per run, and says so when somebody joins later. Until it has been answered, what a run tells is held
back: who listened before it began misses nothing, and nothing is told to nobody.
"""

import asyncio
import contextlib
import time
from functools import partial

from turnkeeper.contracts import Told
from turnkeeper.stream.way import Unreachable, Way

MOST_HELD = 256
"""What a run tells before it is known whether anybody listens, at the most."""

FORGOTTEN = 120.0
"""Seconds without a question after which a run is taken for one that does not tell any more."""


class _Run:
    __slots__ = ("asked", "dialects", "held", "sure", "thread_id")

    def __init__(self, thread_id: str) -> None:
        self.thread_id = thread_id
        self.dialects: set[bool] = set()
        self.sure = False
        self.held: list[Told] = []
        self.asked = time.monotonic()

    def wants(self, *, protocol: bool) -> bool:
        """Whether somebody listens, as far as is known. Who did once may come back, up to the run's end."""
        return not self.sure or protocol in self.dialects


class Interest:
    """`wanted` and `guess` may be asked from any thread, the rest belongs to the way's loop."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._runs: dict[str, _Run] = {}
        self._of_thread: dict[str, set[str]] = {}
        self._asking: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def wanted(self, thread_id: str, run_id: str, *, protocol: bool) -> bool:
        """Whether anybody would read what a run tells in a dialect."""
        run = self._runs.get(run_id)
        if run is None:
            if run_id not in self._asking:
                self._asking.add(run_id)
                self._way.call(partial(self._begin, thread_id, run_id))
            return True
        run.asked = time.monotonic()
        return run.wants(protocol=protocol)

    def guess(self, run_id: str, *, protocol: bool) -> bool:
        """The same of a run that is about to end."""
        run = self._runs.get(run_id)
        return run is None or run.wants(protocol=protocol)

    def hold(self, told: Told) -> bool:
        """Whether something is held back; it is told once it is known that somebody listens, or cannot be known."""
        run = self._runs.get(told.run_id)
        if run is None or told.durable or run.sure:
            return False
        if not self._way.is_up or len(run.held) == MOST_HELD:
            self.let_go(told.run_id)
            return False
        run.held.append(told)
        return True

    def let_go(self, run_id: str) -> None:
        """Tell what is held back of a run, as far as it is known that somebody listens, or not known yet."""
        if (run := self._runs.get(run_id)) is not None:
            held, run.held = run.held, []
            for told in held:
                if run.wants(protocol=told.protocol):
                    self._way.tell(told)

    def let_all_go(self) -> None:
        """Nothing can be known now."""
        for run_id in self._runs:
            self.let_go(run_id)

    def end(self, run_id: str) -> None:
        """A run tells no more."""
        run = self._runs.pop(run_id, None)
        self._asking.discard(run_id)
        if run is None:
            return
        self._way.expect_no_more(run.thread_id)
        others = self._of_thread[run.thread_id]
        others.discard(run_id)
        if not others:
            del self._of_thread[run.thread_id]

    def joined(self, thread_id: str, *, protocol: bool) -> None:
        """Somebody begins to listen to a thread."""
        for run_id in self._of_thread.get(thread_id, ()):
            self._runs[run_id].dialects.add(protocol)

    def forget_silent(self) -> None:
        """End what has not asked for long: its end was told by another process, or nobody."""
        before = time.monotonic() - FORGOTTEN
        for run_id in [run_id for run_id, run in self._runs.items() if run.asked < before]:
            self.end(run_id)

    def ask_again(self) -> None:
        """Some may have joined unheard."""
        self.forget_silent()
        for run_id, run in self._runs.items():
            run.sure = False
            self._ask(run_id, run)

    def stop(self) -> None:
        """Ask nothing any more."""
        for task in self._tasks:
            task.cancel()

    def _begin(self, thread_id: str, run_id: str) -> None:
        self._asking.discard(run_id)
        if run_id not in self._runs:
            self._runs[run_id] = _Run(thread_id)
            self._of_thread.setdefault(thread_id, set()).add(run_id)
            self._way.expect(thread_id)
            self._ask(run_id, self._runs[run_id])

    def _ask(self, run_id: str, run: _Run) -> None:
        task = asyncio.get_running_loop().create_task(self._look(run_id, run))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look(self, run_id: str, run: _Run) -> None:
        """Ask; if nobody can be reached, it is asked again when that is over."""
        with contextlib.suppress(Unreachable):
            run.dialects |= await self._way.readers(run.thread_id)
            run.sure = True
        self.let_go(run_id)
