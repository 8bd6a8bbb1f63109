"""Runs that are claimed in the transaction that admits them, on their way to the workers of this process."""

from turnkeeper.contracts import Signals
from turnkeeper.types import Claimed


class HandOver:
    """What one transaction's admissions mean for the workers, told once it is on disk."""

    def __init__(self, signals: Signals) -> None:
        self._signals = signals
        self._reserved = 0
        self._claimed: list[Claimed] = []
        self._waiting = False

    def reserve(self) -> bool:
        """Take a free place of a worker, if there is one."""
        reserved = self._signals.reserve()
        self._reserved += reserved
        return reserved

    def start(self, claimed: Claimed) -> None:
        """A run has been claimed for a reserved place."""
        self._claimed.append(claimed)

    def wait(self) -> None:
        """A run has been put in its queue."""
        self._waiting = True

    def done(self, *, written: bool) -> None:
        """Once it is on disk: hand over what was claimed, wake workers for the rest. If it is not, give all back."""
        for claimed in self._claimed:
            self._signals.hand_over(claimed if written else None)
        for _ in range(self._reserved - len(self._claimed)):  # whose run could not be written
            self._signals.hand_over(None)
        if self._waiting and written:
            self._signals.wake()
