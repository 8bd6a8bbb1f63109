"""The LangGraph store on our pool: the library's own, on our threads."""

from collections.abc import Iterable
from typing import cast

from langgraph.checkpoint.postgres import Conn
from langgraph.store.base import Op, Result
from langgraph.store.postgres import PostgresStore

from turnkeeper.storage.postgres.database import Database, translated
from turnkeeper.storage.postgres.statements import load

SQL = load("items")


class Items(PostgresStore):
    """What graphs remember across threads."""

    def __init__(self, database: Database) -> None:
        super().__init__(cast("Conn", database.pool))
        self._database = database

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
