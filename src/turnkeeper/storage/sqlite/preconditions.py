"""What must hold before a run is admitted, looked at in the transaction that admits it."""

import sqlite3

from turnkeeper.errors import Conflict, TooMany
from turnkeeper.lifecycle import thread_status
from turnkeeper.storage.queries import load
from turnkeeper.storage.sqlite import rows
from turnkeeper.types import Run, RunRequest

SQL = load("sqlite", "runs")

BUSY = "Thread is already running a task. Wait for it to finish or choose a different multitask strategy."


def repeated(connection: sqlite3.Connection, request: RunRequest, now: str) -> Run | None:
    """The run that was made with the same idempotency key. Raises `Conflict` when the key was for something else."""
    key = request.preconditions.idempotency_key
    if key is None:
        return None
    named = {"scope": "" if request.stateless else request.thread_id, "key": key}
    found = connection.execute(SQL.find_key, named).fetchone()
    if found is None:
        made = {"fingerprint": request.preconditions.fingerprint, "run_id": request.run_id, "now": now}
        connection.execute(SQL.insert_key, {**named, **made})
        return None
    run_id, fingerprint = found
    if fingerprint != request.preconditions.fingerprint:
        raise Conflict(f"Idempotency-Key '{key}' was used before with another body.")
    row = connection.execute(SQL.run_by_id, {"run_id": run_id}).fetchone()
    if row is None:
        raise Conflict(f"Idempotency-Key '{key}' was used for run {run_id}, which no longer exists.")
    return rows.run(row)


def check(connection: sqlite3.Connection, request: RunRequest, head: rows.Head, *, busy: bool) -> None:
    """Raise `Conflict` where something stands against the run."""
    wanted = request.preconditions
    status = thread_status(busy=busy, rest=head.rest)
    if wanted.if_thread_status and status not in wanted.if_thread_status:
        raise Conflict(f"The thread is {status}; if_thread_status allows {', '.join(wanted.if_thread_status)}.")
    if wanted.if_waiting == "reject" and answers(request, head, busy=busy, policy="reject"):
        raise Conflict("The thread waits for an answer (if_waiting=reject): send it as command.resume.")
    if connection.execute(SQL.run_exists, {"run_id": request.run_id}).fetchone() is not None:
        raise Conflict(f"Run with ID {request.run_id} already exists")


def check_room(connection: sqlite3.Connection, request: RunRequest) -> None:
    """Raise `TooMany` where the queue that a run joins is full. A run that empties the queue finds room in any case."""
    most = request.preconditions.max_queued
    limit = {"thread_id": request.thread_id, "limit": most}
    if connection.execute(SQL.count_waiting, limit).fetchone()[0] >= most:
        raise TooMany(f"{most} runs wait on this thread already (setting max_queued_per_thread).")


def answers(request: RunRequest, head: rows.Head, *, busy: bool, policy: str = "resume") -> bool:
    """Whether the thread waits for a human and the request has the given policy for that."""
    asks = head.rest == "interrupted" and bool(head.asks) and not busy
    return asks and request.preconditions.if_waiting == policy and not request.has_command
