"""Inputs of superseded runs on their way into the state."""

from collections.abc import Iterable

from psycopg import Connection

from turnkeeper.storage import rows
from turnkeeper.storage.postgres.statements import load
from turnkeeper.types import Carried

SQL = load("runs")


def to_carry(connection: Connection, thread_id: str) -> tuple[Carried, ...]:
    """The superseded runs of a thread whose input is not in its state, in order of admission."""
    return still_to_carry(connection, connection.execute(SQL.carried_runs, {"thread_id": thread_id}).fetchall())


def still_to_carry(connection: Connection, found: Iterable[tuple[str, str, bool]]) -> tuple[Carried, ...]:
    """Of superseded runs (id, arguments, whether the input is in the state) those to carry; the rest are forgotten."""
    runs = list(found)
    if arrived := [run_id for run_id, _, there in runs if there]:
        connection.execute(SQL.carried, {"run_ids": arrived})
    return tuple(Carried(run_id=run_id, kwargs=rows.raw(kwargs)) for run_id, kwargs, there in runs if not there)
