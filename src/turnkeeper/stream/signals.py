"""Signals within one process."""

from collections.abc import Sequence

from turnkeeper.contracts import Signals
from turnkeeper.types import Claimed


class LocalSignals:
    """Implements `contracts.Signals` for the worker of the same process, which connects itself."""

    def __init__(self) -> None:
        self._worker: Signals | None = None

    def connect(self, worker: Signals) -> None:
        """Name who listens; it is called from any thread."""
        self._worker = worker

    def reserve(self) -> bool:
        """See the contract."""
        return self._worker is not None and self._worker.reserve()

    def hand_over(self, claimed: Claimed | None) -> None:
        """See the contract."""
        if self._worker is not None:
            self._worker.hand_over(claimed)

    def wake(self) -> None:
        """See the contract."""
        if self._worker is not None:
            self._worker.wake()

    def cancel(self, run_ids: Sequence[str]) -> None:
        """See the contract."""
        if self._worker is not None and run_ids:
            self._worker.cancel(run_ids)
