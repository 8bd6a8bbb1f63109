"""How frames and ends look in Redis, and the names of the channels."""

from collections.abc import Sequence

import msgspec

from turnkeeper.contracts import Feed, Frame, Told
from turnkeeper.lifecycle import RunStatus
from turnkeeper.types import EMPTY, Ended

GAP = b"gap"
"""What is told on a thread's channels when frames of it were lost on the way."""

LARGEST_VALUES = 64 * 1024
"""Bytes of a run's values that are told with its end; larger ones are read from the database by those who wait."""


class _Payload(msgspec.Struct, array_like=True, frozen=True):
    """A frame without its number and its thread, which are told beside it."""

    run_id: str
    event: str
    data: bytes
    namespace: tuple[str, ...]
    node: str | None
    protocol: bool


class _End(msgspec.Struct, frozen=True):
    """An end whose JSON is left alone, `null` included."""

    run_id: str
    thread_id: str
    status: RunStatus | None
    values: msgspec.Raw
    interrupts: msgspec.Raw
    error: msgspec.Raw
    reason: str | None
    checkpoint_id: str | None
    more: bool


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Payload)
_end_decoder = msgspec.json.Decoder(_End)


def told_channel(thread_id: str, *, protocol: bool) -> str:
    """Where the frames of a thread in one dialect are told."""
    return f"told:{thread_id}:{int(protocol)}"


def end_channel(thread_id: str) -> str:
    """Where the ends of a thread's runs are told."""
    return f"end:{thread_id}"


def wanted_channel(thread_id: str) -> str:
    """Where it is told that somebody begins to listen to a thread."""
    return f"wanted:{thread_id}"


def pack(told: Told) -> bytes:
    """An event as it travels."""
    return _encoder.encode(_Payload(told.run_id, told.event, told.data, told.namespace, told.node, told.protocol))


def number(told: Told, seq: int) -> Frame:
    """The frame an event becomes."""
    return Frame(
        seq, told.thread_id, told.run_id, told.event, told.data, told.namespace, told.node, protocol=told.protocol
    )


def from_message(thread_id: str, message: bytes) -> Frame:
    """A frame as it is told on a channel."""
    seq, _, payload = message.partition(b":")
    return _frame(thread_id, int(seq), payload)


def from_entries(feed: Feed, entries: Sequence[tuple[bytes, Sequence[bytes]]]) -> list[Frame]:
    """The frames of a feed among the entries of its thread's stream."""
    frames = [_frame(feed.thread_id, int(place.partition(b"-")[0]), fields[3]) for place, fields in entries]
    return [each for each in frames if each.protocol == feed.protocol and feed.run_id in (None, each.run_id)]


def _frame(thread_id: str, seq: int, payload: bytes) -> Frame:
    it = _decoder.decode(payload)
    return Frame(seq, thread_id, it.run_id, it.event, it.data, it.namespace, it.node, protocol=it.protocol)


def pack_end(ended: Ended) -> bytes:
    """An end as it is told: without values too large to be sent to who may not need them."""
    if ended.values is not None and len(bytes(ended.values)) > LARGEST_VALUES:
        ended = without_values(ended)
    return msgspec.json.encode(ended)


def unpack_end(message: bytes) -> Ended:
    """An end as it was told."""
    it = _end_decoder.decode(message)
    return Ended(
        run_id=it.run_id,
        thread_id=it.thread_id,
        status=it.status,
        values=_json(it.values),
        interrupts=_json(it.interrupts) or EMPTY,
        error=_json(it.error),
        reason=it.reason,
        checkpoint_id=it.checkpoint_id,
        more=it.more,
    )


def _json(raw: msgspec.Raw) -> msgspec.Raw | None:
    return None if bytes(raw) == b"null" else raw.copy()


def without_values(ended: Ended) -> Ended:
    """An end that is remembered only for a while."""
    return msgspec.structs.replace(ended, values=None)
