"""Deleting and copying checkpoints, as parts of a larger transaction: functions of the connection."""

from collections.abc import Sequence

from psycopg import Connection

from turnkeeper.errors import Conflict
from turnkeeper.storage.postgres.statements import load

SQL = load("checkpoints")

NULL_TASK_ID = "00000000-0000-0000-0000-000000000000"
"""Whose task LangGraph takes for the author of what a command writes."""


def delete_for_runs(connection: Connection, run_ids: Sequence[str]) -> None:
    """Take back all that runs put: checkpoints, values only these name, and their writes on anyone's checkpoints."""
    where = {"run_ids": list(run_ids)}
    connection.execute(SQL.delete_writes_of_runs, where)
    connection.execute(SQL.delete_checkpoints, where)


def drop_commands(connection: Connection, run_id: str) -> None:
    """Take back what a failed run's command put on the checkpoint it went on from: it would fail all runs that follow.

    A run that got as far as a checkpoint of its own has carried its command out.
    """
    connection.execute(SQL.delete_commands, {"run_id": run_id, "task_id": NULL_TASK_ID})


def delete_thread(connection: Connection, thread_id: str) -> None:
    """Delete everything stored of a thread."""
    for statement in (SQL.delete_thread_checkpoints, SQL.delete_thread_blobs, SQL.delete_thread_writes):
        connection.execute(statement, {"thread_id": thread_id})


def copy_thread(connection: Connection, source: str, target: str) -> None:
    """Copy everything stored of a thread; what the copy's runs were called stays in its metadata only.

    Raises `Conflict` when the target already has checkpoints.
    """
    [(taken,)] = connection.execute(SQL.has_checkpoints, {"thread_id": target}).fetchall()
    if taken:
        raise Conflict(f"Thread {target} already has checkpoints; a copy needs a thread without any.")
    for statement in (SQL.copy_checkpoints, SQL.copy_blobs, SQL.copy_writes):
        connection.execute(statement, {"source": source, "target": target})
