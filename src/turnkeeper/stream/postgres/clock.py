"""The one clock of all processes: that of the database."""

import time

from turnkeeper.types import Clock


class DatabaseClock:
    """What this process knows of it. Microseconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead: float | None = None
        self.newest = 0
        """The greatest `seq` this process knows of."""

    def heard(self, now: int) -> None:
        """The database has just said what the time is."""
        self._ahead = now - time.monotonic() * 1_000_000

    def met(self, seq: int) -> None:
        """There is such a number."""
        self.newest = max(self.newest, seq)

    def now(self) -> int:
        """The time there, not above it; as far as it was never heard of, this machine's."""
        if self._ahead is None:
            return int(self._clock() * 1_000_000)
        return int(time.monotonic() * 1_000_000 + self._ahead)

    def moment(self) -> int:
        """A number above all that are known, and not above those given from now on."""
        return max(self.newest, self.now())
