"""Crons in PostgreSQL."""

from collections.abc import Callable
from typing import Any

import msgspec
from psycopg import Connection

from turnkeeper.contracts import Signals
from turnkeeper.errors import NotFound
from turnkeeper.storage import rows
from turnkeeper.storage.postgres import assistants, filters, threads
from turnkeeper.storage.postgres.admission import admitting
from turnkeeper.storage.postgres.database import Database
from turnkeeper.storage.postgres.leases import Lease
from turnkeeper.storage.postgres.statements import load
from turnkeeper.types import Admitted, Clock, Cron, Page, RunRequest, Select, timestamp

SQL = load("crons")
RUNS = load("runs")


class PostgresCrons:
    """Implements `contracts.CronStore`."""

    def __init__(self, database: Database, clock: Clock, lease: Lease) -> None:
        """`lease`: of the workers of this process."""
        self._database = database
        self._clock = clock
        self._lease = lease

    async def create(self, cron: Cron) -> Cron:
        """See the contract."""
        now = timestamp(self._clock())
        made = msgspec.structs.replace(cron, created_at=now, updated_at=now)
        columns = rows.cron_columns(made)

        def job(connection: Connection) -> Cron:
            if cron.thread_id is not None and connection.execute(SQL.keep_thread, columns).fetchone() is None:
                raise threads.missing(cron.thread_id)
            if connection.execute(SQL.keep_assistant, columns).fetchone() is None:
                raise assistants.missing(cron.assistant_id)
            connection.execute(SQL.insert_cron, columns)
            return made

        return await self._database.transact(job)

    async def get(self, cron_id: str) -> Cron:
        """See the contract."""
        return await self._database.run(lambda connection: _fetch(connection, cron_id))

    async def update(self, cron_id: str, change: Callable[[Cron], Cron]) -> Cron:
        """See the contract."""
        now = timestamp(self._clock())

        def job(connection: Connection) -> Cron:
            connection.execute(SQL.lock_cron, {"cron_id": cron_id})
            changed = change(_fetch(connection, cron_id))
            connection.execute(SQL.update_cron, {**rows.cron_columns(changed), "now": now})
            return _fetch(connection, cron_id)

        return await self._database.transact(job)

    async def delete(self, cron_id: str) -> None:
        """See the contract."""
        named = {"cron_id": cron_id}
        if await self._database.run(lambda connection: connection.execute(SQL.delete_cron, named).fetchone()) is None:
            raise _missing(cron_id)

    async def search(self, filters: dict[str, Any], select: Select) -> Page:
        """See the contract."""
        return await self._database.run(threads.search(SQL.search_crons, _sought(filters, select), rows.cron))

    async def count(self, filters: dict[str, Any]) -> int:
        """See the contract."""
        sought = _sought(filters)
        found = await self._database.run(lambda connection: connection.execute(SQL.count_crons, sought).fetchall())
        return found[0][0]

    async def due(self, now: float, limit: int) -> list[Cron]:
        """See the contract."""
        asked = {"now": timestamp(now), "limit": limit}
        found = await self._database.run(lambda connection: connection.execute(SQL.due_crons, asked).fetchall())
        return [rows.cron(row) for row in found]

    async def next_due(self) -> str | None:
        """See the contract."""
        [(tick,)] = await self._database.run(lambda connection: connection.execute(SQL.next_tick).fetchall())
        return tick

    async def fire(self, cron: Cron, upcoming: str | None, request: RunRequest, signals: Signals) -> Admitted | None:
        """See the contract."""

        def first(connection: Connection) -> bool:
            if cron.thread_id is not None:  # before the cron, as whoever deletes the thread does
                connection.execute(RUNS.lock_thread, {"thread_id": cron.thread_id})
            return _advance(connection, cron, upcoming)

        admission = admitting([request], signals, self._lease, self._clock(), only_if=first)
        admitted = await self._database.transact(*admission)
        return admitted[0] if admitted else None

    async def skip(self, cron: Cron, upcoming: str | None) -> bool:
        """See the contract."""
        return await self._database.run(lambda connection: _advance(connection, cron, upcoming))


def _sought(given: dict[str, Any], select: Select | None = None) -> dict[str, Any]:
    none = {"assistant_id": None, "thread_id": None, "enabled": None, "metadata": None}
    return {**none, **filters.parameters(given), **(msgspec.structs.asdict(select) if select else {})}


def _fetch(connection: Connection, cron_id: str) -> Cron:
    row = connection.execute(SQL.get_cron, {"cron_id": cron_id}).fetchone()
    if row is None:
        raise _missing(cron_id)
    return rows.cron(row)


def _advance(connection: Connection, cron: Cron, upcoming: str | None) -> bool:
    """Name the next tick; False when the cron is not as it was any more."""
    known = {"cron_id": cron.cron_id, "tick": cron.next_run_date, "updated_at": cron.updated_at}
    return connection.execute(SQL.advance_cron, {**known, "upcoming": upcoming}).fetchone() is not None


def _missing(cron_id: str) -> NotFound:
    return NotFound(f"Cron with ID {cron_id} not found")
