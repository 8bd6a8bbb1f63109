"""Threads for sync nodes, which know whose they are: a run has not stopped while one of its nodes still runs."""

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")

MOST_THREADS = 1000
"""Sync nodes at once. Threads are made when needed; so many that stuck ones do not starve the rest."""

_mine: ContextVar["set[Future[Any]] | None"] = ContextVar("mine", default=None)


class NodeThreads(ThreadPoolExecutor):
    """The default executor of a loop that runs graphs.

    Its threads are its own, not those of its base class, which asyncio wants it to be: a process waits for those
    before it ends, however long a node is stuck in one.
    """

    def __init__(self, name: str) -> None:
        super().__init__(1)
        self._name = name
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
        self._free = 0
        self._made = 0
        self._counting = threading.Lock()

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run `fn` in a thread, noted for the run on whose behalf it is called."""
        future: Future[T] = Future()
        mine = _mine.get()
        if mine is not None:
            mine.add(future)
            future.add_done_callback(mine.discard)
        self._calls.put((future, lambda: fn(*args, **kwargs)))
        self._provide()
        return future

    def _provide(self) -> None:
        """See to it that a thread takes the call."""
        with self._counting:
            if self._free > 0:
                self._free -= 1
                return
            if self._made == MOST_THREADS:
                self._free -= 1  # the next that is free takes it
                return
            self._made += 1
            name = f"{self._name}-{self._made}"
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def _work(self) -> None:
        while True:
            future, call = self._calls.get()
            _carry_out(future, call)
            del future, call
            with self._counting:
                self._free += 1


def _carry_out(future: Future[Any], call: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - whatever a node raises belongs to its run
        future.set_exception(error)
    else:
        future.set_result(result)


def note_threads() -> set[Future[Any]]:
    """From here on, what the current task and its children run in threads is in the set while it runs."""
    mine: set[Future[Any]] = set()
    _mine.set(mine)
    return mine


async def all_ended(threads: set[Future[Any]], deadline: asyncio.Future[None]) -> bool:
    """Wait until no thread is left, or until the deadline; returns whether none is left."""
    while threads and not deadline.done():
        waits = [asyncio.wrap_future(each) for each in tuple(threads)]
        await asyncio.wait({*waits, deadline}, return_when=asyncio.FIRST_COMPLETED)
        for each in waits:
            each.add_done_callback(_forget)
    return not threads


def _forget(ended: "asyncio.Future[Any]") -> None:
    """Take the result, so that nobody warns of an exception that was not asked for."""
    if not ended.cancelled():
        ended.exception()
