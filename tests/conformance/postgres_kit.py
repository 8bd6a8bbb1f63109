"""The suite's view of the PostgreSQL backend: one server for the whole session, emptied for each test."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from psycopg import Connection, sql

from tests.conformance.conftest import Rows, Time
from turnkeeper.contracts import Storage
from turnkeeper.storage.postgres.checkpoints import Saver
from turnkeeper.storage.postgres.storage import PostgresStorage
from turnkeeper.types import NO_LIMITS, Limits

OURS_ALONE = ("turnkeeper_schema", "store_migrations", "concurrency_limits")
"""Tables that say which migrations were applied, and which limits: they stay as they are."""

NAMED = {"store": "items"}
"""Tables the suite knows by another name."""


@contextmanager
def server() -> Generator[str]:
    """A PostgreSQL server of our own; what it is reached by. It ends with the tests, also if they are killed.

    TURNKEEPER_TEST_POSTGRES names another one, whose database is emptied again and again.
    """
    if given := os.environ.get("TURNKEEPER_TEST_POSTGRES"):
        yield given
        return
    command = [sys.executable, str(Path(__file__).with_name("postgres_server.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.communicate()


class Postgres:
    """The suite's view of the PostgreSQL backend."""

    plans = False
    examples = 12
    most_writes: int | None = 6

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._places: set[Path] = set()
        self._names: list[str] = []

    def open(self, place: Path, clock: Time, limits: Limits = NO_LIMITS) -> Storage:
        storage = PostgresStorage(self.uri, clock, limits=limits)
        storage.open()
        if place not in self._places:
            self._places.add(place)
            self._inside(storage, self._empty)
        return storage

    def dump(self, storage: Storage) -> Rows:
        def job(connection: Connection) -> Rows:
            return {
                NAMED.get(name, name): sorted(
                    connection.execute(sql.SQL("select * from {}").format(sql.Identifier(name))), key=str
                )
                for name in _tables(connection)
            }

        return self._inside(storage, job)

    def journal(self, storage: Storage) -> list[tuple[str, str]]:
        statement = "select run_id, event from journal order by seq"
        return self._inside(storage, lambda connection: connection.execute(statement).fetchall())

    def kill(self, storage: Storage) -> None:
        storage.close()

    @contextmanager
    def count_writes(self) -> Generator[list[str]]:
        sent: list[str] = []
        execute = psycopg.Cursor.execute

        def counting(cursor: psycopg.Cursor, query: Any, *given: Any, **options: Any) -> psycopg.Cursor:
            statement = query.decode() if isinstance(query, bytes) else str(query)
            if re.search(r"\b(insert into|update \w+\s+set|delete from)\b", statement, re.IGNORECASE):
                sent.append(statement)
            return execute(cursor, query, *given, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(psycopg.Cursor, "execute", counting)
            yield sent

    def saver(self, storage: Storage, run_id: str | None = None) -> BaseCheckpointSaver[str]:
        return Saver(cast("PostgresStorage", storage)._database, run_id=run_id)

    def plan(self, storage: Storage, topic: str, name: str) -> list[str]:
        raise NotImplementedError

    def count_work(self, storage: Storage) -> Callable[[], int]:
        raise NotImplementedError

    def _empty(self, connection: Connection) -> None:
        self._names = self._names or _tables(connection)
        with connection.pipeline():
            for name in self._names:
                connection.execute(sql.SQL("delete from {}").format(sql.Identifier(name)))

    def _inside(self, storage: Storage | PostgresStorage, job: Callable[[Connection], Any]) -> Any:
        return cast("PostgresStorage", storage)._database.call(job)


def _tables(connection: Connection) -> list[str]:
    found = connection.execute("select tablename from pg_tables where schemaname = 'public' order by tablename")
    return [name for (name,) in found if name not in OURS_ALONE]
