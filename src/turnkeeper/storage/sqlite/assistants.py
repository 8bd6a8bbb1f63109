"""Assistants in SQLite."""

import sqlite3
from typing import Any

import msgspec

from turnkeeper.codec import decode, text
from turnkeeper.errors import Conflict, NotFound
from turnkeeper.storage import rows
from turnkeeper.storage.queries import load
from turnkeeper.storage.sqlite.database import Database
from turnkeeper.storage.sqlite.threads import search
from turnkeeper.types import Assistant, AssistantVersion, Clock, Page, Select, timestamp

SQL = load("sqlite", "assistants")


class SqliteAssistants:
    """Implements `contracts.AssistantStore`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def create(self, assistant: Assistant, *, exist_ok: bool) -> Assistant:
        """See the contract."""
        now = timestamp(self._clock())

        def job(connection: sqlite3.Connection) -> Assistant:
            parameters = {**_columns(assistant), "now": now}
            if connection.execute(SQL.insert_assistant, parameters).fetchone() is not None:
                connection.execute(SQL.insert_version, parameters)
            elif not exist_ok:
                raise Conflict(f"Assistant with ID {assistant.assistant_id} already exists")
            return fetch(connection, assistant.assistant_id)

        return await self._database.write(job)

    async def get(self, assistant_id: str) -> Assistant:
        """See the contract."""
        return await self._database.read(lambda connection: fetch(connection, assistant_id))

    async def update(self, assistant_id: str, changes: dict[str, Any]) -> Assistant:
        """See the contract."""
        now = timestamp(self._clock())

        def job(connection: sqlite3.Connection) -> Assistant:
            old = fetch(connection, assistant_id)
            merged = text({**decode(old.metadata), **changes.get("metadata", {})})
            (version,) = connection.execute(SQL.next_version, {"assistant_id": assistant_id}).fetchone()
            parameters = {**_columns(old), **changes, "metadata": merged, "version": version, "now": now}
            connection.execute(SQL.update_assistant, parameters)
            connection.execute(SQL.insert_version, {"assistant_id": assistant_id})
            return fetch(connection, assistant_id)

        return await self._database.write(job)

    async def versions(
        self, assistant_id: str, *, metadata: str | None, limit: int, offset: int
    ) -> list[AssistantVersion]:
        """See the contract."""
        parameters = {"assistant_id": assistant_id, "metadata": metadata, "limit": limit, "offset": offset}

        def look(connection: sqlite3.Connection) -> list[AssistantVersion]:
            fetch(connection, assistant_id)
            return [rows.assistant_version(row) for row in connection.execute(SQL.list_versions, parameters)]

        return await self._database.read(look)

    async def restore(self, assistant_id: str, version: int) -> Assistant:
        """See the contract."""
        parameters = {"assistant_id": assistant_id, "version": version, "now": timestamp(self._clock())}

        def job(connection: sqlite3.Connection) -> Assistant:
            fetch(connection, assistant_id)
            if connection.execute(SQL.restore_version, parameters).fetchone() is None:
                raise NotFound(f"Assistant with ID {assistant_id} has no version {version}")
            return fetch(connection, assistant_id)

        return await self._database.write(job)

    async def delete(self, assistant_id: str) -> None:
        """See the contract."""

        def job(connection: sqlite3.Connection) -> None:
            if connection.execute(SQL.delete_assistant, {"assistant_id": assistant_id}).fetchone() is None:
                raise _missing(assistant_id)

        await self._database.write(job)

    async def threads(self, assistant_id: str) -> list[str]:
        """See the contract."""
        found = await self._database.read(
            lambda connection: connection.execute(SQL.threads_of_assistant, {"assistant_id": assistant_id}).fetchall()
        )
        return [row[0] for row in found]

    async def search(self, filters: dict[str, Any], select: Select) -> Page:
        """See the contract."""
        parameters = {**_NO_FILTERS, **filters, **msgspec.structs.asdict(select)}
        return await self._database.read(search(SQL.search_assistants, parameters, rows.assistant))

    async def count(self, filters: dict[str, Any]) -> int:
        """See the contract."""
        parameters = {**_NO_FILTERS, **filters}
        found = await self._database.read(
            lambda connection: connection.execute(SQL.count_assistants, parameters).fetchone()
        )
        return int(found[0])


_NO_FILTERS: dict[str, Any] = {"graph_id": None, "name": None, "metadata": None}


def fetch(connection: sqlite3.Connection, assistant_id: str) -> Assistant:
    """One assistant. Raises `NotFound`."""
    row = connection.execute(SQL.get_assistant, {"assistant_id": assistant_id}).fetchone()
    if row is None:
        raise _missing(assistant_id)
    return rows.assistant(row)


def _columns(assistant: Assistant) -> dict[str, Any]:
    columns = msgspec.structs.asdict(assistant)
    for name in ("config", "context", "metadata"):
        columns[name] = bytes(columns[name]).decode()
    return columns


def _missing(assistant_id: str) -> NotFound:
    return NotFound(f"Assistant with ID {assistant_id} not found")
