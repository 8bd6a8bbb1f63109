"""Admission: new runs get their place in the queues, and what they supersede is stopped, all in one transaction.

A run that can start at once is claimed in the same transaction for a worker of this process that has room: that saves
the way to the worker and back.
"""

import sqlite3

from turnkeeper import lifecycle
from turnkeeper.codec import decode, text
from turnkeeper.contracts import Signals
from turnkeeper.errors import Conflict, NotFound
from turnkeeper.storage.queries import load
from turnkeeper.storage.sqlite import assistants, endings, rows, threads
from turnkeeper.types import Admitted, Assistant, Claimed, Composed, RunRequest, Stopped, timestamp

SQL = load("sqlite", "runs")
THREADS = load("sqlite", "threads")

BUSY = "Thread is already running a task. Wait for it to finish or choose a different multitask strategy."


class Admission:
    """One transaction's admissions."""

    def __init__(self, signals: Signals, now: float) -> None:
        """`now`: seconds since the epoch."""
        self._signals = signals
        self._due = now
        self._now = timestamp(now)
        self._reserved = 0
        self._claimed: list[Claimed] = []
        self._waiting = False

    def admit(self, connection: sqlite3.Connection, request: RunRequest) -> Admitted:
        """Look at the thread's active runs, let `lifecycle` decide, write the answer."""
        head = self._thread(connection, request)
        assistant = assistants.fetch(connection, request.assistant_id)
        found = connection.execute(SQL.runs_of_thread, _thread_of(request))
        active = [endings.Active(*row) for row in found.fetchmany(1)]
        decision = lifecycle.admit(request.strategy, busy=bool(active))
        if not decision.accept:
            raise Conflict(BUSY)
        if decision.stop_active is not None:  # only then do the others matter, which may be thousands
            active += [endings.Active(*row) for row in found]
        found.close()
        metadata = self._note_owner(connection, request, assistant, decode(head[0]))
        row = _row(request, request.compose(assistant, metadata), self._now)
        first = not active or (decision.stop_active is not None and all(map(_unstarted, active)))
        starts = first and request.due_at <= self._due and self._reserve()
        self._enqueue(connection, request, assistant, row, head, starts=starts)
        stopped = Stopped()
        if decision.stop_active is not None:  # after the new run has its place: a temporary thread goes with its last
            reason = f"superseded by run {request.run_id} (multitask_strategy={request.strategy})"
            stopped = endings.stop(connection, active, decision.stop_active, reason, self._now)
        return Admitted(run=rows.run(tuple(row.values())), stopped=stopped)

    def done(self, admitted: list[Admitted] | None) -> None:
        """Once it is on disk (`None`: it is not): hand over what was claimed, wake workers for the rest."""
        for claimed in self._claimed:
            self._signals.hand_over(claimed if admitted is not None else None)
        for _ in range(self._reserved - len(self._claimed)):  # whose run could not be written
            self._signals.hand_over(None)
        if self._waiting and admitted is not None:
            self._signals.wake()

    def _reserve(self) -> bool:
        reserved = self._signals.reserve()
        self._reserved += reserved
        return reserved

    def _thread(self, connection: sqlite3.Connection, request: RunRequest) -> rows.Row:
        """The head of the run's thread, which is made first when it is missing and may be made."""
        head = connection.execute(THREADS.thread_head, _thread_of(request)).fetchone()
        if head is not None:
            return head
        if request.new_thread is None:
            raise NotFound("Thread or assistant not found.")
        threads.insert(connection, request.new_thread, self._now)
        return text(request.new_thread.metadata), request.new_thread.temporary, None, True

    def _note_owner(
        self, connection: sqlite3.Connection, request: RunRequest, assistant: Assistant, metadata: dict[str, object]
    ) -> dict[str, object]:
        """A thread carries the graph and the assistant it last ran with: its state is read with them."""
        belongs = {"graph_id": assistant.graph_id, "assistant_id": assistant.assistant_id}
        touched = {**_thread_of(request), "metadata": text({**metadata, **belongs}), "now": self._now}
        connection.execute(THREADS.touch_thread, touched)
        return metadata

    def _enqueue(
        self,
        connection: sqlite3.Connection,
        request: RunRequest,
        assistant: Assistant,
        row: dict[str, object],
        head: rows.Row,
        *,
        starts: bool,
    ) -> None:
        """Put a run at the end of its thread's queue, or start it."""
        status, attempt = ("running", 1) if starts else ("pending", 0)
        columns = {"status": status, "attempt": attempt, "graph_id": assistant.graph_id, "due_at": request.due_at}
        connection.execute(SQL.insert_run, {**row, **columns})
        endings.note(connection, request.thread_id, request.run_id, "created", 0, request.strategy, self._now)
        if not starts:
            self._waiting = True
            return
        endings.note(connection, request.thread_id, request.run_id, "started", 1, None, self._now)
        run = (request.run_id, request.thread_id, assistant.assistant_id, assistant.graph_id, attempt)
        self._claimed.append(rows.claimed((*run, row["kwargs"], row["metadata"], None), head))


def _thread_of(request: RunRequest) -> dict[str, object]:
    return {"thread_id": request.thread_id}


def _unstarted(run: endings.Active) -> bool:
    """Whether a run can be stopped in this very transaction."""
    return run.status == "pending" and run.attempt == 0


def _row(request: RunRequest, composed: Composed, now: str) -> dict[str, object]:
    """A run as clients see it first: waiting."""
    return {
        "run_id": request.run_id,
        "thread_id": request.thread_id,
        "assistant_id": request.assistant_id,
        "created_at": now,
        "updated_at": now,
        "status": "pending",
        "metadata": bytes(composed.metadata).decode(),
        "kwargs": bytes(composed.kwargs).decode(),
        "multitask_strategy": request.strategy,
        "cancel_reason": None,
    }
