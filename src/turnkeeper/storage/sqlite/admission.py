"""Admission: new runs get their place in the queues, and what they supersede is stopped, all in one transaction.

A run that can start at once is claimed in the same transaction for a worker of this process that has room: that saves
the way to the worker and back.
"""

import sqlite3
from dataclasses import dataclass

from turnkeeper import lifecycle
from turnkeeper.codec import text
from turnkeeper.contracts import Signals
from turnkeeper.errors import Conflict, NotFound
from turnkeeper.storage import new_runs, rows
from turnkeeper.storage.handing_over import HandOver
from turnkeeper.storage.preconditions import BUSY
from turnkeeper.storage.queries import load
from turnkeeper.storage.sqlite import assistants, carrying, endings, preconditions, threads
from turnkeeper.storage.stopping import Active, supersession
from turnkeeper.types import Admitted, Assistant, RunRequest, Stopped, timestamp

SQL = load("sqlite", "runs")
THREADS = load("sqlite", "threads")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run stands once it is admitted: its assistant, its thread and what it stops."""

    assistant: Assistant
    head: rows.Head
    superseded: list[Active]
    first: bool
    """Whether nothing of the thread stands between it and its start."""


class Admission:
    """One transaction's admissions."""

    def __init__(self, signals: Signals, now: float) -> None:
        """`now`: seconds since the epoch."""
        self._workers = HandOver(signals)
        self._due = now
        self._now = timestamp(now)

    def admit(self, connection: sqlite3.Connection, request: RunRequest) -> Admitted:
        """Look at the thread's active runs, let `lifecycle` decide, write the answer."""
        known = preconditions.repeated(connection, request, self._now)
        if known is not None:
            return Admitted(run=known)
        place = self._place(connection, request)
        row = self._row(connection, request, place)
        starts = place.first and new_runs.may_start_at_once(row) and self._workers.reserve()
        self._enqueue(connection, request, row, starts=starts)
        stopped = self._stop(connection, request, place)
        if starts:
            self._claim(connection, row, place)
        return Admitted(run=rows.run(tuple(row[name] for name in rows.RUN)), stopped=stopped)

    def done(self, admitted: list[Admitted] | None) -> None:
        """Once it is on disk (`None`: it is not): tell the workers."""
        self._workers.done(written=admitted is not None)

    def _place(self, connection: sqlite3.Connection, request: RunRequest) -> Place:
        """What the run finds. Raises `NotFound`, `Conflict` and `TooMany`."""
        head = self._thread(connection, request)
        assistant = assistants.fetch(connection, request.assistant_id)
        found = connection.execute(SQL.runs_of_thread, {"thread_id": request.thread_id})
        active = [Active(*row) for row in found.fetchmany(1)]
        preconditions.check(connection, request, head, busy=bool(active))
        decision = lifecycle.admit(request.strategy, busy=bool(active))
        if not decision.accept:
            raise Conflict(BUSY)
        if active and (decision.stop_active is None or request.supersession.keep_queued):
            preconditions.check_room(connection, request)
        if decision.stop_active is None:
            found.close()
            return Place(assistant, head, [], first=not active)
        active += [Active(*row) for row in found]  # only now do the others matter, which may be thousands
        superseded = [run for run in active if not (request.supersession.keep_queued and run.unstarted)]
        return Place(
            assistant, head, superseded, first=len(superseded) == len(active) and all(run.unstarted for run in active)
        )

    def _thread(self, connection: sqlite3.Connection, request: RunRequest) -> rows.Head:
        """The head of the run's thread, which is made first when it is missing and may be made."""
        head = connection.execute(THREADS.thread_head, {"thread_id": request.thread_id}).fetchone()
        if head is not None:
            return rows.Head(*head)
        if request.new_thread is None:
            raise NotFound("Thread or assistant not found.")
        threads.insert(connection, request.new_thread, self._now)
        return rows.Head(text(request.new_thread.metadata), request.new_thread.temporary)

    def _row(self, connection: sqlite3.Connection, request: RunRequest, place: Place) -> rows.Columns:
        """The run's row; its thread is told which graph and assistant it ran with last."""
        row = new_runs.columns(request, place.assistant, place.head, self._due, busy=not place.first)
        touched = {"thread_id": request.thread_id, "metadata": row["thread_metadata"], "now": self._now}
        connection.execute(THREADS.touch_thread, touched)
        return row

    def _enqueue(self, connection: sqlite3.Connection, request: RunRequest, row: rows.Columns, *, starts: bool) -> None:
        """Put the run at the end of its thread's queue, or start it. Clients see it `pending` in any case."""
        began = {"status": "running", "attempt": 1} if starts else {"attempt": 0}
        connection.execute(SQL.insert_run, row | began)
        endings.note(connection, request.thread_id, request.run_id, "created", 0, request.strategy, self._now)
        if starts:
            endings.note(connection, request.thread_id, request.run_id, "started", 1, None, self._now)
        else:
            self._workers.wait()

    def _stop(self, connection: sqlite3.Connection, request: RunRequest, place: Place) -> Stopped:
        """Stop what is superseded: after the new run has its place, as a temporary thread goes with its last run."""
        if not place.superseded or request.strategy not in ("interrupt", "rollback"):
            return Stopped()
        how = supersession(request, request.strategy, self._now)
        return endings.stop(connection, place.superseded, how)

    def _claim(self, connection: sqlite3.Connection, row: rows.Columns, place: Place) -> None:
        carried = carrying.to_carry(connection, row["thread_id"]) if place.superseded or place.head.carries else ()
        claim = {**row, "attempt": 1, "cancel_action": None}
        self._workers.start(rows.claimed(tuple(claim[name] for name in rows.CLAIM), place.head, carried))
