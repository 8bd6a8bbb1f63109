"""One listener of a thread in a process of many: it hears of one run after the other, and of the end of each."""

from collections.abc import Callable

from turnkeeper.contracts import Frame
from turnkeeper.stream.attached import AttachedSubscription
from turnkeeper.stream.ends import end_told, is_end
from turnkeeper.stream.wire import number
from turnkeeper.types import Ended


class Follower(AttachedSubscription):
    """Implements `contracts.Subscription`."""

    def __init__(
        self,
        leave: Callable[[AttachedSubscription], None],
        thread_id: str,
        *,
        since: int,
        protocol: bool,
        is_up: Callable[[], bool],
    ) -> None:
        """As for `AttachedSubscription`."""
        super().__init__(leave, thread_id, frames=True, since=since, protocol=protocol, is_up=is_up)
        self._newest = since
        self._going: str | None = None

    @property
    def going(self) -> str | None:
        """See the contract."""
        return self._going

    async def batch(self, timeout: float) -> list[Frame]:
        """See the contract."""
        frames = await super().batch(timeout)
        for frame in reversed(frames):
            self._newest = max(self._newest, frame.seq)
            if frame.run_id:
                self._going = None if is_end(frame) else frame.run_id
                break
        return frames

    def finish(self, ended: Ended) -> None:
        """See the contract."""
        coming = [frame for frame in self._buffer if frame.run_id == ended.run_id]
        if self._going == ended.run_id and not any(map(is_end, coming)):
            seq = max(self._newest, self._cut, *(frame.seq for frame in self._buffer)) + 1
            told = end_told(ended, durable=False, protocol=False)
            self.push(number(told[self.protocol], seq))
