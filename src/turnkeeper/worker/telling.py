"""What an attempt tells those who listen, in the two dialects of the wire. Nothing is encoded for nobody."""

from collections.abc import Sequence
from typing import Any

from turnkeeper.codec import encode
from turnkeeper.contracts import EventLog, Told
from turnkeeper.types import Claimed


class RunStream:
    """The events of the run's own stream."""

    def __init__(self, events: EventLog, claimed: Claimed, *, durable: bool) -> None:
        self._events = events
        self._thread_id = claimed.thread_id
        self._run_id = claimed.run_id
        self._durable = durable

    def __call__(self, event: str, data: Any) -> None:
        """Tell one event."""
        if self._durable or self._events.wanted(self._thread_id, self._run_id, protocol=False):
            told = Told(self._thread_id, self._run_id, event, encode(data), durable=self._durable)
            self._events.append(told)


class Protocol:
    """The events of the thread-centric protocol; implements `graphs.protocol.tell.Tell`."""

    def __init__(self, events: EventLog, claimed: Claimed, *, durable: bool) -> None:
        self._events = events
        self._thread_id = claimed.thread_id
        self._run_id = claimed.run_id
        self._durable = durable

    def wanted(self) -> bool:
        """Whether anybody would read them."""
        return self._durable or self._events.wanted(self._thread_id, self._run_id, protocol=True)

    def __call__(self, method: str, namespace: Sequence[str], data: Any, node: str | None = None) -> None:
        """Tell one event."""
        if self.wanted():
            told = Told(
                self._thread_id,
                self._run_id,
                method,
                encode(data),
                tuple(namespace),
                node,
                protocol=True,
                durable=self._durable,
            )
            self._events.append(told)
