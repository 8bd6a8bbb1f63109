"""The event log of many processes: whatever tells, in whichever process, is heard by all who listen, in one order.

What is told goes in batches over a way on which it gets its number and is kept for those who come late, and comes back
to each process that has listeners. All here but the way in belongs to the API's loop.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence

from turnkeeper.contracts import EventStore, Feed, Frame, Told
from turnkeeper.stream.attached import AttachedSubscription
from turnkeeper.stream.ends import end_told
from turnkeeper.stream.follower import Follower
from turnkeeper.stream.interest import Interest
from turnkeeper.stream.listeners import Listeners
from turnkeeper.stream.local import End, Gone
from turnkeeper.stream.replay import Replay
from turnkeeper.stream.way import Seen, Topic, Unreachable, Way
from turnkeeper.types import Ended

OFFLINE = 10.0
"""Seconds a listener waits until other processes can be heard before it makes do with what is stored."""

RETRY_AFTER = 0.1
ENDS_KEPT = 5.0
"""Seconds within which an end that was found is asked for."""

SWEEP = 60.0


class SharedEventLog:
    """Implements `contracts.EventLog`, and `Hearer` of its way."""

    def __init__(self, store: EventStore, way: Way) -> None:
        self._store = store
        self._way = way
        self._listeners = Listeners(way.retention)
        self._interest = Interest(way)
        self._ends: dict[str, Ended] = {}
        self._outbox: deque[Told | End | Gone] = deque()
        self._scheduled = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        way.connect(self)

    async def start(self) -> None:
        """Begin to deliver on the running loop, also if nobody can be reached; numbers go on from what is stored."""
        await self._way.start(await self._store.newest())
        self._loop = asyncio.get_running_loop()
        self._tasks.add(asyncio.create_task(self._sweep()))
        self._schedule()

    async def stop(self) -> None:
        """Tell what waits, then let go of all connections."""
        self._deliver()
        for task in self._tasks:
            task.cancel()
        self._interest.stop()
        await self._way.stop()

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

    def subscribe(self, run_id: str, thread_id: str, *, frames: bool, after: int | None = None) -> AttachedSubscription:
        """See the contract."""
        topics = [Topic(thread_id, None), *([Topic(thread_id, protocol=False)] if frames else [])]

        def leave(gone: AttachedSubscription) -> None:
            self._listeners.leave_run(run_id, gone)
            self._release(gone, topics)

        since, resumed = self._way.moment(), after is not None
        subscription = AttachedSubscription(
            leave, thread_id, frames=frames, since=since, resumed=resumed, is_up=self._is_up
        )
        self._listeners.join_run(run_id, subscription)
        self._attach(subscription, Feed(thread_id, run_id), topics, after)
        return subscription

    def follow(self, thread_id: str, *, protocol: bool, after: int | None = None) -> Follower:
        """See the contract."""
        topics = [Topic(thread_id, protocol)]

        def leave(gone: AttachedSubscription) -> None:
            self._listeners.leave_thread(thread_id, gone)
            self._release(gone, topics)

        since, is_up = self._way.moment(), self._is_up
        subscription = Follower(leave, thread_id, since=since, protocol=protocol, is_up=is_up)
        self._listeners.join_thread(thread_id, subscription)
        self._attach(subscription, Feed(thread_id, protocol=protocol), topics, after)
        return subscription

    def close(self) -> None:
        """The server stops: end every stream. Streams may be resumed, so none is told that its run has ended."""
        for listener in self._listeners.all():
            listener.abandon()

    # --- listeners ----------------------------------------------------------------------------------------------------

    def _is_up(self) -> bool:
        return self._way.is_up

    def _attach(
        self, subscription: AttachedSubscription, feed: Feed, topics: Sequence[Topic], after: int | None
    ) -> None:
        for topic in topics:
            self._way.hold(topic)
        task = asyncio.get_running_loop().create_task(self._attached(subscription, feed, after))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _attached(self, subscription: AttachedSubscription, feed: Feed, after: int | None) -> None:
        """Attach a listener to what other processes tell, as soon as that can be heard."""
        begin = subscription.since if after is None else after
        prompt, seen = await self._seen(subscription, feed, begin)
        if subscription.closed:
            return
        if seen is None:
            past = Replay(self._store, feed, after=begin, upto=self._way.moment(), recent=())
            subscription.attach_offline(past if subscription.frames else None)
            return
        self._remember(feed.run_id or "", seen.ended)
        if not subscription.frames:
            subscription.attach(0)
        elif after is None and prompt:
            subscription.attach(seen.cut, recent=seen.frames)
        else:
            replay = Replay(self._store, feed, after=begin, upto=seen.cut, recent=seen.frames)
            subscription.attach(seen.cut, replay=replay)

    def _remember(self, run_id: str, ended: Ended | None) -> None:
        if ended is None:
            self._ends.pop(run_id, None)
        else:
            self._ends[run_id] = ended
            asyncio.get_running_loop().call_later(ENDS_KEPT, self._ends.pop, run_id, None)

    async def _seen(self, subscription: AttachedSubscription, feed: Feed, begin: int) -> tuple[bool, Seen | None]:
        """What is known of a thread once we are told what comes, or `None` if nobody can be reached.

        And whether it was at the first look: what was told before a later one may be stored and nowhere else.
        """
        until, prompt = self._time() + OFFLINE, True
        while self._time() < until and not subscription.closed:
            if subscription.finished and not self._way.is_up:
                break
            try:
                return prompt, await self._way.look(feed, begin, frames=subscription.frames)
            except Unreachable:
                prompt = False
                await asyncio.sleep(RETRY_AFTER)
        return prompt, None

    def _release(self, gone: AttachedSubscription, topics: Sequence[Topic]) -> None:
        """Listen no more; to what somebody may come back to, a while longer: it shall go on to be told."""
        if gone.released:
            return
        gone.released = True
        for topic in topics:
            if gone.may_return and gone.frames:
                asyncio.get_running_loop().call_later(self._way.retention, self._way.release, topic)
            else:
                self._way.release(topic)

    # --- what is heard ------------------------------------------------------------------------------------------------

    def frame(self, frame: Frame) -> None:
        """A frame for those who listen."""
        for listener in self._listeners.of(frame):
            listener.push(frame)

    def ended(self, ended: Ended) -> None:
        """An end for those who wait for it."""
        for listener in self._listeners.of_run(ended.run_id):
            if listener.ended is None:
                listener.finish(ended)

    def gap(self, topic: Topic) -> None:
        """Whoever reads has to come back, whoever waits for an end has to look for it elsewhere."""
        for listener in _of(self._listeners.all()):
            if listener.thread_id != topic.thread_id:
                continue
            if not listener.frames and topic.protocol is None:
                listener.poke()
            elif listener.frames and listener.protocol == topic.protocol:
                listener.close()

    def wanted_by_others(self, thread_id: str, *, protocol: bool) -> None:
        """Somebody begins to listen, perhaps in another process."""
        self._interest.joined(thread_id, protocol=protocol)

    def up(self) -> None:
        """Other processes are heard (again)."""
        self._interest.ask_again()

    def lost(self) -> None:
        """Something may have been missed: whoever reads has to come back, whoever waits for an end has to look."""
        self._interest.let_all_go()
        for listener in _of(self._listeners.all()):
            if not listener.frames:
                listener.poke()
            elif listener.attached:
                listener.close()

    def settled(self, durable: Sequence[Frame], undone: Sequence[str]) -> None:
        """What has its numbers can be stored."""
        if durable:
            self._store.post(durable)
        for run_id in undone:
            self._store.forget(run_id)

    # --- what is told -------------------------------------------------------------------------------------------------

    def _send(self, item: Told | End | Gone) -> None:
        """Many items share one wake-up of the API's loop."""
        self._outbox.append(item)
        if not self._scheduled and self._loop is not None:
            self._schedule()

    def _schedule(self) -> None:
        self._scheduled = True
        self._way.call(self._deliver)

    def _deliver(self) -> None:
        self._scheduled = False  # before draining: what is appended from here on schedules anew
        while self._outbox:
            item = self._outbox.popleft()
            match item:
                case Told():
                    if not self._interest.hold(item):
                        self._way.tell(item)
                case End():
                    self._end(item)
                case Gone():
                    self._way.forget(item)
                    for run_id in [item.run_id] if item.run_id else list(self._ends):
                        self._ends.pop(run_id, None)

    def _end(self, end: End) -> None:
        """Tell an end. Who waits for it in this process, and for nothing else, need not wait for others."""
        run_id = end.ended.run_id
        self._interest.let_go(run_id)
        for told in end_told(end.ended, durable=end.durable, protocol=end.protocol):
            if told.durable or self._interest.guess(run_id, protocol=told.protocol):
                self._way.tell(told)
        self._way.end(end, kept=end.durable or self._interest.guess(run_id, protocol=False))
        self._interest.end(run_id)
        for listener in self._listeners.of_run(run_id):
            if not listener.frames:
                listener.finish(end.ended)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP)
            self._interest.forget_silent()

    def _time(self) -> float:
        return asyncio.get_running_loop().time()


def _of(listeners: Iterable[object]) -> list[AttachedSubscription]:
    return [each for each in listeners if isinstance(each, AttachedSubscription)]
