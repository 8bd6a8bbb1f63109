"""What is sent together."""

import secrets
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from turnkeeper.contracts import Frame, Told
from turnkeeper.stream.postgres.topics import GAP, bits

AT_ONCE = 200
"""Items of one batch: as many threads fit into a notification."""

AT_ONCE_BYTES = 1024 * 1024
LONGEST_NEWS = 7800
"""Bytes of the part of a notification that says whom it concerns; one takes 8000."""

MOST_WAITING = 32 * 1024 * 1024
"""Bytes that may wait. What comes while there are more is dropped, which those are told whom it concerns."""

ITEM = 200
"""Bytes an item takes besides its data."""

SEPARATOR = "|"
"""Between the parts of a namespace, as in the table `events`: LangGraph's own, so it is in none of them."""


class Item(NamedTuple):
    """One item on its way; `kind` as in `stream_tell`."""

    kind: int
    thread_id: str
    run_id: str
    event: str = ""
    data: bytes = b""
    namespace: str = ""
    node: str | None = None
    durable: bool = False

    @property
    def size(self) -> int:
        """Bytes it takes while it waits."""
        return ITEM + len(self.data)


def frame_item(told: Told) -> Item:
    """An event on its way."""
    namespace = SEPARATOR.join(told.namespace)
    return Item(
        int(told.protocol), told.thread_id, told.run_id, told.event, told.data, namespace, told.node, told.durable
    )


class Row(NamedTuple):
    """One that has arrived: of `stream_told`."""

    seq: int
    thread_id: str
    run_id: str
    kind: int
    event: str
    data: bytes
    namespace: str
    node: str | None

    def frame(self) -> Frame:
        """The frame it is."""
        parts = tuple(self.namespace.split(SEPARATOR)) if self.namespace else ()
        return Frame(
            self.seq, self.thread_id, self.run_id, self.event, self.data, parts, self.node, protocol=self.kind == 1
        )


class Batch:
    """Items that are carried out together, and once, however often they are sent."""

    def __init__(self, items: Sequence[Item], above: int, begun: float) -> None:
        """`above`: a number below all that it may get. `begun`: when it was sent first, in seconds."""
        self.items = items
        self.above = above
        self.begun = begun
        self.number = secrets.randbits(63)
        self.again = False
        """Whether it may have arrived already."""

    @property
    def news(self) -> str | None:
        """Whom it concerns: threads with the topics, as a digit before; JSON. `None` if they are too many."""
        concerned: dict[str, int] = {}
        for item in self.items:
            if of := bits(item.kind):
                concerned[item.thread_id] = concerned.get(item.thread_id, 0) | of
        news = msgspec.json.encode([f"{of}{thread_id}" for thread_id, of in concerned.items()])
        return news.decode() if len(news) <= LONGEST_NEWS else None

    def columns(self) -> dict[str, Any]:
        """The items as `stream_tell` takes them."""
        kinds, threads, runs, events, data, namespaces, nodes, durable = map(list, zip(*self.items, strict=True))
        return {
            "threads": threads,
            "runs": runs,
            "kinds": kinds,
            "events": events,
            "data": data,
            "namespaces": namespaces,
            "nodes": nodes,
            "durable": durable,
        }


class Outbox:
    """Items that wait, bounded."""

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._size = 0
        self._cut: set[str] = set()
        """Threads of which the newest item that waits is a gap."""

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: Item) -> bool:
        """Add an item; whether there was room. Where there was none, the first that is missing leaves a gap."""
        room = self._size <= MOST_WAITING
        if room:
            self._cut.discard(item.thread_id)
            self._add(item)
        elif item.thread_id not in self._cut:
            self._cut.add(item.thread_id)
            self._add(Item(GAP, item.thread_id, ""))
        return room

    def lose(self, items: Sequence[Item]) -> None:
        """Items that were taken are not sent: say so to those whom they concern, before anything else."""
        for thread_id in {item.thread_id for item in items}:
            self._items.appendleft(Item(GAP, thread_id, ""))
            self._size += ITEM

    def take(self) -> list[Item]:
        """The next items."""
        taken: list[Item] = []
        size = 0
        while self._items and len(taken) < AT_ONCE and size < AT_ONCE_BYTES:
            item = self._items.popleft()
            size += item.size
            taken.append(item)
        self._size -= size
        return taken

    def _add(self, item: Item) -> None:
        self._items.append(item)
        self._size += item.size
