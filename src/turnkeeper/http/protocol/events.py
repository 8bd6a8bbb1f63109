"""A thread's events as they go over the wire."""

from collections.abc import Mapping, Sequence

import msgspec

from turnkeeper.contracts import Frame, Subscription
from turnkeeper.http.sse import EventsResponse, event
from turnkeeper.services.protocol.filters import Filter
from turnkeeper.services.protocol.late import interrupt_id, root_event


def envelope(frame: Frame) -> bytes:
    """An event around its data, which was encoded when it was told."""
    node = b"" if frame.node is None else b',"node":' + msgspec.json.encode(frame.node)
    return (
        b'{"type":"event","event_id":%b,"seq":%d,"method":"%b","params":{"namespace":%b,"timestamp":%d,"data":%b%b}}'
        % (
            msgspec.json.encode(event_id(frame)),
            frame.seq,
            frame.event.encode(),
            msgspec.json.encode(frame.namespace),
            frame.seq // 1000,
            frame.data,
            node,
        )
    )


def event_id(frame: Frame) -> str:
    """What clients know an event by when they hear it again.

    The JavaScript client takes a run's id from here. What is only told to a listener who comes late has the id that
    the event itself would have.
    """
    if (said := root_event(frame)) is not None:
        return f"synth:{frame.run_id}:lc||{said}"
    if (interrupt := interrupt_id(frame)) is not None:
        return f"synth:{frame.run_id}:input|{'|'.join(frame.namespace)}|{interrupt}"
    return str(frame.seq)


class ProtocolStream(EventsResponse):
    """A thread's events as they come (`text/event-stream`). It ends only when the client leaves or the server stops."""

    def __init__(self, subscription: Subscription, headers: Mapping[str, str], wanted: Filter) -> None:
        super().__init__(subscription, headers)
        self._wanted = wanted

    async def _rendered(self, frames: Sequence[Frame]) -> bytes:
        return b"".join(
            [event(frame.event, envelope(frame), frame.seq) for frame in frames if self._wanted.matches(frame)]
        )
