"""Event log and signals within one process: producers on any thread, listeners on the API's event loop."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from turnkeeper.contracts import Frame, Signals
from turnkeeper.errors import Unavailable
from turnkeeper.types import Claimed, Ended

MAX_BUFFERED = 16 * 1024 * 1024
"""Bytes a listener may leave unread before it is dropped: a slow reader loses its stream, it never slows the run."""


class LocalSubscription:
    """Implements `contracts.Subscription`; used on the API's loop only."""

    def __init__(self, leave: Callable[["LocalSubscription"], None], *, frames: bool) -> None:
        self.frames = frames
        self.closed = False
        self._abandoned = False
        self._leave = leave
        self._buffer: list[Frame] = []
        self._buffered = 0
        self._end: Ended | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def ended(self) -> Ended | None:
        """See the contract."""
        return None if self._buffer else self._end

    async def batch(self, timeout: float) -> list[Frame]:
        """See the contract."""
        if self._abandoned and not (self._buffer or self._end):
            raise Unavailable("The server stops.")
        if not (self._buffer or self._end or self.closed):
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = loop.call_later(timeout, self._wake)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        taken, self._buffer, self._buffered = self._buffer, [], 0
        return taken

    def close(self) -> None:
        """See the contract."""
        self.closed = True
        self._leave(self)
        self._wake()

    def abandon(self) -> None:
        """The server stops: close it, and let nobody wait for more."""
        self._abandoned = True
        self.close()

    def push(self, frame: Frame) -> None:
        """Hand over one frame."""
        self._buffered += len(frame.data)
        if self._buffered > MAX_BUFFERED and self._buffer:  # one frame alone may be as big as it is
            self._buffer.clear()
            self.close()
        else:
            self._buffer.append(frame)
            self._wake()

    def finish(self, ended: Ended) -> None:
        """Hand over the end."""
        self._end = ended
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class LocalEventLog:
    """Implements `contracts.EventLog`."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listeners: dict[str, list[LocalSubscription]] = {}
        self._reading: dict[str, int] = {}
        self._outbox: deque[tuple[str, Frame | Ended]] = deque()
        self._scheduled = False

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Name the loop the listeners live on."""
        self._loop = loop

    def wanted(self, run_id: str) -> bool:
        """See the contract."""
        return run_id in self._reading

    def append(self, run_id: str, frame: Frame) -> None:
        """See the contract."""
        self._send(run_id, frame)

    def end(self, ended: Ended) -> None:
        """See the contract."""
        self._send(ended.run_id, ended)

    def subscribe(self, run_id: str, *, frames: bool) -> LocalSubscription:
        """See the contract."""
        subscription = LocalSubscription(lambda gone: self._leave(run_id, gone), frames=frames)
        self._listeners.setdefault(run_id, []).append(subscription)
        if frames:
            self._reading[run_id] = self._reading.get(run_id, 0) + 1
        return subscription

    def close(self) -> None:
        """The server stops: end every stream. Streams may be resumed, so none is told that its run has ended."""
        for listeners in tuple(self._listeners.values()):
            for listener in tuple(listeners):
                listener.abandon()

    def _leave(self, run_id: str, subscription: LocalSubscription) -> None:
        listeners = self._listeners.get(run_id, [])
        if subscription not in listeners:
            return
        listeners.remove(subscription)
        if not listeners:
            del self._listeners[run_id]
        if subscription.frames:
            self._reading[run_id] -= 1
            if not self._reading[run_id]:
                del self._reading[run_id]

    def _send(self, run_id: str, item: Frame | Ended) -> None:
        """Many items share one wake-up of the API's loop."""
        self._outbox.append((run_id, item))
        if not self._scheduled and self._loop is not None:
            self._scheduled = True
            self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._scheduled = False  # before draining: what is appended from here on schedules anew
        while self._outbox:
            run_id, item = self._outbox.popleft()
            for listener in tuple(self._listeners.get(run_id, ())):
                if isinstance(item, Ended):
                    listener.finish(item)
                elif listener.frames:
                    listener.push(item)


class LocalSignals:
    """Implements `contracts.Signals` for the worker of the same process, which connects itself."""

    def __init__(self) -> None:
        self._worker: Signals | None = None

    def connect(self, worker: Signals) -> None:
        """Name who listens; it is called from any thread."""
        self._worker = worker

    def reserve(self) -> bool:
        """See the contract."""
        return self._worker is not None and self._worker.reserve()

    def hand_over(self, claimed: Claimed | None) -> None:
        """See the contract."""
        if self._worker is not None:
            self._worker.hand_over(claimed)

    def wake(self) -> None:
        """See the contract."""
        if self._worker is not None:
            self._worker.wake()

    def cancel(self, run_ids: Sequence[str]) -> None:
        """See the contract."""
        if self._worker is not None and run_ids:
            self._worker.cancel(run_ids)
