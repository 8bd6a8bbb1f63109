"""Assistants in PostgreSQL."""

from typing import Any

import msgspec
from psycopg import Connection

from turnkeeper.codec import decode, text
from turnkeeper.errors import Conflict, NotFound
from turnkeeper.storage import rows
from turnkeeper.storage.postgres import filters
from turnkeeper.storage.postgres.database import Database
from turnkeeper.storage.postgres.statements import load
from turnkeeper.storage.postgres.threads import search
from turnkeeper.types import Assistant, AssistantVersion, Clock, Page, Select, timestamp

SQL = load("assistants")


class PostgresAssistants:
    """Implements `contracts.AssistantStore`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def create(self, assistant: Assistant, *, exist_ok: bool) -> Assistant:
        """See the contract."""
        parameters = {**_columns(assistant), "now": timestamp(self._clock())}

        def job(connection: Connection) -> Assistant:
            if connection.execute(SQL.insert_assistant, parameters).fetchone() is not None:
                connection.execute(SQL.insert_version, parameters)
            elif not exist_ok:
                raise Conflict(f"Assistant with ID {assistant.assistant_id} already exists")
            return fetch(connection, assistant.assistant_id)

        return await self._database.transact(job)

    async def get(self, assistant_id: str) -> Assistant:
        """See the contract."""
        return await self._database.run(lambda connection: fetch(connection, assistant_id))

    async def update(self, assistant_id: str, changes: dict[str, Any]) -> Assistant:
        """See the contract."""
        now, named = timestamp(self._clock()), {"assistant_id": assistant_id}

        def job(connection: Connection) -> Assistant:
            connection.execute(SQL.lock_assistant, named)
            old = fetch(connection, assistant_id)
            merged = text({**decode(old.metadata), **changes.get("metadata", {})})
            [(version,)] = connection.execute(SQL.next_version, named).fetchall()
            parameters = {**_columns(old), **changes, "metadata": merged, "version": version, "now": now}
            connection.execute(SQL.update_assistant, parameters)
            connection.execute(SQL.insert_version, named)
            return fetch(connection, assistant_id)

        return await self._database.transact(job)

    async def versions(
        self, assistant_id: str, *, metadata: str | None, limit: int, offset: int
    ) -> list[AssistantVersion]:
        """See the contract."""
        sought = filters.parameters({"metadata": metadata})
        parameters = {"assistant_id": assistant_id, **sought, "limit": limit, "offset": offset}

        def job(connection: Connection) -> list[AssistantVersion]:
            fetch(connection, assistant_id)
            return [rows.assistant_version(row) for row in connection.execute(SQL.list_versions, parameters)]

        return await self._database.run(job)

    async def restore(self, assistant_id: str, version: int) -> Assistant:
        """See the contract."""
        parameters = {"assistant_id": assistant_id, "version": version, "now": timestamp(self._clock())}

        def job(connection: Connection) -> Assistant:
            fetch(connection, assistant_id)
            if connection.execute(SQL.restore_version, parameters).fetchone() is None:
                raise NotFound(f"Assistant with ID {assistant_id} has no version {version}")
            return fetch(connection, assistant_id)

        return await self._database.transact(job)

    async def delete(self, assistant_id: str) -> None:
        """See the contract."""
        named = {"assistant_id": assistant_id}
        deleted = await self._database.run(
            lambda connection: connection.execute(SQL.delete_assistant, named).fetchone()
        )
        if deleted is None:
            raise missing(assistant_id)

    async def threads(self, assistant_id: str) -> list[str]:
        """See the contract."""
        named = {"assistant_id": assistant_id}
        found = await self._database.run(
            lambda connection: connection.execute(SQL.threads_of_assistant, named).fetchall()
        )
        return [row[0] for row in found]

    async def search(self, filters: dict[str, Any], select: Select) -> Page:
        """See the contract."""
        return await self._database.run(search(SQL.search_assistants, _sought(filters, select), rows.assistant))

    async def count(self, filters: dict[str, Any]) -> int:
        """See the contract."""
        sought = _sought(filters)
        found = await self._database.run(lambda connection: connection.execute(SQL.count_assistants, sought).fetchall())
        return found[0][0]


def _sought(given: dict[str, Any], select: Select | None = None) -> dict[str, Any]:
    none = {"graph_id": None, "name": None, "metadata": None}
    return {**none, **filters.parameters(given), **(msgspec.structs.asdict(select) if select else {})}


def fetch(connection: Connection, assistant_id: str) -> Assistant:
    """One assistant. Raises `NotFound`."""
    row = connection.execute(SQL.get_assistant, {"assistant_id": assistant_id}).fetchone()
    if row is None:
        raise missing(assistant_id)
    return rows.assistant(row)


def missing(assistant_id: str) -> NotFound:
    """There is no such assistant."""
    return NotFound(f"Assistant with ID {assistant_id} not found")


def _columns(assistant: Assistant) -> dict[str, Any]:
    columns = msgspec.structs.asdict(assistant)
    for name in ("config", "context", "metadata"):
        columns[name] = bytes(columns[name]).decode()
    return columns
