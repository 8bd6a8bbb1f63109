"""Frames of runs that are not durable, kept for a while for listeners whose connection broke."""

import asyncio
from collections import deque
from collections.abc import Iterator

import msgspec

from turnkeeper.contracts import Feed, Frame

LONGEST = 1024 * 1024
"""Bytes kept of one run; older frames go first."""

MOST = 64 * 1024 * 1024
"""Bytes kept in all; above it the tapes of runs that have ended go first, the oldest before the others."""

FRAME = 512
"""Bytes a frame takes besides its data."""

FIRST = 1
"""No event has so low a place: who names none wants what there is, and misses nothing it was promised."""

GAP = msgspec.json.encode(
    {
        "error": "EventsLost",
        "message": "More was told meanwhile than is kept of a run without stream_resumable. The run goes on.",
    }
)
"""What a listener is told that resumes after an event whose successors are no longer there."""

RETENTION = 60.0
"""Seconds a tape outlives its run: the SDKs give up reconnecting sooner."""


class Tape:
    """The last frames of one run in one dialect."""

    def __init__(self) -> None:
        self.frames: deque[Frame] = deque()
        self.size = 0
        self.lost: Frame | None = None
        """The newest frame there was no room for."""

    def push(self, frame: Frame) -> None:
        """Add a frame, dropping the oldest where there is no room."""
        self.frames.append(frame)
        self.size += FRAME + len(frame.data)
        while self.size > LONGEST and len(self.frames) > 1:
            self.lost = self.frames.popleft()
            self.size -= FRAME + len(self.lost.data)


class Tapes:
    """The tapes of all runs, by run and dialect. Changed on the API's loop only; `in` may be asked from any thread."""

    def __init__(self, retention: float = RETENTION) -> None:
        """`retention`: seconds the tapes of a run are kept after its end."""
        self._retention = retention
        self._tapes: dict[tuple[str, bool], Tape] = {}
        self._of_thread: dict[str, set[str]] = {}
        self._ended: dict[str, str] = {}
        self._size = 0

    def __contains__(self, key: tuple[str, bool]) -> bool:
        return key in self._tapes

    def push(self, frame: Frame) -> None:
        """Keep a frame; the first of a run begins its tape."""
        key = (frame.run_id, frame.protocol)
        tape = self._tapes.get(key)
        if tape is None:
            tape = self._tapes[key] = Tape()
            self._of_thread.setdefault(frame.thread_id, set()).add(frame.run_id)
        before = tape.size
        tape.push(frame)
        self._size += tape.size - before
        while self._size > MOST and self._ended:
            run_id, thread_id = next(iter(self._ended.items()))
            self._drop(thread_id, run_id)

    def frames(self, feed: Feed, after: int) -> list[Frame]:
        """What is kept of a feed, oldest first."""
        return sorted(self._kept(feed, after), key=lambda frame: frame.seq)

    def _kept(self, feed: Feed, after: int) -> Iterator[Frame]:
        runs = self._of_thread.get(feed.thread_id, ()) if feed.run_id is None else (feed.run_id,)
        for run_id in runs:
            tape = self._tapes.get((run_id, feed.protocol))
            if tape is None:
                continue
            if tape.lost is not None and FIRST < after < tape.lost.seq and not feed.protocol:
                yield msgspec.structs.replace(tape.lost, event="error", data=GAP)
            yield from (frame for frame in tape.frames if frame.seq > after)

    def expire(self, thread_id: str, run_id: str) -> None:
        """The run has ended: its tapes are dropped in a while."""
        if (run_id, False) in self._tapes or (run_id, True) in self._tapes:
            self._ended[run_id] = thread_id
            asyncio.get_running_loop().call_later(self._retention, self._drop, thread_id, run_id)

    def forget(self, thread_id: str, run_id: str | None) -> None:
        """Drop the tapes of a run, or of all runs of a thread."""
        for each in tuple(self._of_thread.get(thread_id, ())) if run_id is None else (run_id,):
            self._drop(thread_id, each)

    def _drop(self, thread_id: str, run_id: str) -> None:
        for protocol in (False, True):
            tape = self._tapes.pop((run_id, protocol), None)
            self._size -= 0 if tape is None else tape.size
        self._ended.pop(run_id, None)
        runs = self._of_thread.get(thread_id, set())
        runs.discard(run_id)
        if not runs:
            self._of_thread.pop(thread_id, None)
