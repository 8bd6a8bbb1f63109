"""Signals between processes.

A run is one worker's to take: one of those that were heard of lately is to look for it at once, the others a moment
later and once for all that came meanwhile. So the database is not asked by every worker for every run.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from functools import partial

import msgspec

from turnkeeper.contracts import Signals
from turnkeeper.stream.signals import LocalSignals
from turnkeeper.stream.way import Switchboard
from turnkeeper.types import Claimed

WAKE, CANCEL, HERE = "wake", "cancel", "here"

HERE_EVERY = 2.0
"""Seconds between two signs of a worker that it listens."""

SILENT = 5.0
"""Seconds without one after which it is not counted on."""

LATER = (0.05, 0.15)
"""Seconds after which, at random, workers look for a run that another one was to look for."""

AT_ONCE = 100
"""Runs that are named in one message."""


class BroadcastSignals:
    """Implements `contracts.Signals`: hints go to all workers, those of this process hear them at once."""

    def __init__(self, bus: Switchboard) -> None:
        self._bus = bus
        self._local = LocalSignals()
        self._waking = False
        self._looking = False
        self._hears = False
        self._workers: dict[str, float] = {}
        bus.watch(on_up=self._up, on_down=lambda: None)

    def connect(self, worker: Signals) -> None:
        """Name who listens in this process; it is called from any thread. On the bus's loop."""
        self._local.connect(worker)
        self._bus.hear(WAKE, self._hear_wake)
        self._bus.hear(CANCEL, self._hear_cancel)
        self._say_here()

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

    def _up(self) -> None:
        if not self._hears:
            self._hears = True
            self._bus.hear(HERE, self._hear_here)
        self._local.wake()

    def _say_here(self) -> None:
        self._bus.say(HERE, self._bus.name)
        asyncio.get_running_loop().call_later(HERE_EVERY, self._say_here)

    def _hear_here(self, message: bytes) -> None:
        if message != self._bus.name.encode():
            self._workers[message.decode()] = time.monotonic()

    def _say_wake(self) -> None:
        self._waking = False
        self._bus.say(WAKE, f"{self._bus.name} {self._choose()}")

    def _choose(self) -> str:
        """Another process with a worker; none if none is known."""
        since = time.monotonic() - SILENT
        self._workers = {name: heard for name, heard in self._workers.items() if heard > since}
        return random.choice([*self._workers]) if self._workers else ""  # noqa: S311 - they are alike

    def _hear_wake(self, message: bytes) -> None:
        sender, _, chosen = message.decode().partition(" ")
        if sender == self._bus.name:
            return
        if chosen in ("", self._bus.name):
            self._local.wake()
        elif not self._looking:
            self._looking = True
            delay = random.uniform(*LATER)  # noqa: S311 - they shall not come all at once
            asyncio.get_running_loop().call_later(delay, self._look)

    def _look(self) -> None:
        self._looking = False
        self._local.wake()

    def _hear_cancel(self, message: bytes) -> None:
        name, *run_ids = msgspec.json.decode(message, type=list[str])
        if name != self._bus.name:
            self._local.cancel(run_ids)
