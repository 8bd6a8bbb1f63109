"""Edits of a thread's state from outside its runs: each builds on what it has read, or is refused."""

import sqlite3

from turnkeeper.errors import Conflict
from turnkeeper.storage.preconditions import BUSY
from turnkeeper.storage.queries import load
from turnkeeper.storage.sqlite import threads

SQL = load("sqlite", "runs")
THREADS = load("sqlite", "threads")


class Edit:
    """One edit: what it has seen of its thread, compared with what is there whenever it writes."""

    def __init__(self, thread_id: str) -> None:
        self._thread = {"thread_id": thread_id}
        self._seen: tuple[int | None, str | None] | None = None

    def look(self, connection: sqlite3.Connection) -> None:
        """Note what the thread is; what was read first counts, as the edit builds on that."""
        if self._seen is None:
            self.wrote(connection)

    def guard(self, connection: sqlite3.Connection) -> None:
        """Raise `Conflict` while the thread is busy, and when somebody else has changed it since it was read.

        Raise `NotFound` when it was deleted meanwhile.
        """
        if connection.execute(THREADS.thread_head, self._thread).fetchone() is None:
            raise threads.missing(self._thread["thread_id"])
        if connection.execute(SQL.runs_of_thread, self._thread).fetchone() is not None:
            raise Conflict(BUSY)
        if self._seen is not None and self._seen != self._newest(connection):
            raise Conflict("The thread changed while its state was being edited. Read it and try again.")

    def wrote(self, connection: sqlite3.Connection) -> None:
        """Note what the thread is now: the change is the edit's own."""
        self._seen = self._newest(connection)

    def _newest(self, connection: sqlite3.Connection) -> tuple[int | None, str | None]:
        return connection.execute(SQL.newest_change, self._thread).fetchone()
