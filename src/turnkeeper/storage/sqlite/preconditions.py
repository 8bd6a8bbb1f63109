"""What must hold before a run is admitted, looked at in the transaction that admits it."""

import sqlite3

from turnkeeper.storage import preconditions, rows
from turnkeeper.storage.queries import load
from turnkeeper.types import Run, RunRequest

SQL = load("sqlite", "runs")


def repeated(connection: sqlite3.Connection, request: RunRequest, now: str) -> Run | None:
    """The run that was made with the same idempotency key. Raises `Conflict` when the key was for something else."""
    key = request.preconditions.idempotency_key
    if key is None:
        return None
    named = {"scope": preconditions.scope(request), "key": key}
    found = connection.execute(SQL.find_key, named).fetchone()
    if found is None:
        made = {"fingerprint": request.preconditions.fingerprint, "run_id": request.run_id, "now": now}
        connection.execute(SQL.insert_key, {**named, **made})
        return None
    row = connection.execute(SQL.run_by_id, {"run_id": found[0]}).fetchone()
    return preconditions.repetition(request, found, None if row is None else rows.run(row))


def check(connection: sqlite3.Connection, request: RunRequest, head: rows.Head, *, busy: bool) -> None:
    """Raise `Conflict` where something stands against the run."""
    taken = connection.execute(SQL.run_exists, {"run_id": request.run_id}).fetchone() is not None
    preconditions.check(request, head, busy=busy, taken=taken)


def check_room(connection: sqlite3.Connection, request: RunRequest) -> None:
    """Raise `TooMany` where the queue that a run joins is full."""
    limit = {"thread_id": request.thread_id, "limit": request.preconditions.max_queued}
    (waiting,) = connection.execute(SQL.count_waiting, limit).fetchone()
    preconditions.check_room(request, waiting)
