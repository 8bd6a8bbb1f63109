"""How channel values become rows and back.

A small plain value stays in its checkpoint's row. A list is stored element by element (see `spans`), so that a step
writes what it changed. Anything else is one row per channel and version.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec
import ormsgpack
from langgraph.checkpoint.base import ChannelVersions, Checkpoint
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from pydantic import BaseModel

from turnkeeper.errors import Unavailable
from turnkeeper.storage import queries
from turnkeeper.storage.sqlite.spans import Fingerprint, KnownList, Recipe, Span, recipe, settle

sql = queries.load("sqlite", "checkpoints")

Version = str | int | float
Place = tuple[str, str, str]
"""Thread, namespace and channel."""

ATOMS: frozenset[type] = frozenset({type(None), bool, int, float})
SHORT_TEXT = 64
SHORT_LIST = 8
MAX_KNOWN = 64
LIST = "list"

_OPTIONS = (
    ormsgpack.OPT_NON_STR_KEYS
    | ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_ENUM
    | ormsgpack.OPT_PASSTHROUGH_UUID
    | ormsgpack.OPT_REPLACE_SURROGATES
)


class Stale(Exception):
    """The list version that a put builds on is no longer stored."""


class KnownLists:
    """The last version of each list channel that one run read or wrote; a few, as subgraphs come and go."""

    def __init__(self) -> None:
        self._lists: dict[Place, KnownList] = {}

    def get(self, place: Place) -> KnownList | None:
        """What is known of a list channel."""
        return self._lists.get(place)

    def learn(self, place: Place, known: KnownList) -> None:
        """Remember a stored version, and forget the one not touched for longest when there are too many."""
        self._lists.pop(place, None)
        self._lists[place] = known
        if len(self._lists) > MAX_KNOWN:
            self._lists.pop(next(iter(self._lists)), None)

    def forget(self) -> None:
        """Forget everything, so that the next put stores its lists whole."""
        self._lists.clear()


@dataclass(frozen=True, slots=True)
class ValueWrite:
    """A channel version that is stored whole."""

    channel: str
    version: Version
    type: str
    value: bytes


@dataclass(frozen=True, slots=True)
class ListWrite:
    """A version of a list channel: the elements to add and how all of them make up the list."""

    channel: str
    version: Version
    base: Version | None
    recipe: Recipe
    elements: list[bytes]
    fingerprints: list[Fingerprint]


@dataclass(slots=True)
class ChannelWrites:
    """What a put stores of its channels: `inline` in the checkpoint's row, the others in rows of their own."""

    inline: dict[str, Any] = field(default_factory=dict[str, Any])
    values: list[ValueWrite] = field(default_factory=list[ValueWrite])
    lists: list[ListWrite] = field(default_factory=list[ListWrite])


def is_small(value: object) -> bool:
    """Whether a value is kept in the checkpoint's own row."""
    kind = type(value)
    return kind in ATOMS or (kind is str and len(cast("str", value)) <= SHORT_TEXT)


def prepare(
    checkpoint: Checkpoint,
    new_versions: ChannelVersions,
    serde: SerializerProtocol,
    known: Callable[[str], KnownList | None],
) -> ChannelWrites:
    """Serialise what a put has to store. Raises what the serialiser raises on a value it cannot take."""
    writes = ChannelWrites()
    values = checkpoint["channel_values"]
    for channel, value in values.items():
        if is_small(value):
            writes.inline[channel] = value
        elif channel in new_versions:
            version = new_versions[channel]
            if _by_element(value, serde):
                writes.lists.append(_list_write(channel, version, value, serde, known(channel)))
            else:
                writes.values.append(ValueWrite(channel, version, *serde.dumps_typed(value)))
    return writes


def store(
    connection: sqlite3.Connection, thread_id: str, checkpoint_ns: str, born: int, writes: ChannelWrites
) -> list[KnownList]:
    """Write the rows of a put; returns what `writes.lists` became. Raises `Stale` when a base is gone."""
    where = {"thread_id": thread_id, "checkpoint_ns": checkpoint_ns, "born": born}
    known = [_store_list(connection, where, write) for write in writes.lists]
    connection.executemany(
        sql.put_channel,
        [
            {**where, "channel": w.channel, "version": w.version, "type": w.type, "value": w.value, "high": None}
            for w in writes.values
        ]
        + [
            {
                **where,
                "channel": write.channel,
                "version": write.version,
                "type": LIST,
                "value": msgspec.json.encode(made.spans),
                "high": max((stop for _, stop in made.spans), default=0),
            }
            for write, made in zip(writes.lists, known, strict=True)
        ],
    )
    return known


def load(
    connection: sqlite3.Connection,
    thread_id: str,
    checkpoint_ns: str,
    row: tuple[str, Version, str, bytes],
    serde: SerializerProtocol,
) -> tuple[Any, KnownList | None]:
    """The value a row of `channels_at` stands for, and what to know of it when it is a list."""
    channel, version, kind, stored = row
    if kind != LIST:
        return serde.loads_typed((kind, stored)), None
    spans = read_spans(stored)
    value = serde.loads_typed(
        ("msgpack", _array(read_elements(connection, (thread_id, checkpoint_ns, channel), spans)))
    )
    return value, KnownList(version, fingerprint(value, serde), spans)


def read_spans(stored: bytes) -> tuple[Span, ...]:
    """The spans a list row holds."""
    return msgspec.json.decode(stored, type=tuple[Span, ...])


def read_elements(connection: sqlite3.Connection, place: Place, spans: tuple[Span, ...]) -> list[bytes]:
    """The elements at `spans`. Raises `Unavailable` when one is missing, rather than give back another list."""
    thread_id, checkpoint_ns, channel = place
    where = {"thread_id": thread_id, "checkpoint_ns": checkpoint_ns, "channel": channel}
    elements = [
        value
        for start, stop in spans
        for (value,) in connection.execute(sql.elements, {**where, "start": start, "stop": stop})
    ]
    if len(elements) != sum(stop - start for start, stop in spans):
        raise Unavailable(f"Channel {channel!r} of thread {thread_id} has lost some of its elements.")
    return elements


def fingerprint(elements: list[object], serde: SerializerProtocol) -> list[Fingerprint]:
    """For each element bytes that differ whenever what is stored of it would; far cheaper than storing messages."""
    models = {kind for kind in set(map(type, elements)) if issubclass(kind, BaseModel)}
    found: list[Fingerprint] = []
    for element in elements:
        kind = type(element)
        try:
            looked_at = _fields(cast("BaseModel", element)) if kind in models else element
            found.append((kind, ormsgpack.packb(looked_at, default=_nested, option=_OPTIONS)))
        except (ormsgpack.MsgpackEncodeError, TypeError):
            found.append((kind, b"".join((b"!", *map(_as_bytes, serde.dumps_typed(element))))))
    return found


def _as_bytes(part: str | bytes) -> bytes:
    return part.encode() if isinstance(part, str) else part


def _fields(model: BaseModel) -> object:
    """A model's fields, which `model_dump` makes its stored form from, without the work of `model_dump`."""
    if model.__pydantic_extra__ or model.__pydantic_private__:
        return model.__dict__, model.__pydantic_extra__, model.__pydantic_private__
    return model.__dict__


def _nested(value: object) -> object:
    if isinstance(value, BaseModel):
        return type(value).__module__, type(value).__qualname__, _fields(value)
    raise TypeError


def _by_element(value: object, serde: SerializerProtocol) -> bool:
    """Whether a value is a list worth storing by element: long, and not of mere numbers.

    Elements of an encrypting serialiser cannot be taken apart.
    """
    if type(value) is not list or type(serde) is not JsonPlusSerializer:
        return False
    elements = cast("list[object]", value)
    return len(elements) > SHORT_LIST and type(elements[0]) not in ATOMS


def _list_write(
    channel: str, version: Version, value: list[object], serde: SerializerProtocol, known: KnownList | None
) -> ListWrite:
    fingerprints = fingerprint(value, serde)
    made = recipe(fingerprints, known)
    elements = [_element(value[index], serde) for index in made.fresh]
    return ListWrite(channel, version, known and known.version, made, elements, fingerprints)


def _element(element: object, serde: SerializerProtocol) -> bytes:
    """An element as it stands inside an array: what a list of one comes to, less the array's header."""
    return serde.dumps_typed([element])[1][1:]


def _array(elements: list[bytes]) -> bytes:
    """The msgpack array of some elements."""
    count = len(elements)
    header = bytes([0x90 | count]) if count < 16 else b"\xdd" + count.to_bytes(4, "big")
    return header + b"".join(elements)


def _store_list(connection: sqlite3.Connection, where: dict[str, Any], write: ListWrite) -> KnownList:
    where = {**where, "channel": write.channel}
    tail, there = connection.execute(sql.list_tail, {**where, "base": write.base}).fetchone()
    if write.base is not None and not there:
        raise Stale
    connection.executemany(
        sql.put_element,
        [{**where, "seq": tail + index, "value": element} for index, element in enumerate(write.elements)],
    )
    return KnownList(write.version, write.fingerprints, settle(write.recipe.spans, tail))
