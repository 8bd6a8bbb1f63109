"""Inputs of superseded runs on their way into the state."""

import sqlite3

from turnkeeper.storage import rows
from turnkeeper.storage.queries import load
from turnkeeper.types import Carried

SQL = load("sqlite", "runs")


def to_carry(connection: sqlite3.Connection, thread_id: str) -> tuple[Carried, ...]:
    """The superseded runs of a thread whose input is not in its state, in order of admission."""
    found = connection.execute(SQL.carried_runs, {"thread_id": thread_id}).fetchall()
    for run_id, _, arrived in found:
        if arrived:
            connection.execute(SQL.carried, {"run_id": run_id})
    return tuple(Carried(run_id=run_id, kwargs=rows.raw(kwargs)) for run_id, kwargs, arrived in found if not arrived)
