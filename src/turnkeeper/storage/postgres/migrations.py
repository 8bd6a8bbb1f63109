"""Brings a database to the schema this server knows, one server at a time, while others go on working.

A migration that servers of an older schema can live with says so in a line `-- oldest: N`: new servers can then be
started beside the old ones, and old ones again, should the new ones not do. Without it only servers that know it can.
"""

import re
import time
from collections.abc import Generator
from contextlib import contextmanager
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import cast

from langgraph.checkpoint.postgres import Conn
from langgraph.store.postgres import PostgresStore
from psycopg import Connection
from psycopg.errors import LockNotAvailable

from turnkeeper.errors import ConfigError
from turnkeeper.storage.postgres.statements import load

SQL = load("schema")

LOCK = 0x7475726E6B656570
"""Whose turn it is to migrate: an advisory lock of the database, by number."""

PAUSE = 0.05
"""Seconds between two looks whether the lock is free."""

LONGEST_LOCK = "1000"
"""Milliseconds a change of a table waits before it lets those behind it pass, and tries again."""

_OLDEST = re.compile(r"^-- oldest: (\d+)$", re.MULTILINE)


def migrate(connection: Connection) -> None:
    """Apply the numbered files the database has not seen yet, in order, and those of LangGraph's store.

    Raises `ConfigError` when a newer server has been here that left nothing to work with, and what the driver raises.
    """
    with turn(connection):
        connection.execute(SQL.limit_lock, {"longest": LONGEST_LOCK})
        _apply(connection)
        connection.execute(SQL.limit_lock, {"longest": "0"})
        PostgresStore(cast("Conn", connection)).setup()


@contextmanager
def turn(connection: Connection) -> Generator[None]:
    """One server at a time. The connection commits each statement."""
    while not connection.execute(SQL.take_turn, {"lock": LOCK}).fetchall()[0][0]:
        time.sleep(PAUSE)
    try:
        yield
    finally:
        connection.execute(SQL.give_turn, {"lock": LOCK})


def _apply(connection: Connection) -> None:
    steps = _steps()
    newest = max(steps)
    connection.execute(SQL.make_schema)
    [(version, oldest)] = connection.execute(SQL.schema_version).fetchall()
    if oldest > newest:
        raise ConfigError(
            f"the database has schema {version}, this server knows up to {newest}",
            fix="run the newer server that wrote it, or name another database",
        )
    for number in sorted(step for step in steps if step > version):
        apply_step(connection, number, steps[number].read_text())


def apply_step(connection: Connection, number: int, script: str) -> None:
    """Apply a migration once the tables it changes are free."""
    found = _OLDEST.search(script)
    applied = {"version": number, "oldest": int(found[1]) if found else number}
    while True:
        try:
            with connection.transaction():
                connection.execute(script.encode())
                connection.execute(SQL.applied, applied)
        except LockNotAvailable:
            time.sleep(PAUSE)
        else:
            return


def _steps() -> dict[int, Traversable]:
    """The numbered files."""
    folder = files("turnkeeper.storage") / "sql" / "postgres" / "migrations"
    return {int(entry.name.split("_")[0]): entry for entry in folder.iterdir() if entry.name.endswith(".sql")}
