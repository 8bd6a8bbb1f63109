"""What goes between API and workers."""

from collections.abc import Sequence
from typing import Protocol

from turnkeeper.types import Claimed


class Signals(Protocol):
    """Between API and workers. All but `hand_over` are hints: a lost one costs time, never truth."""

    def reserve(self) -> bool:
        """Take a free place of a worker in this process, if there is one. From any thread."""
        ...

    def hand_over(self, claimed: Claimed | None) -> None:
        """Start a run on a place reserved before, or give the place back. From any thread."""
        ...

    def wake(self) -> None:
        """There may be a run to claim."""
        ...

    def cancel(self, run_ids: Sequence[str]) -> None:
        """These runs were asked to stop; whoever executes them should look."""
        ...
