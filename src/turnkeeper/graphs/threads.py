"""Threads for sync nodes, which know whose they are: a run has not stopped while one of its nodes still runs."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")

MOST_THREADS = 1000
"""Sync nodes at once. Threads are made when needed; so many that stuck ones do not starve the rest."""

_mine: ContextVar["set[Future[Any]] | None"] = ContextVar("mine", default=None)


class NodeThreads(ThreadPoolExecutor):
    """The default executor of a loop that runs graphs."""

    def __init__(self, name: str) -> None:
        super().__init__(MOST_THREADS, thread_name_prefix=name)

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run `fn` in a thread, noted for the run on whose behalf it is called."""
        future = super().submit(fn, *args, **kwargs)
        mine = _mine.get()
        if mine is not None:
            mine.add(future)
            future.add_done_callback(mine.discard)
        return future


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
