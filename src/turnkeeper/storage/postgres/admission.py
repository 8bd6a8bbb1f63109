"""Admission: new runs get their place in the queues, and what they supersede is stopped, all in one transaction.

Two round trips: one to lock the thread and see everything that matters, one to write the answer. A run that can start
at once is claimed in the same transaction for a worker of this process that has room.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg import Connection, Cursor

from turnkeeper import lifecycle
from turnkeeper.contracts import Signals
from turnkeeper.errors import Conflict, NotFound
from turnkeeper.storage import new_runs, preconditions, rows
from turnkeeper.storage.handing_over import HandOver
from turnkeeper.storage.postgres import assistants, carrying, endings, threads
from turnkeeper.storage.postgres.database import Job
from turnkeeper.storage.postgres.leases import Lease
from turnkeeper.storage.postgres.statements import load
from turnkeeper.storage.stopping import Active, supersession
from turnkeeper.types import Admitted, Assistant, NewThread, Run, RunRequest, Stopped, timestamp

SQL = load("runs")
THREADS = load("threads")
ASSISTANTS = load("assistants")


@dataclass(slots=True)
class Known:
    """Whether an idempotency key is new, and of which run it is: answers on their way."""

    is_new: Cursor[Any]
    run: Cursor[Any]


@dataclass(slots=True)
class Found:
    """What a run finds: answers that are on their way, read when they are asked for."""

    head: Cursor[Any]
    assistant: Cursor[Any]
    active: Cursor[Any]
    waiting: Cursor[Any]
    taken: Cursor[Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run stands once it is admitted: its assistant, its thread and what it stops."""

    assistant: Assistant
    head: rows.Head
    superseded: list[Active] = field(default_factory=list[Active])
    first: bool = True
    """Whether nothing of the thread stands between it and its start."""


class Admission:
    """One transaction's admissions."""

    def __init__(self, signals: Signals, lease: Lease, now: float) -> None:
        """`lease`: of the workers that `signals` knows; `now`: seconds since the epoch."""
        self._lease = lease
        self._workers = HandOver(signals)
        self._due = now
        self._now = timestamp(now)

    def admit_all(self, connection: Connection, requests: Sequence[RunRequest]) -> list[Admitted]:
        """Admit runs in order. Two batches lock the threads they share in the same order."""
        if len(requests) > 1:
            connection.execute(SQL.lock_threads, {"thread_ids": [request.thread_id for request in requests]})
        return [self.admit(connection, request) for request in requests]

    def admit(self, connection: Connection, request: RunRequest) -> Admitted:
        """Look at the thread's active runs, let `lifecycle` decide, write the answer."""
        known = self._remember(connection, request)
        found = self._look(connection, request)
        if known is not None and (run := _repeated(connection, request, known)) is not None:
            return Admitted(run=run)
        place = _place(request, found)
        row = new_runs.columns(request, place.assistant, place.head, self._due, busy=not place.first)
        starts = place.first and new_runs.may_start_at_once(row) and self._workers.reserve()
        self._write(connection, row, starts=starts)
        stopped = self._stop(connection, request, place)
        if starts:
            self._claim(connection, row, place)
        else:
            self._workers.wait()
        return Admitted(run=rows.run(tuple(row[name] for name in rows.RUN)), stopped=stopped)

    def done(self, admitted: list[Admitted] | None) -> None:
        """Once it is on disk (`None`: it is not): tell the workers."""
        self._workers.done(written=admitted is not None)

    def _remember(self, connection: Connection, request: RunRequest) -> Known | None:
        """Put down the idempotency key, or find that it is known; make the thread, if there is none."""
        key, brought = request.preconditions.idempotency_key, request.new_thread
        if key is None and brought is None:
            return None
        thread = threads.columns(brought or NewThread(request.thread_id, {}), self._now)
        named = {"scope": preconditions.scope(request), "key": key}
        made = {
            "fingerprint": request.preconditions.fingerprint,
            "run_id": request.run_id,
            "brings": brought is not None,
        }
        asked = {**thread, "thread_metadata": thread["metadata"], **named, **made}
        is_new = connection.execute(SQL.remember, asked)
        return None if key is None else Known(is_new, connection.execute(SQL.find_key, named))

    def _look(self, connection: Connection, request: RunRequest) -> Found:
        thread = {"thread_id": request.thread_id}
        supersedes = request.strategy in ("interrupt", "rollback")
        connection.execute(SQL.lock_thread, thread)
        return Found(
            head=connection.execute(THREADS.thread_head, thread),
            assistant=connection.execute(ASSISTANTS.get_assistant, {"assistant_id": request.assistant_id}),
            active=connection.execute(SQL.runs_of_thread, {**thread, "limit": None if supersedes else 1}),
            waiting=connection.execute(SQL.count_waiting, {**thread, "limit": request.preconditions.max_queued}),
            taken=connection.execute(SQL.run_exists, {"run_id": request.run_id}),
        )

    def _write(self, connection: Connection, row: rows.Columns, *, starts: bool) -> None:
        """Put the run at the end of its thread's queue, or start it. Clients see it `pending` in any case."""
        waits = {"attempt": 0, "worker_id": None, "lease_until": None}
        began = {"status": "running", "attempt": 1, **self._lease.columns(self._due)}
        connection.execute(SQL.admit_run, {**row, **(began if starts else waits), "now": self._now})

    def _stop(self, connection: Connection, request: RunRequest, place: Place) -> Stopped:
        """Stop what is superseded: after the new run has its place, as a temporary thread goes with its last run."""
        if not place.superseded or request.strategy not in ("interrupt", "rollback"):
            return Stopped()
        return endings.stop(connection, place.superseded, supersession(request, request.strategy, self._now))

    def _claim(self, connection: Connection, row: rows.Columns, place: Place) -> None:
        carried = carrying.to_carry(connection, row["thread_id"]) if place.superseded or place.head.carries else ()
        claim = {**row, "attempt": 1, "cancel_action": None}
        head = place.head._replace(metadata=row["thread_metadata"])
        self._workers.start(rows.claimed(tuple(claim[name] for name in rows.CLAIM), head, carried))


def admitting(
    requests: Sequence[RunRequest],
    signals: Signals,
    lease: Lease,
    now: float,
    *,
    only_if: Callable[[Connection], bool] = lambda _: True,
) -> tuple[Job[list[Admitted]], Callable[[list[Admitted] | None], None]]:
    """A transaction that admits runs, which may be begun anew, and what follows it; see `Admission`.

    `only_if` is asked in the transaction, before anything else: none is admitted when it says no.
    """
    admissions: list[Admission] = []

    def job(connection: Connection) -> list[Admitted]:
        for given_up in admissions[-1:]:
            given_up.done(None)
        admissions.append(Admission(signals, lease, now))
        return admissions[-1].admit_all(connection, requests) if only_if(connection) else []

    def done(admitted: list[Admitted] | None) -> None:
        for admission in admissions[-1:]:
            admission.done(admitted)

    return job, done


def _repeated(connection: Connection, request: RunRequest, known: Known) -> Run | None:
    """The run that was made with the same key, if this is not the first. Raises `Conflict`."""
    [(is_new,)] = known.is_new.fetchall()
    if is_new:
        return None
    [(run_id, fingerprint)] = known.run.fetchall()
    row = connection.execute(SQL.run_by_id, {"run_id": run_id}).fetchone()
    return preconditions.repetition(request, (run_id, fingerprint), None if row is None else rows.run(row))


def _place(request: RunRequest, found: Found) -> Place:
    """What becomes of the run. Raises `NotFound`, `Conflict` and `TooMany`."""
    head, assistant = found.head.fetchone(), found.assistant.fetchone()
    if head is None:
        raise NotFound("Thread or assistant not found.")
    if assistant is None:
        raise assistants.missing(request.assistant_id)
    place = Place(rows.assistant(assistant), rows.Head(*head))
    active = [Active(*row) for row in found.active.fetchall()]
    preconditions.check(request, place.head, busy=bool(active), taken=found.taken.fetchone() is not None)
    decision = lifecycle.admit(request.strategy, busy=bool(active))
    if not decision.accept:
        raise Conflict(preconditions.BUSY)
    if active and (decision.stop_active is None or request.supersession.keep_queued):
        preconditions.check_room(request, found.waiting.fetchall()[0][0])
    if decision.stop_active is None:
        return Place(place.assistant, place.head, first=not active)
    superseded = [run for run in active if not (request.supersession.keep_queued and run.unstarted)]
    first = len(superseded) == len(active) and all(run.unstarted for run in active)
    return Place(place.assistant, place.head, superseded, first=first)
