"""Edits of a thread's state from outside its runs: each builds on what it has read, or is refused."""

from psycopg import Connection

from turnkeeper.errors import Conflict
from turnkeeper.storage.postgres import threads
from turnkeeper.storage.postgres.statements import load
from turnkeeper.storage.preconditions import BUSY

SQL = load("runs")


class Edit:
    """One edit: what it has seen of its thread, compared with what is there whenever it writes."""

    def __init__(self, thread_id: str) -> None:
        self._thread_id = thread_id
        self._thread = {"thread_id": thread_id, "limit": 1}
        self._seen: tuple[int | None, str | None] | None = None

    def look(self, connection: Connection) -> None:
        """Note what the thread is; what was read first counts, as the edit builds on that."""
        if self._seen is None:
            self.wrote(connection)

    def guard(self, connection: Connection) -> None:
        """Raise `Conflict` while the thread is busy, and when somebody else has changed it since it was read.

        Raise `NotFound` when it was deleted meanwhile. Until the transaction ends no run of the thread is admitted or
        starts.
        """
        if connection.execute(SQL.lock_thread, self._thread).fetchone() is None:
            raise threads.missing(self._thread_id)
        if connection.execute(SQL.runs_of_thread, self._thread).fetchone() is not None:
            raise Conflict(BUSY)
        if self._seen is not None and self._seen != self._newest(connection):
            raise Conflict("The thread changed while its state was being edited. Read it and try again.")

    def wrote(self, connection: Connection) -> None:
        """Note what the thread is now: the change is the edit's own."""
        self._seen = self._newest(connection)

    def _newest(self, connection: Connection) -> tuple[int | None, str | None]:
        [(move, checkpoint_id)] = connection.execute(SQL.newest_change, self._thread).fetchall()
        return move, checkpoint_id
