"""What an event log of many processes needs of whatever carries its messages."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from turnkeeper.contracts import Feed, Frame, Told
from turnkeeper.stream.local import End, Gone
from turnkeeper.types import Ended


class Unreachable(Exception):
    """What is asked cannot be answered now."""


class Topic(NamedTuple):
    """What a process listens to: a thread's frames in one dialect, or the ends of its runs."""

    thread_id: str
    protocol: bool | None
    """`None`: the ends."""


class Seen(NamedTuple):
    """What is known of a thread at one moment."""

    cut: int
    """All frames told later have a greater `seq`."""
    frames: Sequence[Frame]
    ended: Ended | None


class Hearer(Protocol):
    """Who is told what comes over the way. On its loop."""

    def frame(self, frame: Frame) -> None:
        """A frame of a topic that is held, in the order of all."""
        ...

    def ended(self, ended: Ended) -> None:
        """An end of a topic that is held."""
        ...

    def gap(self, topic: Topic) -> None:
        """Something of a topic was lost before it was sent."""
        ...

    def wanted_by_others(self, thread_id: str, *, protocol: bool) -> None:
        """In some process somebody begins to listen to a thread that is expected."""
        ...

    def up(self) -> None:
        """The way is there (again): what was expected may have come meanwhile."""
        ...

    def lost(self) -> None:
        """Something of any topic may have been missed."""
        ...

    def settled(self, durable: Sequence[Frame], undone: Sequence[str]) -> None:
        """Durable frames have their numbers; of the runs `undone` nothing stored is to be kept.

        Only if the way does not store and remove them itself.
        """
        ...


class Way(Protocol):
    """From process to process. All but `call` belongs to the loop on which it was started."""

    @property
    def retention(self) -> float:
        """Seconds what a run told is kept after its end."""
        ...

    @property
    def is_up(self) -> bool:
        """Whether what is told now would be heard."""
        ...

    def connect(self, hearer: Hearer) -> None:
        """Name who hears. Before `start`."""
        ...

    def call(self, job: Callable[[], None]) -> None:
        """Do something on the loop; nothing before `start` and after the loop's end. From any thread."""
        ...

    async def start(self, above: int) -> None:
        """Begin, also if nobody is there yet; numbers are given above `above`."""
        ...

    async def stop(self) -> None:
        """Tell what waits, if that takes no longer than a second, and let go."""
        ...

    def moment(self) -> int:
        """A number above all that are known here, and not above those of frames told from now on."""
        ...

    def tell(self, told: Told) -> None:
        """Send a frame."""
        ...

    def end(self, end: End, *, kept: bool) -> None:
        """Send an end. `kept`: whether those who come back may ask for it."""
        ...

    def forget(self, gone: Gone) -> None:
        """Remove what was told of a run or thread."""
        ...

    def hold(self, topic: Topic) -> None:
        """Listen to a topic."""
        ...

    def release(self, topic: Topic) -> None:
        """Listen to it no more, once nobody holds it."""
        ...

    async def look(self, feed: Feed, after: int, *, frames: bool) -> Seen:
        """What is known of a feed after a number; its topics have to be held. Raises `Unreachable`.

        Whoever executes its runs hears that somebody listens. Without `frames`, only how its run ended.
        """
        ...

    def expect(self, thread_id: str) -> None:
        """Hear of those who begin to listen to a thread."""
        ...

    def expect_no_more(self, thread_id: str) -> None:
        """Take back one `expect`."""
        ...

    async def readers(self, thread_id: str) -> set[bool]:
        """In which dialects anybody listens to a thread that is expected. Raises `Unreachable`."""
        ...


class Switchboard(Protocol):
    """What signals between processes need."""

    @property
    def name(self) -> str:
        """What tells this process from the others."""
        ...

    def watch(self, *, on_up: Callable[[], None], on_down: Callable[[], None]) -> None:
        """Be called when the connection is there (again), and when it was lost."""
        ...

    def call(self, job: Callable[[], None]) -> None:
        """Do something on the loop. From any thread."""
        ...

    def say(self, channel: str, message: str | bytes) -> None:
        """Tell all processes something. On the loop."""
        ...

    def hear(self, channel: str, heard: Callable[[bytes], None]) -> None:
        """Listen to what is said on a channel."""
        ...
