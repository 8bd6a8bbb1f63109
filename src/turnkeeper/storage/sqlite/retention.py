"""What is removed with time: bit by bit, so that the runs never wait long for their turn to write."""

import sqlite3
from collections.abc import Mapping

from turnkeeper.codec import text
from turnkeeper.storage.queries import load
from turnkeeper.storage.sqlite.database import Database
from turnkeeper.types import timestamp

SQL = load("sqlite", "retention")

HOUR = 3600.0
DAY = 24 * HOUR

KEEP_KEYS = DAY
"""Seconds an idempotency key is known."""

KEEP_JOURNAL = 7 * DAY
"""Seconds the journal of a thread that no longer exists is kept after its last row."""

MOST = 500
"""Rows removed per transaction."""

PAGE = 5000
"""Threads of the journal looked at per purge, on a reader: the next purge goes on behind them."""

TOO_OLD = ((SQL.purge_keys, KEEP_KEYS),)
"""Tables whose rows only grow old get a line here: a statement and how many seconds it leaves rows alone.

It removes up to `:most` rows written before `:before`, a timestamp; `:seconds` is the same as seconds since the epoch.
"""


class Retention:
    """The purges of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen = ""
        """The last thread of the journal that was looked at."""

    async def purge(self, now: float) -> int:
        """Remove what was kept long enough at `now` (seconds since the epoch); how many rows that were."""
        removed = 0
        for statement, keep in TOO_OLD:
            before = {"before": timestamp(now - keep), "seconds": now - keep}
            removed += await self._remove(statement, before)
        return removed + await self._forget_threads(timestamp(now - KEEP_JOURNAL))

    async def _forget_threads(self, before: str) -> int:
        """Remove what the journal tells of threads that are gone, of the next page of threads."""
        page = {"after": self._seen, "most": PAGE, "before": before}
        found = await self._database.read(lambda connection: connection.execute(SQL.journal_threads, page).fetchall())
        self._seen = found[-1][0] if len(found) == PAGE else ""
        gone = [thread_id for thread_id, is_gone in found if is_gone]
        return await self._remove(SQL.purge_journal, {"thread_ids": text(gone)}) if gone else 0

    async def _remove(self, statement: str, parameters: Mapping[str, object]) -> int:
        """Repeat a statement that removes up to `:most` rows until none is left."""

        def job(connection: sqlite3.Connection) -> int:
            return connection.execute(statement, {**parameters, "most": MOST}).rowcount

        removed = last = await self._database.write(job)
        while last == MOST:
            last = await self._database.write(job)
            removed += last
        return removed
