"""One listener of a run or of a thread: first what it missed, then what comes. Used on the API's loop only."""

import asyncio
from collections.abc import Callable

from turnkeeper.contracts import Frame
from turnkeeper.errors import Unavailable
from turnkeeper.stream.replay import Replay
from turnkeeper.types import Ended

MAX_BUFFERED = 16 * 1024 * 1024
"""Bytes a listener may leave unread before it is dropped: a slow reader loses its stream, it never slows the run."""


class LocalSubscription:
    """Implements `contracts.Subscription`."""

    def __init__(
        self,
        leave: Callable[["LocalSubscription"], None],
        *,
        frames: bool,
        since: int,
        protocol: bool = False,
        replay: Replay | None = None,
    ) -> None:
        self.frames = frames
        self.protocol = protocol
        self.since = since
        self.closed = False
        self._abandoned = False
        self._read = False
        self._leave = leave
        self._replay = replay
        self._buffer: list[Frame] = []
        self._buffered = 0
        self._end: Ended | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def ended(self) -> Ended | None:
        """See the contract."""
        return None if self._buffer or self._replay is not None else self._end

    @property
    def going(self) -> str | None:
        """See the contract. Here whoever ends a run tells it, or nobody is left to hear it."""
        return None

    @property
    def may_return(self) -> bool:
        """Whether somebody read and left before the end."""
        return self._read and self._end is None and not self._abandoned

    async def ready(self) -> None:
        """See the contract."""

    async def batch(self, timeout: float) -> list[Frame]:
        """See the contract."""
        self._read = True
        if self._replay is not None and not self.closed:
            missed = await self._missed(self._replay)
            if missed:
                return missed
        if self._abandoned and not (self._buffer or self._end):
            raise Unavailable("The server stops.")
        if not (self._buffer or self._end or self.closed):
            await self._wait(timeout)
        taken, self._buffer, self._buffered = self._buffer, [], 0
        return taken

    async def _missed(self, replay: Replay) -> list[Frame]:
        page = await replay.page()
        if replay.done:
            self._replay = None
        return page

    async def _wait(self, timeout: float) -> None:
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_later(timeout, self._wake)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

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
        if self._buffered >= MAX_BUFFERED:  # asked before it is added: one frame may be as big as it is
            self._buffer.clear()
            self.close()
        else:
            self._buffer.append(frame)
            self._buffered += len(frame.data)
            self._wake()

    def finish(self, ended: Ended) -> None:
        """See the contract."""
        if not self.closed:  # one that was dropped has not heard all, so it is not at the end
            self._end = ended
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
