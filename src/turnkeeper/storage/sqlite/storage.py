"""Everything the server keeps, on one SQLite file."""

import sqlite3
import time

from langgraph.store.base import TTLConfig

from turnkeeper.storage.sqlite import endings, slots
from turnkeeper.storage.sqlite.assistants import SqliteAssistants
from turnkeeper.storage.sqlite.checkpoints import SqliteSaver
from turnkeeper.storage.sqlite.crons import SqliteCrons
from turnkeeper.storage.sqlite.database import Database
from turnkeeper.storage.sqlite.deferred import DeferredWrites
from turnkeeper.storage.sqlite.edits import Edit
from turnkeeper.storage.sqlite.events import SqliteEvents
from turnkeeper.storage.sqlite.items import SqliteStore
from turnkeeper.storage.sqlite.retention import Retention
from turnkeeper.storage.sqlite.runs import SqliteRuns
from turnkeeper.storage.sqlite.threads import SqliteThreads
from turnkeeper.types import NO_LIMITS, Claimed, Clock, Limits


class SqliteStorage:
    """Implements `contracts.Storage`."""

    def __init__(
        self, path: str, clock: Clock = time.time, *, limits: Limits = NO_LIMITS, ttl: TTLConfig | None = None
    ) -> None:
        """`path` is a file or `:memory:`; `ttl` says how long items of the store live."""
        self.clock = clock
        self.leases = None
        self._database = Database(path)
        self._saver = SqliteSaver(self._database)
        self._failures: dict[str, BaseException] = {}
        self.runs = SqliteRuns(self._database, clock, self._failures)
        self.threads = SqliteThreads(self._database, clock)
        self.assistants = SqliteAssistants(self._database, clock)
        self.crons = SqliteCrons(self._database, clock)
        self.items = SqliteStore(self._database, clock, ttl)
        self.events = SqliteEvents(self._database)
        self._retention = Retention(self._database)
        self._limits = limits

    def run_checkpointer(self, claimed: Claimed, *, deferred: bool, author: str | None = None) -> SqliteSaver:
        """See the contract."""
        run_id, attempt = claimed.run_id, claimed.attempt

        def guard(connection: sqlite3.Connection) -> None:
            endings.owned(connection, run_id, attempt)

        writes = DeferredWrites(self._database, run_id, self._failures, fresh=claimed.fresh) if deferred else None
        return self._saver.for_run(author or run_id, guard, writes)

    def thread_checkpointer(self, thread_id: str) -> SqliteSaver:
        """See the contract."""
        edit = Edit(thread_id)
        return SqliteSaver(self._database, guard=edit.guard, look=edit.look, wrote=edit.wrote)

    async def purge(self, now: float) -> int:
        """See the contract."""
        return await self._retention.purge(now) + await self.items.sweep(now)

    def open(self) -> None:
        """See the contract."""
        self._database.open()
        self._database.write_sync(lambda connection: slots.limit(connection, self._limits))

    def close(self) -> None:
        """See the contract."""
        self._database.close()
