"""What the server needs of its event log, and the frames that go through it."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from turnkeeper.types import Ended

RUN_DONE = "run_done"
"""Name of the frame by which a thread's stream says that a run has ended. A run's own stream just ends."""

STATE_CHANGED = "state_changed"
"""Name of the frame, without data, by which a thread's stream says that its state was edited."""


class Frame(msgspec.Struct, frozen=True):
    """One event of a thread, encoded once for all who listen."""

    seq: int
    """Its place among all events, and their id on the wire: microseconds since the epoch, or one more than the last."""
    thread_id: str
    run_id: str
    """Empty for what no run says, as an edit of the state."""
    event: str
    """The name the clients' decoders know: of a run stream's event, or of the event protocol's method."""
    data: bytes
    namespace: tuple[str, ...] = ()
    """The subgraph it comes from (event protocol; a run stream's events carry it in their names)."""
    node: str | None = None
    protocol: bool = False
    """Whether it belongs to the thread-centric event protocol, not to the run streams."""


class Told(msgspec.Struct, frozen=True):
    """An event on its way into the log, which gives it its `seq`."""

    thread_id: str
    run_id: str
    event: str
    data: bytes
    namespace: tuple[str, ...] = ()
    node: str | None = None
    protocol: bool = False
    durable: bool = False
    """Whether it can still be read after a restart, for as long as the setting `stream_ttl` says."""


class Feed(msgspec.Struct, frozen=True):
    """Which events somebody wants to hear of: one run's or all of a thread, in one of the two dialects."""

    thread_id: str
    run_id: str | None = None
    protocol: bool = False


class EventStore(Protocol):
    """Events that outlive their run and the process."""

    def post(self, frames: Sequence[Frame]) -> None:
        """Keep frames. Not waited for: what cannot be stored is only missing from later replays. From any thread."""
        ...

    async def read(self, feed: Feed, after: int, upto: int, limit: int) -> list[Frame]:
        """The stored frames of a feed with `after < seq <= upto`, oldest first; those posted before are among them."""
        ...

    def forget(self, run_id: str) -> None:
        """Remove what a run told: it was rolled back. Not waited for."""
        ...

    async def purge(self, before: int) -> int:
        """Remove frames with a lower `seq` whose run is not active; returns how many."""
        ...

    async def newest(self) -> int:
        """The greatest `seq` stored, 0 if there is none."""
        ...


class Subscription(Protocol):
    """One listener of a run or of a thread."""

    @property
    def since(self) -> int:
        """Every frame with a greater `seq` comes, or was asked for not to come: what the listener has seen by now."""
        ...

    async def ready(self) -> None:
        """Wait until other processes know of the listener: what they tell and end from now on reaches it.

        Returns after a second in any case. Without it, the listener hears late of what is told in its first moments.
        """
        ...

    async def batch(self, timeout: float) -> list[Frame]:
        """Wait up to `timeout` seconds for frames and take all there are; empty when none came or the run has ended."""
        ...

    @property
    def ended(self) -> Ended | None:
        """How the run ended, once it has and every frame before was taken; never for a thread."""
        ...

    @property
    def closed(self) -> bool:
        """Whether nothing more comes though the run goes on.

        `close` was called, the listener read too slowly and was dropped, or the server stops.
        """
        ...

    @property
    def going(self) -> str | None:
        """For a thread: the run whose events came last and whose end did not, but may have been missed."""
        ...

    def finish(self, ended: Ended) -> None:
        """Say that the run, for a thread the one that is `going`, has ended, which the listener did not hear."""
        ...

    def close(self) -> None:
        """Stop listening."""
        ...


class EventLog(Protocol):
    """What runs tell while they run, and that they have ended."""

    def wanted(self, thread_id: str, run_id: str, *, protocol: bool) -> bool:
        """Whether anybody would read what is told; when not, events need not even be encoded. From any thread."""
        ...

    def append(self, told: Told) -> None:
        """Tell the listeners of a run and of its thread. From any thread; never blocks."""
        ...

    def end(self, ended: Ended, *, durable: bool = False, protocol: bool = False) -> None:
        """Tell everybody that a run has ended; its end is on disk already. From any thread; never blocks.

        `durable` and `protocol` say whether the events of its stream and those of the event protocol are.
        """
        ...

    def recent_end(self, thread_id: str, run_id: str) -> Ended | None:
        """How a run ended a moment ago, also if its row is gone since."""
        ...

    def forget(self, thread_id: str, run_id: str | None = None) -> None:
        """A run or a thread was deleted: what is remembered of it for those who come back must not be read any more."""
        ...

    def subscribe(self, run_id: str, thread_id: str, *, frames: bool, after: int | None = None) -> Subscription:
        """Listen to a run from now on: to its end, and with `frames` to its events too.

        With `after`, what is still known of its frames with a greater `seq` comes first.
        """
        ...

    def follow(self, thread_id: str, *, protocol: bool, after: int | None = None) -> Subscription:
        """Listen to all runs of a thread, which need not exist yet. `after` as in `subscribe`."""
        ...
