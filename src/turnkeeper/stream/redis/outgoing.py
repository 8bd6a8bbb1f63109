"""From what is told in a process to what goes to Redis."""

import itertools
from collections.abc import Iterator

import msgspec

from turnkeeper.contracts import Told
from turnkeeper.stream.local import End, Gone
from turnkeeper.stream.redis.writer import Entry
from turnkeeper.stream.wire import pack, pack_end, without_values


class Entries:
    """Makes entries for the writer."""

    def __init__(self, process: str) -> None:
        """`process`: its name, by which what it sent is known again."""
        self._process = process
        self._count = itertools.count()

    def told(self, told: Told) -> Entry:
        """A frame. What no run says is not kept, so nothing finds it again."""
        tag = f"{self._process}:{next(self._count)}" if told.run_id else ""
        return Entry(("frame", told.thread_id, told.run_id, str(int(told.protocol)), pack(told), tag, ""), told=told)

    def end(self, end: End, *, kept: bool) -> Iterator[Entry]:
        """An end. `kept`: whether those who come back may ask for it. Of a run rolled back the frames are removed."""
        ended = end.ended
        remembered = msgspec.json.encode(without_values(ended)) if kept else b""
        yield Entry(("end", ended.thread_id, ended.run_id, pack_end(ended), remembered, "", ""))
        if end.durable and ended.status is None:
            yield Entry(("forget", ended.thread_id, ended.run_id, "", "", "", ""), undone=ended.run_id)

    def gone(self, gone: Gone) -> Entry:
        """A deletion."""
        return Entry(("forget", gone.thread_id, gone.run_id or "", "1", "", "", ""))
