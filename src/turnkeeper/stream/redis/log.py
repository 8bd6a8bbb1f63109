"""The event log by way of Redis: it numbers what is told and keeps it, and tells it on channels."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from redis.exceptions import RedisError

from turnkeeper.contracts import EventStore, Feed, Told
from turnkeeper.stream.local import End, Gone
from turnkeeper.stream.redis import wire
from turnkeeper.stream.redis.bus import Bus
from turnkeeper.stream.redis.outgoing import Entries
from turnkeeper.stream.shared import SharedEventLog
from turnkeeper.stream.way import Hearer, Seen, Topic, Unreachable
from turnkeeper.stream.wire import unpack_end

OPENING = 0.1
"""Seconds a channel takes to open while Redis is there; after it, it is looked whether Redis is."""

DIALECTS = (False, True)


class RedisEventLog(SharedEventLog):
    """Implements `contracts.EventLog`."""

    def __init__(self, store: EventStore, bus: Bus) -> None:
        super().__init__(store, RedisWay(bus))


class RedisWay:
    """Implements `Way`."""

    _hearer: Hearer

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._entries = Entries(bus.name)
        self.retention = bus.retention

    @property
    def is_up(self) -> bool:
        return self._bus.reader.up.is_set()

    def connect(self, hearer: Hearer) -> None:
        self._hearer = hearer
        self._bus.on_settled(hearer.settled)
        self._bus.watch(on_up=hearer.up, on_down=hearer.lost)

    def call(self, job: Callable[[], None]) -> None:
        self._bus.call(job)

    async def start(self, above: int) -> None:
        self._bus.link.newest = above
        await self._bus.start()

    async def stop(self) -> None:
        await self._bus.stop()

    def moment(self) -> int:
        return max(self._bus.link.newest, self._bus.link.now())

    def tell(self, told: Told) -> None:
        self._bus.writer.put(self._entries.told(told))

    def end(self, end: End, *, kept: bool) -> None:
        for entry in self._entries.end(end, kept=kept):
            self._bus.writer.put(entry)

    def forget(self, gone: Gone) -> None:
        self._bus.writer.put(self._entries.gone(gone))

    def hold(self, topic: Topic) -> None:
        heard = partial(self._hear_end if topic.protocol is None else self._hear, topic)
        self._bus.reader.hold(_channel(topic), heard)

    def release(self, topic: Topic) -> None:
        self._bus.reader.release(_channel(topic))

    async def look(self, feed: Feed, after: int, *, frames: bool) -> Seen:
        reader, channels = self._bus.reader, _channels(feed, frames=frames)
        try:
            async with asyncio.timeout(OPENING):
                await reader.opened(channels)
            losses = reader.losses
            cut, entries, ended = await self._bus.link.look(feed, after, frames=frames)
        except (TimeoutError, RedisError, OSError) as error:
            raise Unreachable from error
        if losses != reader.losses:
            raise Unreachable
        return Seen(cut, wire.from_entries(feed, entries), None if ended is None else unpack_end(ended))

    def expect(self, thread_id: str) -> None:
        self._bus.reader.hold(wire.wanted_channel(thread_id), partial(self._hear_wanted, thread_id))

    def expect_no_more(self, thread_id: str) -> None:
        self._bus.reader.release(wire.wanted_channel(thread_id))

    async def readers(self, thread_id: str) -> set[bool]:
        """See `Way`: a process that listens to a thread is subscribed to its channel, which Redis knows."""
        channels = [wire.told_channel(thread_id, protocol=each) for each in DIALECTS]
        await self._bus.reader.opened([wire.wanted_channel(thread_id)])
        try:
            counts = await self._bus.link.listeners(channels)
        except (RedisError, OSError) as error:
            raise Unreachable from error
        return {dialect for dialect, count in zip(DIALECTS, counts, strict=True) if count}

    def _hear(self, topic: Topic, message: bytes) -> None:
        if message == wire.GAP:
            self._hearer.gap(topic)
            return
        frame = wire.from_message(topic.thread_id, message)
        self._bus.link.newest = max(self._bus.link.newest, frame.seq)
        self._hearer.frame(frame)

    def _hear_end(self, topic: Topic, message: bytes) -> None:
        if message == wire.GAP:
            self._hearer.gap(topic)
        else:
            self._hearer.ended(unpack_end(message))

    def _hear_wanted(self, thread_id: str, message: bytes) -> None:
        self._hearer.wanted_by_others(thread_id, protocol=message == b"1")


def _channel(topic: Topic) -> str:
    if topic.protocol is None:
        return wire.end_channel(topic.thread_id)
    return wire.told_channel(topic.thread_id, protocol=topic.protocol)


def _channels(feed: Feed, *, frames: bool) -> Sequence[str]:
    ends = [] if feed.run_id is None else [wire.end_channel(feed.thread_id)]
    return [*ends, *([wire.told_channel(feed.thread_id, protocol=feed.protocol)] if frames else [])]
