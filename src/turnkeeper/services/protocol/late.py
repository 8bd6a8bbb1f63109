"""Opening the stream of a thread in the middle of things: what happened before somebody listened is told all the same.

Runs made by other routes tell the protocol's events only while somebody listens, so what is stored may begin in their
middle, or be nothing. Clients take a run for running once they hear so, and a question for asked once it is requested.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from turnkeeper.codec import encode
from turnkeeper.contracts import Frame, Subscription
from turnkeeper.types import Ended

LIFECYCLE = "lifecycle"
INPUT_REQUESTED = "input.requested"


class _Said(msgspec.Struct):
    """What is read of an event's data here."""

    event: str | None = None
    interrupt_id: str | None = None


def root_event(frame: Frame) -> str | None:
    """What a lifecycle event says of the run as a whole; `None` for every other event."""
    return _said(frame).event if frame.event == LIFECYCLE and not frame.namespace else None


def interrupt_id(frame: Frame) -> str | None:
    """The interrupt an event asks an answer for, if it does."""
    return _said(frame).interrupt_id if frame.event == INPUT_REQUESTED else None


def _said(frame: Frame) -> _Said:
    try:
        return msgspec.json.decode(frame.data, type=_Said)
    except msgspec.MsgspecError:
        return _Said()


def running(thread_id: str, run_id: str, graph_name: str) -> Frame:
    """That a run runs, as it would have been told."""
    data = msgspec.json.encode({"event": "running", "graph_name": graph_name})
    return Frame(0, thread_id, run_id, LIFECYCLE, data, protocol=True)


def requested(thread_id: str, run_id: str, asked: Mapping[str, Any]) -> Frame:
    """That an answer is waited for, as it would have been told. Clients read the value under either name."""
    value = asked.get("value")
    data = encode({"interrupt_id": asked.get("id"), "payload": value, "value": value})
    return Frame(0, thread_id, run_id, INPUT_REQUESTED, data, protocol=True)


class Standing:
    """How things stand with a thread, less what a listener has been told of it."""

    def __init__(self, running: Frame | None = None, asked: Iterable[Frame] = ()) -> None:
        self.made: list[Frame] = []
        """What was told in addition."""
        self._running = running
        self._told = False
        self._asked = {interrupt_id(frame): frame for frame in asked}

    def complete(self, frames: Sequence[Frame]) -> list[Frame]:
        """Events in their order, and before the first of the running run that it runs."""
        if self._running is None and not self._asked:
            return list(frames)
        return [each for frame in frames for each in self._completed(frame)]

    def rest(self, seq: int) -> list[Frame]:
        """What the past did not tell, as of `seq`, at the end of that past."""
        asked, self._asked = self._asked, {}
        return [*self._run_told(seq), *(self._make(frame, seq) for frame in asked.values())]

    def _completed(self, frame: Frame) -> Iterator[Frame]:
        if self._running is not None and frame.run_id == self._running.run_id:
            if root_event(frame) == "running":
                repeated, self._told = self._told, True
                if repeated:
                    return
            yield from self._run_told(frame.seq - 1)
        if self._asked:
            self._asked.pop(interrupt_id(frame), None)
        yield frame

    def _run_told(self, seq: int) -> Iterator[Frame]:
        if self._running is not None and not self._told:
            self._told = True
            yield self._make(self._running, seq)

    def _make(self, frame: Frame, seq: int) -> Frame:
        made = msgspec.structs.replace(frame, seq=seq)
        self.made.append(made)
        return made


class LateListener:
    """A thread's past, completed, and what comes then. Implements `contracts.Subscription`."""

    def __init__(self, feed: Subscription, look: Callable[[], Awaitable[Standing]]) -> None:
        """`look` tells how things stand; it is asked once `feed` listens, so that nothing falls in between."""
        self._feed = feed
        self._look = look
        self._standing: Standing | None = None
        self.caught_up = False
        """Whether the past has been told, so that all that follows is news."""

    @property
    def since(self) -> int:
        """See the contract."""
        return self._feed.since

    def made(self, frame: Frame) -> bool:
        """Whether an event is told only because this listener came late."""
        return self._standing is not None and any(frame is each for each in self._standing.made)

    @property
    def ended(self) -> Ended | None:
        """See the contract."""
        return self._feed.ended

    @property
    def going(self) -> str | None:
        """See the contract."""
        return self._feed.going

    @property
    def closed(self) -> bool:
        """See the contract."""
        return self._feed.closed

    async def ready(self) -> None:
        """See the contract."""
        await self._feed.ready()

    async def batch(self, timeout: float) -> list[Frame]:
        """See the contract. While the past is told it does not wait, and may return nothing."""
        if self._standing is None:
            await self._feed.ready()
            self._standing = await self._look()
        if self.closed:
            return []
        if self.caught_up:
            return self._standing.complete(await self._feed.batch(timeout))
        frames = await self._feed.batch(0)
        past = [frame for frame in frames if frame.seq <= self.since]
        told = self._standing.complete(past)
        if not past or len(past) < len(frames):
            self.caught_up = True
            told += self._standing.rest(self.since)
            told += self._standing.complete(frames[len(past) :])
        return told

    def finish(self, ended: Ended) -> None:
        """See the contract."""
        self._feed.finish(ended)

    def close(self) -> None:
        """See the contract."""
        self._feed.close()
