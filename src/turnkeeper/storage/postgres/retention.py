"""What is removed with time: bit by bit, so that nobody waits long for a lock."""

from turnkeeper.storage.postgres.database import Database
from turnkeeper.storage.postgres.statements import load
from turnkeeper.types import timestamp

SQL = load("retention")

HOUR = 3600.0
DAY = 24 * HOUR

KEEP_KEYS = DAY
"""Seconds an idempotency key is known."""

KEEP_JOURNAL = 7 * DAY
"""Seconds the journal of a thread that no longer exists is kept after its last row."""

PAGE = 5000
"""Threads of the journal looked at per purge: the next purge goes on behind them."""


class Retention:
    """The purges of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen = ""
        """The last thread of the journal that was looked at."""

    async def purge(self, now: float) -> int:
        """Remove what was kept long enough at `now` (seconds since the epoch); how many rows that were."""
        removed = await self._database.drain(SQL.purge_keys, {"before": timestamp(now - KEEP_KEYS)})
        return removed + await self._forget_threads(timestamp(now - KEEP_JOURNAL))

    async def _forget_threads(self, before: str) -> int:
        """Remove what the journal tells of threads that are gone, of the next page of threads."""
        page = {"after": self._seen, "most": PAGE, "before": before}
        found = await self._database.run(lambda connection: connection.execute(SQL.journal_threads, page).fetchall())
        self._seen = found[-1][0] if len(found) == PAGE else ""
        gone = [thread_id for thread_id, is_gone in found if is_gone]
        return await self._database.drain(SQL.purge_journal, {"thread_ids": gone}) if gone else 0
