"""Which events of a thread a listener gets: by channel, by namespace and by depth. Clients apply the same rules."""

from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from turnkeeper.contracts import Frame
from turnkeeper.errors import Impossible
from turnkeeper.services.requests import BIGGEST

CHANNELS = ("values", "updates", "messages", "tools", "lifecycle", "input", "checkpoints", "tasks", "custom")

NAMED = "custom:"
"""Before the name of a custom channel."""

Seq = Annotated[int, msgspec.Meta(ge=0, le=BIGGEST)]
Namespace = tuple[str, ...]


class EventsWanted(msgspec.Struct, frozen=True):
    """What a client wants to hear of (`langchain_protocol.EventStreamRequest`)."""

    channels: list[str] | None = None
    namespaces: list[Namespace] | None = None
    depth: Annotated[int, msgspec.Meta(ge=0)] | None = None
    since: Seq | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """Says of each event whether it was asked for."""

    channels: frozenset[str]
    names: frozenset[str] = frozenset()
    """The custom channels named."""
    prefixes: tuple[Namespace, ...] = ((),)
    depth: int | None = None
    """Levels below a prefix that are still wanted; `None`: all."""

    def matches(self, frame: Frame) -> bool:
        """Whether the listener gets this event."""
        return self._in_channel(frame) and self._in_reach(frame.namespace)

    def _in_channel(self, frame: Frame) -> bool:
        if channel(frame.event) in self.channels:
            return True
        return bool(self.names) and frame.event == "custom" and _name(frame.data) in self.names

    def _in_reach(self, namespace: Namespace) -> bool:
        return any(
            is_within(namespace, prefix) and (self.depth is None or len(namespace) - len(prefix) <= self.depth)
            for prefix in self.prefixes
        )


def to_filter(wanted: EventsWanted) -> Filter:
    """Raises `Impossible` when no channel is named, or one that does not exist."""
    if not wanted.channels:
        raise Impossible("channels is required and must be a non-empty array")
    for each in wanted.channels:
        if each not in CHANNELS and not (each.startswith(NAMED) and each != NAMED):
            raise Impossible(f"unsupported channel: '{each}'; allowed are {', '.join(CHANNELS)} and custom:<name>")
    return Filter(
        channels=frozenset(wanted.channels).intersection(CHANNELS),
        names=frozenset(each.removeprefix(NAMED) for each in wanted.channels if each.startswith(NAMED)),
        prefixes=tuple(wanted.namespaces or ((),)),
        depth=wanted.depth,
    )


def channel(method: str) -> str:
    """The channel an event's method belongs to."""
    return method.partition(".")[0]


def is_within(namespace: Namespace, prefix: Namespace) -> bool:
    """Whether a namespace is a prefix or lies below it. A part `name` stands for every `name:task_id`."""
    if len(namespace) < len(prefix):
        return False
    return all(part in (own, own.partition(":")[0]) for own, part in zip(namespace, prefix, strict=False))


class _Named(msgspec.Struct):
    name: Any = None


def _name(data: bytes) -> Any:
    """The name a custom event carries; `None` if it carries none."""
    try:
        name = msgspec.json.decode(data, type=_Named).name
    except msgspec.MsgspecError:
        return None
    return name if isinstance(name, str) else None
