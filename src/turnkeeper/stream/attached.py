"""One listener in a process of many: attached once the others know of it. Used on the API's loop only."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import cast

from turnkeeper.contracts import Frame
from turnkeeper.stream.replay import Replay
from turnkeeper.stream.subscription import LocalSubscription
from turnkeeper.types import Ended

ANSWER = 1.0
"""Seconds a listener that has to be known to other processes waits until it is."""


class AttachedSubscription(LocalSubscription):
    """Implements `contracts.Subscription`. What is told while it is attached waits until its past is known."""

    def __init__(
        self,
        leave: Callable[["AttachedSubscription"], None],
        thread_id: str,
        *,
        frames: bool,
        since: int,
        protocol: bool = False,
        resumed: bool = False,
        is_up: Callable[[], bool],
    ) -> None:
        """`resumed`: it begins with what is stored. `is_up` tells whether other processes can be heard."""
        super().__init__(
            lambda gone: leave(cast("AttachedSubscription", gone)), frames=frames, since=since, protocol=protocol
        )
        self.thread_id = thread_id
        self._is_up = is_up
        self._resumed = resumed
        self.released = False
        """Whether it has left for good; it may be closed several times."""
        self._cut = 0
        self._attached = asyncio.Event()
        self._offline = False
        self._unheard = False
        """Whether runs may have told something while nobody knew that it listens."""

    @property
    def ended(self) -> Ended | None:
        """See the contract."""
        if self._unheard or (self.frames and not self._attached.is_set()):
            return None
        return super().ended

    @property
    def attached(self) -> bool:
        """Whether it would hear of everything told now."""
        return self._attached.is_set()

    @property
    def finished(self) -> bool:
        """Whether its run is known to have ended, although it may not have read everything."""
        return self._end is not None

    async def ready(self) -> None:
        """See the contract. Who cannot be reached is not waited for: what is known there is looked for later."""
        if self._is_up():
            await self._attached_within(ANSWER)
        self._unheard = self.frames and not self._resumed and not self._attached.is_set()

    async def batch(self, timeout: float) -> list[Frame]:
        """See the contract."""
        self._read = True
        until = asyncio.get_running_loop().time() + timeout
        if self.frames and not self._attached.is_set() and not self.closed:
            await self._attached_within(timeout)
            if not self._attached.is_set():
                return []
        frames = await super().batch(max(0.0, until - asyncio.get_running_loop().time()))
        if self._replay is None and self._breaks_off:
            self.close()
        return frames

    @property
    def _breaks_off(self) -> bool:
        """Whether what it has heard may not be all: who reads has to come back, when all that is known is stored."""
        if self._end is None:
            return self._offline
        return self._unheard

    def attach(self, cut: int, *, replay: Replay | None = None, recent: Sequence[Frame] = ()) -> None:
        """Begin with `recent` or a replay, both up to `cut`, and go on with what was told after it."""
        self._cut = cut
        self._replay = replay
        self._buffer = [*recent, *(frame for frame in self._buffer if frame.seq > cut)]
        self._buffered = sum(len(frame.data) for frame in self._buffer)
        self._attached.set()
        self._wake()

    def attach_offline(self, replay: Replay | None) -> None:
        """Read what is stored, then close, unless that is all there is: nothing else can be heard of."""
        self._offline = self.frames
        self.attach(0, replay=replay)

    def push(self, frame: Frame) -> None:
        """Hand over one frame, unless the past has it."""
        if frame.seq > self._cut:
            super().push(frame)

    def close(self) -> None:
        """See the contract."""
        super().close()
        self._attached.set()

    def poke(self) -> None:
        """Something may have been missed: let whoever waits for the end look for it elsewhere."""
        self._wake()

    async def _attached_within(self, timeout: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._attached.wait()
