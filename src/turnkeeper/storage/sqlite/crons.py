"""Crons in SQLite."""

import sqlite3
from collections.abc import Callable
from typing import Any

import msgspec

from turnkeeper.contracts import Signals
from turnkeeper.errors import NotFound
from turnkeeper.storage import rows
from turnkeeper.storage.queries import load
from turnkeeper.storage.sqlite import assistants, threads
from turnkeeper.storage.sqlite.admission import Admission
from turnkeeper.storage.sqlite.database import Database
from turnkeeper.types import Admitted, Clock, Cron, Page, RunRequest, Select, timestamp

SQL = load("sqlite", "crons")


class SqliteCrons:
    """Implements `contracts.CronStore`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def create(self, cron: Cron) -> Cron:
        """See the contract."""
        now = timestamp(self._clock())
        made = msgspec.structs.replace(cron, created_at=now, updated_at=now)

        def job(connection: sqlite3.Connection) -> Cron:
            assistants.fetch(connection, cron.assistant_id)
            if cron.thread_id is not None:
                threads.fetch(connection, cron.thread_id)
            connection.execute(SQL.insert_cron, rows.cron_columns(made))
            return made

        return await self._database.write(job)

    async def get(self, cron_id: str) -> Cron:
        """See the contract."""
        return await self._database.read(lambda connection: _fetch(connection, cron_id))

    async def update(self, cron_id: str, change: Callable[[Cron], Cron]) -> Cron:
        """See the contract."""
        now = timestamp(self._clock())

        def job(connection: sqlite3.Connection) -> Cron:
            changed = change(_fetch(connection, cron_id))
            connection.execute(SQL.update_cron, {**rows.cron_columns(changed), "now": now})
            return _fetch(connection, cron_id)

        return await self._database.write(job)

    async def delete(self, cron_id: str) -> None:
        """See the contract."""

        def job(connection: sqlite3.Connection) -> None:
            if connection.execute(SQL.delete_cron, {"cron_id": cron_id}).fetchone() is None:
                raise _missing(cron_id)

        await self._database.write(job)

    async def search(self, filters: dict[str, Any], select: Select) -> Page:
        """See the contract."""
        parameters = {**_NO_FILTERS, **filters, **msgspec.structs.asdict(select)}
        return await self._database.read(threads.search(SQL.search_crons, parameters, rows.cron))

    async def count(self, filters: dict[str, Any]) -> int:
        """See the contract."""
        parameters = {**_NO_FILTERS, **filters}
        found = await self._database.read(lambda connection: connection.execute(SQL.count_crons, parameters).fetchone())
        return int(found[0])

    async def due(self, now: float, limit: int) -> list[Cron]:
        """See the contract."""
        asked = {"now": timestamp(now), "limit": limit}
        found = await self._database.read(lambda connection: connection.execute(SQL.due_crons, asked).fetchall())
        return [rows.cron(row) for row in found]

    async def next_due(self) -> str | None:
        """See the contract."""
        found = await self._database.read(lambda connection: connection.execute(SQL.next_tick).fetchone())
        return found[0]

    async def fire(self, cron: Cron, upcoming: str | None, request: RunRequest, signals: Signals) -> Admitted | None:
        """See the contract."""
        admission = Admission(signals, self._clock())

        def job(connection: sqlite3.Connection) -> list[Admitted]:
            return [admission.admit(connection, request)] if _advance(connection, cron, upcoming) else []

        admitted = await self._database.write(job, admission.done)
        return admitted[0] if admitted else None

    async def skip(self, cron: Cron, upcoming: str | None) -> bool:
        """See the contract."""
        return await self._database.write(lambda connection: _advance(connection, cron, upcoming))


_NO_FILTERS: dict[str, Any] = {"assistant_id": None, "thread_id": None, "enabled": None, "metadata": None}


def _fetch(connection: sqlite3.Connection, cron_id: str) -> Cron:
    row = connection.execute(SQL.get_cron, {"cron_id": cron_id}).fetchone()
    if row is None:
        raise _missing(cron_id)
    return rows.cron(row)


def _advance(connection: sqlite3.Connection, cron: Cron, upcoming: str | None) -> bool:
    """Name the next tick; False when the cron is not as it was any more."""
    known = {"cron_id": cron.cron_id, "tick": cron.next_run_date, "updated_at": cron.updated_at}
    return connection.execute(SQL.advance_cron, {**known, "upcoming": upcoming}).fetchone() is not None


def _missing(cron_id: str) -> NotFound:
    return NotFound(f"Cron with ID {cron_id} not found")
