"""Signals between processes."""

from collections.abc import Sequence
from functools import partial

import msgspec

from turnkeeper.contracts import Signals
from turnkeeper.stream.signals import LocalSignals
from turnkeeper.stream.way import Switchboard
from turnkeeper.types import Claimed

WAKE, CANCEL = "wake", "cancel"

AT_ONCE = 100
"""Runs that are named in one message."""


class BroadcastSignals:
    """Implements `contracts.Signals`: hints go to all workers, those of this process hear them at once."""

    def __init__(self, bus: Switchboard) -> None:
        self._bus = bus
        self._local = LocalSignals()
        self._waking = False
        bus.watch(on_up=self._local.wake, on_down=lambda: None)

    def connect(self, worker: Signals) -> None:
        """Name who listens in this process; it is called from any thread. On the bus's loop."""
        self._local.connect(worker)
        self._bus.hear(WAKE, self._hear_wake)
        self._bus.hear(CANCEL, self._hear_cancel)

    def reserve(self) -> bool:
        """See the contract."""
        return self._local.reserve()

    def hand_over(self, claimed: Claimed | None) -> None:
        """See the contract."""
        self._local.hand_over(claimed)

    def wake(self) -> None:
        """See the contract. Many share one message."""
        self._local.wake()
        if not self._waking:
            self._waking = True
            self._bus.call(self._say_wake)

    def cancel(self, run_ids: Sequence[str]) -> None:
        """See the contract."""
        self._local.cancel(run_ids)
        for first in range(0, len(run_ids), AT_ONCE):
            message = msgspec.json.encode([self._bus.name, *run_ids[first : first + AT_ONCE]])
            self._bus.call(partial(self._bus.say, CANCEL, message))

    def _say_wake(self) -> None:
        self._waking = False
        self._bus.say(WAKE, self._bus.name)

    def _hear_wake(self, message: bytes) -> None:
        if message != self._bus.name.encode():
            self._local.wake()

    def _hear_cancel(self, message: bytes) -> None:
        name, *run_ids = msgspec.json.decode(message, type=list[str])
        if name != self._bus.name:
            self._local.cancel(run_ids)
