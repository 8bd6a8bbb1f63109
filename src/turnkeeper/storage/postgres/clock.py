"""The time that all servers on one database go by: the database's. Their own clocks may differ by minutes."""

import time

from psycopg import Connection

from turnkeeper.storage.postgres.statements import load
from turnkeeper.types import Clock

SQL = load("schema")


class SharedClock:
    """Seconds since the epoch as the database counts them. It is read from any thread, without asking the database."""

    def __init__(self, own: Clock = time.monotonic) -> None:
        """`own` is a clock of this machine; by default the one that nobody sets."""
        self._own = own
        self._ahead = 0.0

    def __call__(self) -> float:
        """Now."""
        return self._own() + self._ahead

    def adjust(self, connection: Connection) -> None:
        """Compare with the database, whose answer is taken for that of half the way there and back."""
        asked = self._own()
        [(there,)] = connection.execute(SQL.time).fetchall()
        self._ahead = there - (asked + self._own()) / 2
