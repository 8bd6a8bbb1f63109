"""How frames and ends travel between processes."""

import msgspec

from turnkeeper.contracts import Frame, Told
from turnkeeper.lifecycle import RunStatus
from turnkeeper.types import EMPTY, Ended

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


def pack(told: Told) -> bytes:
    """An event as it travels."""
    return _encoder.encode(_Payload(told.run_id, told.event, told.data, told.namespace, told.node, told.protocol))


def unpack(thread_id: str, seq: int, payload: bytes) -> Frame:
    """The frame that travelled."""
    it = _decoder.decode(payload)
    return Frame(seq, thread_id, it.run_id, it.event, it.data, it.namespace, it.node, protocol=it.protocol)


def number(told: Told, seq: int) -> Frame:
    """The frame an event becomes."""
    return Frame(
        seq, told.thread_id, told.run_id, told.event, told.data, told.namespace, told.node, protocol=told.protocol
    )


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
