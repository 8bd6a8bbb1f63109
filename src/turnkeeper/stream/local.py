"""The event log of one process: producers on any thread, listeners on the API's event loop.

What is told is put in order on that loop; everything but the way there belongs to it alone, so nothing is locked.
"""

import asyncio
import time
from collections import deque
from typing import NamedTuple

import msgspec

from turnkeeper.contracts import EventStore, Feed, Frame, Told
from turnkeeper.stream.ends import end_told
from turnkeeper.stream.listeners import Listeners
from turnkeeper.stream.replay import Replay
from turnkeeper.stream.subscription import LocalSubscription
from turnkeeper.stream.tapes import RETENTION, Tapes
from turnkeeper.types import Clock, Ended


class End(NamedTuple):
    """An end on its way into the log."""

    ended: Ended
    durable: bool
    protocol: bool


class Gone(NamedTuple):
    """A run or a whole thread that was deleted."""

    thread_id: str
    run_id: str | None


class LocalEventLog:
    """Implements `contracts.EventLog`."""

    def __init__(self, store: EventStore, clock: Clock = time.time, retention: float = RETENTION) -> None:
        """`retention`: seconds a listener whose connection broke has to come back in, and finds what it missed."""
        self._store = store
        self._clock = clock
        self._retention = retention
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listeners = Listeners(retention)
        self._tapes = Tapes(retention)
        self._ends: dict[str, Ended] = {}
        self._newest = 0
        self._outbox: deque[Told | End | Gone] = deque()
        self._scheduled = False

    async def start(self) -> None:
        """Begin to deliver on the running loop; events are numbered on from what is stored."""
        self._newest = await self._store.newest()
        self._loop = asyncio.get_running_loop()

    async def stop(self) -> None:
        """Nothing to let go of."""

    def wanted(self, thread_id: str, run_id: str, *, protocol: bool) -> bool:
        """See the contract."""
        return (run_id, protocol) in self._tapes or self._listeners.read(thread_id, run_id, protocol=protocol)

    def append(self, told: Told) -> None:
        """See the contract."""
        self._send(told)

    def end(self, ended: Ended, *, durable: bool = False, protocol: bool = False) -> None:
        """See the contract."""
        self._send(End(ended, durable, protocol))

    def forget(self, thread_id: str, run_id: str | None = None) -> None:
        """See the contract."""
        self._send(Gone(thread_id, run_id))

    def recent_end(self, thread_id: str, run_id: str) -> Ended | None:
        """See the contract."""
        ended = self._ends.get(run_id)
        return ended if ended is not None and ended.thread_id == thread_id else None

    def subscribe(self, run_id: str, thread_id: str, *, frames: bool, after: int | None = None) -> LocalSubscription:
        """See the contract."""
        subscription = LocalSubscription(
            lambda gone: self._listeners.leave_run(run_id, gone),
            frames=frames,
            since=self._next(),
            replay=self._replay(Feed(thread_id, run_id), after),
        )
        self._listeners.join_run(run_id, subscription)
        return subscription

    def follow(self, thread_id: str, *, protocol: bool, after: int | None = None) -> LocalSubscription:
        """See the contract."""
        subscription = LocalSubscription(
            lambda gone: self._listeners.leave_thread(thread_id, gone),
            frames=True,
            since=self._next(),
            protocol=protocol,
            replay=self._replay(Feed(thread_id, protocol=protocol), after),
        )
        self._listeners.join_thread(thread_id, subscription)
        return subscription

    def close(self) -> None:
        """The server stops: end every stream. Streams may be resumed, so none is told that its run has ended."""
        for listener in self._listeners.all():
            listener.abandon()

    def _replay(self, feed: Feed, after: int | None) -> Replay | None:
        if after is None:
            return None
        recent = self._tapes.frames(feed, after)
        return Replay(self._store, feed, after=after, upto=self._newest, recent=recent)

    def _next(self) -> int:
        """A number above all before, which says the time as far as the clock does not go back."""
        self._newest = max(self._newest + 1, int(self._clock() * 1_000_000))
        return self._newest

    def _send(self, item: Told | End | Gone) -> None:
        """Many items share one wake-up of the API's loop."""
        self._outbox.append(item)
        if not self._scheduled and self._loop is not None:
            self._scheduled = True
            self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._scheduled = False  # before draining: what is appended from here on schedules anew
        durable: list[Frame] = []
        undone: list[str] = []
        for _ in range(len(self._outbox)):  # not what comes meanwhile: requests wait for this loop, too
            item = self._outbox.popleft()
            match item:
                case Told():
                    self._tell(item, durable)
                case End():
                    self._end(item, durable)
                    undone += [item.ended.run_id] if item.durable and item.ended.status is None else []
                case Gone():
                    self._forget(item)
        if durable:
            self._store.post(durable)
        for run_id in undone:
            self._store.forget(run_id)

    def _tell(self, told: Told, durable: list[Frame]) -> None:
        """Number a frame, see to it that it can be read again, and hand it to who listens."""
        frame = Frame(
            self._next(),
            told.thread_id,
            told.run_id,
            told.event,
            told.data,
            told.namespace,
            told.node,
            protocol=told.protocol,
        )
        if told.durable:
            durable.append(frame)
        elif told.run_id:
            self._tapes.push(frame)
        for listener in self._listeners.of(frame):
            listener.push(frame)

    def _end(self, end: End, durable: list[Frame]) -> None:
        ended, run_id, thread_id = end.ended, end.ended.run_id, end.ended.thread_id
        for told in end_told(ended, durable=end.durable, protocol=end.protocol):
            if told.durable or self.wanted(thread_id, run_id, protocol=told.protocol):
                self._tell(told, durable)
        if end.durable or (run_id, False) in self._tapes:
            self._ends[run_id] = msgspec.structs.replace(ended, values=None)
            asyncio.get_running_loop().call_later(self._retention, self._ends.pop, run_id, None)
        self._tapes.expire(thread_id, run_id)
        for listener in self._listeners.of_run(run_id):
            listener.finish(ended)

    def _forget(self, gone: Gone) -> None:
        for ended in [each for each in self._ends.values() if each.thread_id == gone.thread_id]:
            if gone.run_id in (None, ended.run_id):
                del self._ends[ended.run_id]
        self._tapes.forget(gone.thread_id, gone.run_id)
