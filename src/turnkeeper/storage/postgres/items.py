"""The LangGraph store on our pool: the library's own, on our threads."""

from collections.abc import Iterable
from typing import cast

import structlog
from langgraph.checkpoint.postgres import Conn
from langgraph.store.base import Op, Result, TTLConfig
from langgraph.store.postgres import PostgresStore
from langgraph.store.postgres.base import PostgresIndexConfig
from psycopg import Connection

from turnkeeper.storage.postgres import migrations
from turnkeeper.storage.postgres.database import Database, translated
from turnkeeper.storage.postgres.statements import load

log = structlog.get_logger()

SQL = load("items")


class Items(PostgresStore):
    """What graphs remember across threads."""

    def __init__(
        self, database: Database, *, index: PostgresIndexConfig | None = None, ttl: TTLConfig | None = None
    ) -> None:
        """With `index` items are found by their meaning, where the database has pgvector."""
        super().__init__(cast("Conn", database.pool), index=index, ttl=ttl)
        self._database = database

    def open(self) -> None:
        """Make the index ready. Only where there is one: the tables of the store itself are made with ours."""
        if self.index_config is None:
            return
        if not self._database.call(lambda connection: connection.execute(SQL.has_pgvector).fetchall()):
            log.warning("the database has no pgvector: searches of the store do not go by meaning")
            self.index_config = self.embeddings = None
            return
        self._database.call(self._set_up)

    def _set_up(self, connection: Connection) -> None:
        with migrations.turn(connection):
            self.setup()  # on a connection of its own

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Carry out operations together, blocking the thread."""
        with translated():
            return super().batch(ops)

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Carry out operations together. Never on the loop's own threads: those are for the nodes of graphs."""
        return await self._database.on_thread(lambda: self.batch(ops))

    async def sweep(self, now: float) -> int:
        """Remove what has expired at `now` (seconds since the epoch); how many items that were.

        Reads leave out by the database's clock what has expired.
        """
        return await self._database.drain(SQL.sweep_items, {"now": now})
