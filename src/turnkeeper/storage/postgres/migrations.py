"""Brings a database to the schema this server knows, one server at a time."""

import time
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import cast

from langgraph.checkpoint.postgres import Conn
from langgraph.store.postgres import PostgresStore
from psycopg import Connection

from turnkeeper.errors import ConfigError
from turnkeeper.storage.postgres.statements import load

SQL = load("schema")

LOCK = 0x7475726E6B656570
"""Whose turn it is to migrate: an advisory lock of the database, by number."""

PAUSE = 0.05
"""Seconds between two looks whether the lock is free."""


def migrate(connection: Connection) -> None:
    """Apply the numbered files the database has not seen yet, in order, and those of LangGraph's store.

    Raises `ConfigError` when a newer server has been here, and what the driver raises.
    """
    _take_turn(connection)
    try:
        _apply(connection)
        PostgresStore(cast("Conn", connection)).setup()
    finally:
        connection.execute(SQL.give_turn, {"lock": LOCK})


def _take_turn(connection: Connection) -> None:
    while True:
        [(mine,)] = connection.execute(SQL.take_turn, {"lock": LOCK}).fetchall()
        if mine:
            return
        time.sleep(PAUSE)


def _apply(connection: Connection) -> None:
    steps = _steps()
    newest = max(steps)
    connection.execute(SQL.make_schema)
    [(version,)] = connection.execute(SQL.schema_version).fetchall()
    if version > newest:
        raise ConfigError(
            f"the database has schema {version}, this server knows up to {newest}",
            fix="run the newer server that wrote it, or name another database",
        )
    for number in sorted(step for step in steps if step > version):
        with connection.transaction():
            connection.execute(steps[number].read_bytes())
            connection.execute(SQL.applied, {"version": number})


def _steps() -> dict[int, Traversable]:
    """The numbered files."""
    folder = files("turnkeeper.storage") / "sql" / "postgres" / "migrations"
    return {int(entry.name.split("_")[0]): entry for entry in folder.iterdir() if entry.name.endswith(".sql")}
