"""The event log of many processes: whatever tells, in whichever process, is heard by all who listen, in one order.

What is told goes to Redis in batches, where it gets its number and is kept for those who come late; from there it comes
back over one connection to each process that has listeners. All here but the way in belongs to the API's loop.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial

from redis.exceptions import RedisError

from turnkeeper.contracts import EventStore, Feed, Frame, Told
from turnkeeper.stream.ends import end_told
from turnkeeper.stream.listeners import Listeners
from turnkeeper.stream.redis import wire
from turnkeeper.stream.redis.bus import Bus
from turnkeeper.stream.redis.interest import Interest
from turnkeeper.stream.redis.link import Seen
from turnkeeper.stream.redis.outgoing import End, Entries, Gone
from turnkeeper.stream.redis.subscription import RedisSubscription
from turnkeeper.stream.replay import Replay
from turnkeeper.types import Ended

OFFLINE = 10.0
"""Seconds a listener waits for a Redis that is not there before it makes do with what is stored."""

LATE = 0.5
"""Seconds after which a new listener looks for what was told while it could not be attached."""

RETRY_AFTER = 0.1
ENDS_KEPT = 5.0
"""Seconds within which an end that was found in Redis is asked for."""

SWEEP = 60.0


class RedisEventLog:
    """Implements `contracts.EventLog`."""

    def __init__(self, store: EventStore, bus: Bus) -> None:
        self._store = store
        self._bus = bus
        self._listeners = Listeners(bus.retention)
        self._interest = Interest(bus)
        self._entries = Entries(bus.name)
        self._ends: dict[str, Ended] = {}
        self._outbox: deque[Told | End | Gone] = deque()
        self._scheduled = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        bus.on_settled(self._settled)
        bus.watch(on_up=lambda: None, on_down=self._break_off)

    async def start(self) -> None:
        """Begin to deliver on the running loop, also without Redis; events are numbered on from what is stored."""
        self._bus.link.newest = await self._store.newest()
        await self._bus.start()
        self._loop = asyncio.get_running_loop()
        self._tasks.add(asyncio.create_task(self._sweep()))
        self._schedule()

    async def stop(self) -> None:
        """Tell what waits, then let go of Redis."""
        self._deliver()
        for task in self._tasks:
            task.cancel()
        self._interest.stop()
        await self._bus.stop()

    def wanted(self, thread_id: str, run_id: str, *, protocol: bool) -> bool:
        """See the contract."""
        if not run_id or self._listeners.read(thread_id, run_id, protocol=protocol):
            return True
        return self._interest.wanted(thread_id, run_id, protocol=protocol)

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
        """See the contract. Known to those whose subscription was waited for to be ready."""
        ended = self._ends.get(run_id)
        return ended if ended is not None and ended.thread_id == thread_id else None

    def subscribe(self, run_id: str, thread_id: str, *, frames: bool, after: int | None = None) -> RedisSubscription:
        """See the contract."""
        channels = [wire.end_channel(thread_id)]
        channels += [wire.told_channel(thread_id, protocol=False)] if frames else []

        def leave(gone: RedisSubscription) -> None:
            self._listeners.leave_run(run_id, gone)
            self._release(gone, channels)

        is_up = self._bus.reader.up.is_set
        subscription = RedisSubscription(leave, thread_id, frames=frames, since=self._moment(), is_up=is_up)
        self._listeners.join_run(run_id, subscription)
        self._attach(subscription, Feed(thread_id, run_id), channels, after)
        return subscription

    def follow(self, thread_id: str, *, protocol: bool, after: int | None = None) -> RedisSubscription:
        """See the contract."""
        channels = [wire.told_channel(thread_id, protocol=protocol)]

        def leave(gone: RedisSubscription) -> None:
            self._listeners.leave_thread(thread_id, gone)
            self._release(gone, channels)

        since, is_up = self._moment(), self._bus.reader.up.is_set
        subscription = RedisSubscription(leave, thread_id, frames=True, since=since, protocol=protocol, is_up=is_up)
        self._listeners.join_thread(thread_id, subscription)
        self._attach(subscription, Feed(thread_id, protocol=protocol), channels, after)
        return subscription

    def close(self) -> None:
        """The server stops: end every stream. Streams may be resumed, so none is told that its run has ended."""
        for listener in self._listeners.all():
            listener.abandon()

    # --- listeners ----------------------------------------------------------------------------------------------------

    def _moment(self) -> int:
        return max(self._bus.link.newest, self._bus.link.now())

    def _attach(self, subscription: RedisSubscription, feed: Feed, channels: Sequence[str], after: int | None) -> None:
        for name in channels:
            if name == wire.end_channel(feed.thread_id):
                self._bus.reader.hold(name, partial(self._hear_end, feed.thread_id))
            else:
                self._bus.reader.hold(name, partial(self._hear, feed.thread_id, feed.protocol))
        task = asyncio.get_running_loop().create_task(self._attached(subscription, feed, channels, after))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _attached(
        self, subscription: RedisSubscription, feed: Feed, channels: Sequence[str], after: int | None
    ) -> None:
        """Attach a listener to what other processes tell, as soon as Redis lets it."""
        begin, begun = subscription.since if after is None else after, self._time()
        seen = await self._seen(subscription, feed, channels, begin)
        if subscription.closed:
            return
        if seen is None:
            past = Replay(self._store, feed, after=begin, upto=self._moment(), recent=())
            subscription.attach_offline(past if subscription.frames else None)
            return
        self._remember(feed.run_id or "", seen.ended)
        recent = wire.from_entries(feed, seen.entries)
        if not subscription.frames:
            subscription.attach(0)
        elif after is None and self._time() - begun < LATE:
            subscription.attach(seen.cut, recent=recent)
        else:
            replay = Replay(self._store, feed, after=begin, upto=seen.cut, recent=recent)
            subscription.attach(seen.cut, replay=replay)

    def _remember(self, run_id: str, ended: bytes | None) -> None:
        if ended is None:
            self._ends.pop(run_id, None)
        else:
            self._ends[run_id] = wire.unpack_end(ended)
            asyncio.get_running_loop().call_later(ENDS_KEPT, self._ends.pop, run_id, None)

    async def _seen(
        self, subscription: RedisSubscription, feed: Feed, channels: Sequence[str], begin: int
    ) -> Seen | None:
        """What Redis knows of a thread once it tells us what comes, or `None` if it is not there."""
        reader, until = self._bus.reader, self._time() + OFFLINE
        while self._time() < until and not subscription.closed:
            if subscription.finished and not reader.up.is_set():
                return None
            try:
                await asyncio.wait_for(reader.opened(channels), RETRY_AFTER)
                losses = reader.losses
                seen = await self._bus.link.look(feed, begin, frames=subscription.frames)
            except (TimeoutError, RedisError, OSError):
                await asyncio.sleep(RETRY_AFTER)
            else:
                if losses == reader.losses:
                    return seen
        return None

    def _release(self, gone: RedisSubscription, channels: Sequence[str]) -> None:
        """Listen no more; to what somebody may come back to, a while longer: it shall go on to be told."""
        if gone.released:
            return
        gone.released = True
        for name in channels:
            if gone.may_return and gone.frames:
                asyncio.get_running_loop().call_later(self._bus.retention, self._bus.reader.release, name)
            else:
                self._bus.reader.release(name)

    def _break_off(self) -> None:
        """Something may have been missed: whoever reads has to come back, whoever waits for an end has to look."""
        for listener in self._of(self._listeners.all()):
            if not listener.frames:
                listener.poke()
            elif listener.attached:
                listener.close()

    # --- what is heard ------------------------------------------------------------------------------------------------

    def _hear(self, thread_id: str, protocol: bool, message: bytes) -> None:  # noqa: FBT001 - bound beforehand
        if message == wire.GAP:
            for listener in self._of(self._listeners.all()):
                if listener.thread_id == thread_id and listener.frames and listener.protocol == protocol:
                    listener.close()
            return
        frame = wire.from_message(thread_id, message)
        self._bus.link.newest = max(self._bus.link.newest, frame.seq)
        for listener in self._listeners.of(frame):
            listener.push(frame)

    def _hear_end(self, thread_id: str, message: bytes) -> None:
        if message == wire.GAP:
            for listener in self._of(self._listeners.all()):
                if listener.thread_id == thread_id and not listener.frames:
                    listener.poke()
            return
        ended = wire.unpack_end(message)
        for listener in self._listeners.of_run(ended.run_id):
            if listener.ended is None:
                listener.finish(ended)

    def _of(self, listeners: Iterable[object]) -> list[RedisSubscription]:
        return [each for each in listeners if isinstance(each, RedisSubscription)]

    # --- what is told -------------------------------------------------------------------------------------------------

    def _send(self, item: Told | End | Gone) -> None:
        """Many items share one wake-up of the API's loop."""
        self._outbox.append(item)
        if not self._scheduled and self._loop is not None:
            self._schedule()

    def _schedule(self) -> None:
        self._scheduled = True
        self._bus.call(self._deliver)

    def _deliver(self) -> None:
        self._scheduled = False  # before draining: what is appended from here on schedules anew
        while self._outbox:
            item = self._outbox.popleft()
            match item:
                case Told():
                    self._bus.writer.put(self._entries.told(item))
                case End():
                    self._end(item)
                case Gone():
                    self._bus.writer.put(self._entries.gone(item))
                    for run_id in [item.run_id] if item.run_id else list(self._ends):
                        self._ends.pop(run_id, None)

    def _end(self, end: End) -> None:
        """Tell an end. Who waits for it in this process, and for nothing else, need not wait for Redis."""
        run_id = end.ended.run_id
        for told in end_told(end.ended, durable=end.durable, protocol=end.protocol):
            if told.durable or self._interest.guess(run_id, protocol=told.protocol):
                self._bus.writer.put(self._entries.told(told))
        kept = end.durable or self._interest.guess(run_id, protocol=False)
        for entry in self._entries.end(end, kept=kept):
            self._bus.writer.put(entry)
        self._interest.end(run_id)
        for listener in self._listeners.of_run(run_id):
            if not listener.frames:
                listener.finish(end.ended)

    def _settled(self, durable: Sequence[Frame], undone: Sequence[str]) -> None:
        if durable:
            self._store.post(durable)
        for run_id in undone:
            self._store.forget(run_id)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP)
            self._interest.forget_silent()

    def _time(self) -> float:
        return asyncio.get_running_loop().time()
