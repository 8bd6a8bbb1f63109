"""How many runs of a concurrency key are executed at once. Triggers keep to it; here they are told."""

import sqlite3

from turnkeeper.storage.queries import load
from turnkeeper.storage.slots import rows
from turnkeeper.types import Limits

SQL = load("sqlite", "slots")


def limit(connection: sqlite3.Connection, limits: Limits) -> None:
    """From now on these limits apply. Runs that are executed already may be more."""
    if connection.execute(SQL.limits).fetchall() == rows(limits):
        return
    connection.execute(SQL.forget_limits)
    for key, most in rows(limits):
        connection.execute(SQL.limit_key, {"concurrency_key": key, "most": most})
    connection.execute(SQL.take_back)
    for (key,) in connection.execute(SQL.lanes).fetchall():
        _fill(connection, key)


def _fill(connection: sqlite3.Connection, key: str) -> None:
    """Give out the free slots of a key."""
    before = -1
    while before != connection.total_changes:
        before = connection.total_changes
        connection.execute(SQL.settle, {"concurrency_key": key})
