"""What an attempt tells those who listen, in the two dialects of the wire. Nothing is encoded for nobody."""

from collections.abc import Sequence
from typing import Any

from turnkeeper.codec import encode
from turnkeeper.contracts import EventLog, Told
from turnkeeper.types import Claimed


class _Dialect:
    """One dialect of one run."""

    protocol: bool

    def __init__(self, events: EventLog, claimed: Claimed, *, durable: bool) -> None:
        self._events = events
        self._thread_id = claimed.thread_id
        self._run_id = claimed.run_id
        self._durable = durable

    def wanted(self) -> bool:
        """Whether anybody would read what is told."""
        return self._durable or self._events.wanted(self._thread_id, self._run_id, protocol=self.protocol)

    def _tell(self, event: str, data: Any, namespace: tuple[str, ...] = (), node: str | None = None) -> None:
        if self.wanted():
            told = Told(
                self._thread_id,
                self._run_id,
                event,
                encode(data),
                namespace,
                node,
                protocol=self.protocol,
                durable=self._durable,
            )
            self._events.append(told)


class RunStream(_Dialect):
    """The events of the run's own stream."""

    protocol = False

    def __call__(self, event: str, data: Any) -> None:
        """Tell one event."""
        self._tell(event, data)


class Protocol(_Dialect):
    """The events of the thread-centric protocol; implements `graphs.protocol.tell.Tell`."""

    protocol = True

    def __call__(self, method: str, namespace: Sequence[str], data: Any, node: str | None = None) -> None:
        """Tell one event."""
        self._tell(method, data, tuple(namespace), node)
