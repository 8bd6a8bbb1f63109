"""How runs stop, end, are rolled back and are given back: each a guarded statement in the caller's transaction."""

import sqlite3

from turnkeeper import lifecycle, metrics
from turnkeeper.errors import Fenced, NotFound
from turnkeeper.lifecycle import CancelAction
from turnkeeper.storage import rows
from turnkeeper.storage.queries import load
from turnkeeper.storage.sqlite import checkpoint_removal, events, threads
from turnkeeper.storage.stopping import CRASHED, WANTED, Active, Stop, told
from turnkeeper.types import Ended, Outcome, Stopped

SQL = load("sqlite", "runs")
THREADS = load("sqlite", "threads")


def stop(connection: sqlite3.Connection, runs: list[Active], how: Stop) -> Stopped:
    """Stop runs. Those that never started are at their end; the others are told, and end when their attempt lets go.

    A waiting run that had started before a restart has left work in the state, so an attempt has to end it too.
    """
    ended: list[Ended] = []
    stopping: list[str] = []
    for run in runs:
        if run.status not in lifecycle.ACTIVE:
            continue
        if how.superseded_by is not None:
            note(connection, run.thread_id, run.run_id, "superseded_by", run.attempt, how.superseded_by, how.now)
        wanted = f"{how.action}: {how.reason}"
        note(connection, run.thread_id, run.run_id, "cancel_requested", run.attempt, wanted, how.now)
        if run.unstarted:
            ended.append(_end_unstarted(connection, run, how))
        else:
            connection.execute(SQL.request_cancel, {"action": how.action, **_marks(run, how)})
            stopping.append(run.run_id)
    return Stopped(ended=tuple(ended), stopping=tuple(stopping), found=bool(ended or stopping))


def _marks(run: Active, how: Stop) -> dict[str, object]:
    return {"run_id": run.run_id, "reason": how.reason, "carry": int(how.carry), "now": how.now}


def _end_unstarted(connection: sqlite3.Connection, run: Active, how: Stop) -> Ended:
    _, status = lifecycle.MOVES[lifecycle.stop_move(how.action)]
    if status is None:
        connection.execute(SQL.delete_run, {"run_id": run.run_id, "thread_id": run.thread_id})
        note(connection, run.thread_id, run.run_id, "tombstone", run.attempt, how.reason, how.now)
    else:
        connection.execute(SQL.interrupt_pending, _marks(run, how))
        note(connection, run.thread_id, run.run_id, "ended", run.attempt, status, how.now)
    _more(connection, run.thread_id)
    return Ended(run_id=run.run_id, thread_id=run.thread_id, status=status, reason=how.reason)


def finish(connection: sqlite3.Connection, run_id: str, attempt: int, outcome: Outcome, now: str) -> Ended:
    """End an attempt. Raises `Fenced` when it no longer owns the run."""
    thread_id, cancel, reason = owned(connection, run_id, attempt)
    _, status = lifecycle.MOVES[lifecycle.ending(WANTED[outcome.status], cancel)]
    if status is None:
        return _roll_back(connection, run_id, thread_id, attempt, reason, now)
    outcome = told(outcome, status, reason)
    ending = {"run_id": run_id, "attempt": attempt, "status": status, "checkpoint_id": outcome.checkpoint_id}
    said = {"error": rows.text(outcome.error), "reason": outcome.reason}
    (had_slot,) = connection.execute(SQL.finish_run, {**ending, **said, "now": now}).fetchone()
    if status == "error":
        checkpoint_removal.drop_commands(connection, run_id)
    threads.write_state(connection, thread_id, outcome, run_id, status, now)
    note(connection, thread_id, run_id, "ended", attempt, status, now)
    return Ended(
        run_id=run_id,
        thread_id=thread_id,
        status=status,
        values=outcome.values,
        interrupts=outcome.interrupts,
        error=outcome.error,
        reason=reason or outcome.reason,
        checkpoint_id=outcome.checkpoint_id,
        more=_more(connection, thread_id) or bool(had_slot),
    )


def _roll_back(
    connection: sqlite3.Connection, run_id: str, thread_id: str, attempt: int, reason: str | None, now: str
) -> Ended:
    """As if the run had never been (I4). The thread's row still shows the state before it: only an end writes there."""
    checkpoint_removal.delete_for_runs(connection, [run_id])
    events.forget_run(connection, run_id)
    _, had_slot = connection.execute(SQL.delete_run, {"run_id": run_id, "thread_id": thread_id}).fetchone()
    note(connection, thread_id, run_id, "tombstone", attempt, reason, now)
    more = _more(connection, thread_id) or bool(had_slot)
    return Ended(run_id=run_id, thread_id=thread_id, status=None, reason=reason, more=more)


def release(connection: sqlite3.Connection, run_id: str, attempt: int, reason: str, now: str) -> None:
    """Give a run back to the queue. Raises `Fenced` when the attempt no longer owns it."""
    thread_id, _, _ = owned(connection, run_id, attempt)
    connection.execute(SQL.release_run, {"run_id": run_id, "attempt": attempt, "now": now})
    note(connection, thread_id, run_id, "released", attempt, reason, now)


def seal(connection: sqlite3.Connection, run_id: str, attempt: int) -> int:
    """Take a run out of the hands of code that does not stop. Raises `Fenced` when the attempt does not own it."""
    owned(connection, run_id, attempt)
    (sealed,) = connection.execute(SQL.seal_run, {"run_id": run_id}).fetchone()
    return sealed


def recover(connection: sqlite3.Connection, now: str) -> int:
    """Give every running run back to the queue: nobody executes them after a crash."""
    released = connection.execute(SQL.recover_runs, {"now": now}).fetchall()
    for thread_id, run_id, attempt in released:
        note(connection, thread_id, run_id, "released", attempt, CRASHED, now)
    return len(released)


def crashes(connection: sqlite3.Connection, thread_id: str, run_id: str) -> int:
    """How often a server went down with the run."""
    named = {"thread_id": thread_id, "run_id": run_id, "detail": CRASHED}
    (count,) = connection.execute(SQL.count_crashes, named).fetchone()
    return count


def delete(connection: sqlite3.Connection, thread_id: str, run_id: str, now: str) -> None:
    """Remove a run's row. Raises `NotFound`."""
    row = connection.execute(SQL.delete_run, {"run_id": run_id, "thread_id": thread_id}).fetchone()
    if row is None:
        raise NotFound("Run not found")
    note(connection, thread_id, run_id, "tombstone", row[0], "deleted", now)
    events.forget_run(connection, run_id)
    _more(connection, thread_id)


def owned(connection: sqlite3.Connection, run_id: str, attempt: int) -> tuple[str, CancelAction | None, str | None]:
    """Thread, cancel and reason of a run its attempt still owns. Raises `Fenced` otherwise (I7)."""
    row = connection.execute(SQL.owned_run, {"run_id": run_id, "attempt": attempt}).fetchone()
    if row is None:
        metrics.FENCED_WRITES.inc()
        raise Fenced(f"attempt {attempt} no longer owns run {run_id}")
    return row


def note(
    connection: sqlite3.Connection, thread_id: str, run_id: str, event: str, attempt: int, detail: str | None, now: str
) -> None:
    """Append to the journal."""
    connection.execute(
        SQL.note,
        {"thread_id": thread_id, "run_id": run_id, "event": event, "attempt": attempt, "detail": detail, "now": now},
    )


def _more(connection: sqlite3.Connection, thread_id: str) -> bool:
    """Whether runs of the thread are left. The thread of a stateless run goes with its last run."""
    if connection.execute(SQL.runs_of_thread, {"thread_id": thread_id}).fetchone() is not None:
        return True
    head = connection.execute(THREADS.thread_head, {"thread_id": thread_id}).fetchone()
    if head is not None and head[1]:
        threads.remove(connection, thread_id)
    return False
