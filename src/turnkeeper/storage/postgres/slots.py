"""How many runs of a concurrency key are executed at once. Triggers keep to it; here they are told."""

from psycopg import Connection

from turnkeeper.storage.postgres.statements import load
from turnkeeper.storage.slots import rows
from turnkeeper.types import Limits

SQL = load("slots")


def limit(connection: Connection, limits: Limits) -> None:
    """From now on these limits apply, to all servers. Runs that are executed already may be more."""
    connection.execute(SQL.lock_limits)
    if connection.execute(SQL.limits).fetchall() == rows(limits):
        return
    connection.execute(SQL.forget_limits)
    for key, most in rows(limits):
        connection.execute(SQL.limit_key, {"concurrency_key": key, "most": most})
    connection.execute(SQL.take_back)
    for (key,) in connection.execute(SQL.lanes).fetchall():
        while connection.execute(SQL.settle, {"concurrency_key": key}).fetchall() == [(True,)]:
            pass
