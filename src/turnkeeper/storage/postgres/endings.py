"""How runs stop, end, are rolled back and are given back: each a guarded statement in the caller's transaction.

Whoever calls holds the lock on the thread's row, or takes it here first.
"""

from collections.abc import Callable, Iterable

from psycopg import Connection

from turnkeeper import lifecycle, metrics
from turnkeeper.errors import Fenced, NotFound
from turnkeeper.lifecycle import CancelAction, RunStatus
from turnkeeper.storage import rows
from turnkeeper.storage.postgres import checkpoint_removal, events, threads
from turnkeeper.storage.postgres.statements import load
from turnkeeper.storage.stopping import CRASHED, WANTED, Active, Stop, told
from turnkeeper.types import Ended, Outcome, Stopped, timestamp

SQL = load("runs")


def stop(connection: Connection, runs: list[Active], how: Stop) -> Stopped:
    """Stop runs. Those that never started are at their end; the others are told, and end when their attempt lets go.

    A waiting run that had started before a restart has left work in the state, so an attempt has to end it too.
    """
    ended: list[Ended] = []
    stopping: list[str] = []
    for run in runs:
        if run.status not in lifecycle.ACTIVE:
            continue
        if how.superseded_by is not None:
            note(connection, run, "superseded_by", how.superseded_by, how.now)
        note(connection, run, "cancel_requested", f"{how.action}: {how.reason}", how.now)
        if run.unstarted:
            ended.append(_end_unstarted(connection, run, how))
        else:
            connection.execute(SQL.request_cancel, {"action": how.action, **_marks(run, how)})
            stopping.append(run.run_id)
    if ended:
        leave(connection, {end.thread_id for end in ended})
    return Stopped(ended=tuple(ended), stopping=tuple(stopping), found=bool(ended or stopping))


def _marks(run: Active, how: Stop) -> dict[str, object]:
    return {"run_id": run.run_id, "reason": how.reason, "carry": how.carry, "now": how.now}


def _end_unstarted(connection: Connection, run: Active, how: Stop) -> Ended:
    _, status = lifecycle.MOVES[lifecycle.stop_move(how.action)]
    if status is None:
        connection.execute(SQL.delete_run, {"run_id": run.run_id, "thread_id": run.thread_id})
        note(connection, run, "tombstone", how.reason, how.now)
    else:
        connection.execute(SQL.interrupt_pending, _marks(run, how))
        note(connection, run, "ended", status, how.now)
    return Ended(run_id=run.run_id, thread_id=run.thread_id, status=status, reason=how.reason)


def end(
    connection: Connection, run_id: str, attempt: int, outcome: Outcome, now: str, send: Callable[[Connection], None]
) -> Ended | None:
    """The usual end in one round trip; `None`, and nothing has changed, where it takes `finish` to decide.

    `send`: what the attempt still has to store, if it comes to that.
    """
    if outcome.status not in ("success", "timeout"):
        return None
    ending = {"run_id": run_id, "attempt": attempt, "status": outcome.status, "checkpoint_id": outcome.checkpoint_id}
    state = threads.state("", outcome, now)
    with connection.pipeline():  # one transaction, which is committed where the pipeline ends
        connection.execute(SQL.lock_thread_of_run, {"run_id": run_id})  # before its puts, which others wait for then
        send(connection)
        answer = connection.execute(SQL.end_run, {**state, **ending, "reason": outcome.reason})
    row = answer.fetchone()
    if row is None:
        return None
    return _ended(Active(run_id, row[0], "running", attempt), outcome.status, outcome, outcome.reason, more=row[1])


def finish(connection: Connection, run_id: str, attempt: int, outcome: Outcome, now: str) -> Ended:
    """End an attempt. Raises `Fenced` when it no longer owns the run."""
    run, cancel, reason = _own(connection, run_id, attempt)
    _, status = lifecycle.MOVES[lifecycle.ending(WANTED[outcome.status], cancel)]
    if status is None:
        return _roll_back(connection, run, reason, now)
    outcome = told(outcome, status, reason)
    ending = {"run_id": run_id, "attempt": attempt, "status": status, "checkpoint_id": outcome.checkpoint_id}
    said = {"error": rows.text(outcome.error), "reason": outcome.reason}
    [(had_slot,)] = connection.execute(SQL.finish_run, {**ending, **said, "now": now}).fetchall()
    if status == "error":
        checkpoint_removal.drop_commands(connection, run_id)
    threads.write_state(connection, run.thread_id, outcome, run_id, status, now)
    note(connection, run, "ended", status, now)
    more = leave(connection, [run.thread_id]) or had_slot
    return _ended(run, status, outcome, reason or outcome.reason, more=more)


def _ended(run: Active, status: RunStatus, outcome: Outcome, reason: str | None, *, more: bool) -> Ended:
    return Ended(
        run_id=run.run_id,
        thread_id=run.thread_id,
        status=status,
        values=outcome.values,
        interrupts=outcome.interrupts,
        error=outcome.error,
        reason=reason,
        checkpoint_id=outcome.checkpoint_id,
        more=more,
    )


def _roll_back(connection: Connection, run: Active, reason: str | None, now: str) -> Ended:
    """As if the run had never been (I4). The thread's row still shows the state before it: only an end writes there."""
    checkpoint_removal.delete_for_runs(connection, [run.run_id])
    events.forget_run(connection, run.run_id)
    deleted = {"run_id": run.run_id, "thread_id": run.thread_id}
    [(_, had_slot)] = connection.execute(SQL.delete_run, deleted).fetchall()
    note(connection, run, "tombstone", reason, now)
    more = leave(connection, [run.thread_id]) or had_slot
    return Ended(run_id=run.run_id, thread_id=run.thread_id, status=None, reason=reason, more=more)


def release(connection: Connection, run_id: str, attempt: int, reason: str, now: str) -> None:
    """Give a run back to the queue. Raises `Fenced` when the attempt no longer owns it."""
    run, _, _ = _own(connection, run_id, attempt)
    connection.execute(SQL.release_run, {"run_id": run_id, "attempt": attempt, "now": now})
    note(connection, run, "released", reason, now)


def seal(connection: Connection, run_id: str, attempt: int) -> int:
    """Take a run out of the hands of code that does not stop. Raises `Fenced` when the attempt does not own it."""
    _own(connection, run_id, attempt)
    [(sealed,)] = connection.execute(SQL.seal_run, {"run_id": run_id}).fetchall()
    return sealed


def recover(connection: Connection, due: float) -> int:
    """Give every running run back to the queue: nobody executes them after a crash. `due`: now."""
    now = timestamp(due)
    locked = {"thread_ids": lock_with(connection, "all")}
    released = connection.execute(SQL.recover_runs, {**locked, "now": now}).fetchall()
    for thread_id, run_id, attempt in released:
        note(connection, Active(run_id, thread_id, "pending", attempt), "released", CRASHED, now)
    return len(released)


def delete(connection: Connection, thread_id: str, run_id: str, now: str) -> None:
    """Remove a run's row. Raises `NotFound`."""
    connection.execute(SQL.lock_thread, {"thread_id": thread_id})
    row = connection.execute(SQL.delete_run, {"run_id": run_id, "thread_id": thread_id}).fetchone()
    if row is None:
        raise NotFound("Run not found")
    note(connection, Active(run_id, thread_id, "pending", row[0]), "tombstone", "deleted", now)
    events.forget_run(connection, run_id)
    leave(connection, [thread_id])


def lock_with(connection: Connection, status: str) -> list[str]:
    """Lock all threads with runs in a status (`all`: active ones); which these are."""
    return [thread_id for (thread_id,) in connection.execute(SQL.lock_threads_with, {"status": status}).fetchall()]


def fenced(run_id: str, attempt: int) -> Fenced:
    """The refusal of what an attempt still writes that lost its run (I7)."""
    metrics.FENCED_WRITES.inc()
    return Fenced(f"attempt {attempt} no longer owns run {run_id}")


def note(connection: Connection, run: Active, event: str, detail: str | None, now: str) -> None:
    """Append to the journal."""
    about = {"thread_id": run.thread_id, "run_id": run.run_id, "attempt": run.attempt}
    connection.execute(SQL.note, {**about, "event": event, "detail": detail, "now": now})


def leave(connection: Connection, thread_ids: Iterable[str]) -> bool:
    """After runs have left their threads' queues: whether some are left.

    The thread of a stateless run goes with its last run.
    """
    found = connection.execute(SQL.after_moves, {"thread_ids": list(thread_ids)}).fetchall()
    for thread_id, temporary, more in found:
        if temporary and not more:
            threads.remove(connection, thread_id)
    return any(more for _, _, more in found)


def _own(connection: Connection, run_id: str, attempt: int) -> tuple[Active, CancelAction | None, str | None]:
    """Lock the thread of a run its attempt still owns; the run, its cancel and the reason. Raises `Fenced` (I7)."""
    connection.execute(SQL.lock_thread_of_run, {"run_id": run_id})
    row = connection.execute(SQL.owned_run, {"run_id": run_id, "attempt": attempt}).fetchone()
    if row is None:
        raise fenced(run_id, attempt)
    thread_id, cancel, reason = row
    return Active(run_id, thread_id, "running", attempt), cancel, reason
