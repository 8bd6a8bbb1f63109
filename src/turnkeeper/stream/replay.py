"""What a listener missed: frames on disk and in memory, up to the moment it began to listen."""

from collections.abc import Sequence

from turnkeeper.contracts import EventStore, Feed, Frame

PAGE = 500
"""Frames read at once: a long past goes through memory piece by piece."""


class Replay:
    """Reads a feed's past page by page."""

    def __init__(self, store: EventStore, feed: Feed, *, after: int, upto: int, recent: Sequence[Frame]) -> None:
        """`recent`: the frames between `after` and `upto` that may not be stored, oldest first."""
        self._store = store
        self._feed = feed
        self._after = after
        self._upto = upto
        self._recent = list(recent)
        self.done = False

    async def page(self) -> list[Frame]:
        """The next frames; `done` is set with the last of them."""
        stored = await self._store.read(self._feed, self._after, self._upto, PAGE)
        self.done = len(stored) < PAGE
        self._after = self._upto if self.done else stored[-1].seq
        count = sum(frame.seq <= self._after for frame in self._recent)
        recent, self._recent = self._recent[:count], self._recent[count:]
        if not recent:
            return stored
        known = {frame.seq for frame in stored}
        return sorted([*stored, *(frame for frame in recent if frame.seq not in known)], key=_place)


def _place(frame: Frame) -> int:
    return frame.seq
