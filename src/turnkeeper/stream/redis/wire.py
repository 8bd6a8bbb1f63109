"""How frames look in Redis, and the names of the channels."""

from collections.abc import Sequence

from turnkeeper.contracts import Feed, Frame
from turnkeeper.stream.wire import unpack

GAP = b"gap"
"""What is told on a thread's channels when frames of it were lost on the way."""


def told_channel(thread_id: str, *, protocol: bool) -> str:
    """Where the frames of a thread in one dialect are told."""
    return f"told:{thread_id}:{int(protocol)}"


def end_channel(thread_id: str) -> str:
    """Where the ends of a thread's runs are told."""
    return f"end:{thread_id}"


def wanted_channel(thread_id: str) -> str:
    """Where it is told that somebody begins to listen to a thread."""
    return f"wanted:{thread_id}"


def from_message(thread_id: str, message: bytes) -> Frame:
    """A frame as it is told on a channel."""
    seq, _, payload = message.partition(b":")
    return unpack(thread_id, int(seq), payload)


def from_entries(feed: Feed, entries: Sequence[tuple[bytes, Sequence[bytes]]]) -> list[Frame]:
    """The frames of a feed among the entries of its thread's stream."""
    frames = [unpack(feed.thread_id, int(place.partition(b"-")[0]), fields[3]) for place, fields in entries]
    return [each for each in frames if each.protocol == feed.protocol and feed.run_id in (None, each.run_id)]
