"""An event loop on a thread of its own for the user's code: a node that blocks it delays graphs, never the API."""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

import structlog

from turnkeeper.graphs.threads import NodeThreads

T = TypeVar("T")

log = structlog.get_logger()


class LoopThread:
    """Runs coroutines on its own loop; sync nodes get threads of a pool that starves nobody."""

    def __init__(self, name: str) -> None:
        self._loop = _new_loop()
        self._loop.set_default_executor(NodeThreads(f"{name}-node"))
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._stopped = False

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start `work` on the loop, from any thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` on the loop and wait for it on the caller's. Cancelling the caller cancels the work."""
        return await asyncio.wrap_future(self.submit(work))

    def stop(self) -> None:
        """End the loop; what still runs on it is left behind."""
        self._stopped = True
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=1)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        while not self._stopped:
            try:
                self._loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as error:
                # A node asked the process to end. It fails its own run; the loop goes on for the others.
                log.warning("a node raised %s; its run fails, the server goes on", type(error).__name__)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
