"""The queue of every thread: admission, claims and reads of runs. How runs stop and end is in `endings`."""

import sqlite3
from collections.abc import Sequence

import msgspec

from turnkeeper import lifecycle
from turnkeeper.codec import text
from turnkeeper.contracts import Signals
from turnkeeper.errors import NotFound, Unavailable, WriteLost
from turnkeeper.lifecycle import CancelAction
from turnkeeper.storage import rows
from turnkeeper.storage.queries import load
from turnkeeper.storage.sqlite import carrying, endings, threads
from turnkeeper.storage.sqlite.admission import Admission
from turnkeeper.storage.sqlite.database import Database
from turnkeeper.storage.stopping import Active, Stop
from turnkeeper.types import (
    Admitted,
    Claimed,
    Claims,
    Clock,
    Ended,
    Outcome,
    Run,
    RunRequest,
    Stopped,
    Waiting,
    timestamp,
)

SQL = load("sqlite", "runs")
THREADS = load("sqlite", "threads")

MOST_DUE = 1000
"""Delayed runs that join the others in one claim: bounds how long it takes."""


class SqliteRuns:
    """Implements `contracts.RunStore`."""

    def __init__(self, database: Database, clock: Clock, failures: dict[str, BaseException]) -> None:
        """`failures`: what went wrong with writes nobody waited for, by run."""
        self._database = database
        self._clock = clock
        self._failures = failures

    async def admit(self, requests: Sequence[RunRequest], signals: Signals) -> list[Admitted]:
        """See the contract."""
        admission = Admission(signals, self._clock())
        return await self._database.write(
            lambda connection: [admission.admit(connection, request) for request in requests], admission.done
        )

    async def claim(self, limit: int) -> Claims:
        """See the contract."""
        now = self._clock()

        def job(connection: sqlite3.Connection) -> Claims:
            next_due = _let_join(connection, now)
            taken: list[Claimed] = []
            while len(taken) < limit and (claimed := _claim(connection, timestamp(now))):
                taken.append(claimed)
            return Claims(taken=taken, next_due=next_due)

        return await self._database.write(job)

    async def finish(self, run_id: str, attempt: int, outcome: Outcome) -> Ended:
        """See the contract."""
        now = timestamp(self._clock())

        def job(connection: sqlite3.Connection) -> Ended:
            if failure := self._failures.get(run_id):
                raise WriteLost(str(failure)) if isinstance(failure, Unavailable) else failure
            return endings.finish(connection, run_id, attempt, outcome, now)

        try:
            return await self._database.write(job)
        except Unavailable:
            raise  # it did not come so far: what failed before has still to be told
        except BaseException:
            self._failures.pop(run_id, None)
            raise

    async def release(self, run_id: str, attempt: int, reason: str = "server stopping") -> None:
        """See the contract."""
        now = timestamp(self._clock())
        await self._database.write(lambda connection: endings.release(connection, run_id, attempt, reason, now))

    async def seal(self, run_id: str, attempt: int) -> int:
        """See the contract."""
        return await self._database.write(lambda connection: endings.seal(connection, run_id, attempt))

    async def recover(self) -> int:
        """See the contract."""
        now = timestamp(self._clock())
        return await self._database.write(lambda connection: endings.recover(connection, now))

    async def cancel(self, thread_id: str, run_ids: Sequence[str], action: CancelAction, reason: str) -> Stopped:
        """See the contract."""
        return await self._stop(SQL.runs_by_ids, {"thread_id": thread_id, "run_ids": text(run_ids)}, action, reason)

    async def cancel_by_status(self, status: str, action: CancelAction, reason: str) -> Stopped:
        """See the contract."""
        return await self._stop(SQL.runs_by_status, {"status": status}, action, reason)

    async def cancel_thread(self, thread_id: str, action: CancelAction, reason: str) -> Stopped:
        """See the contract."""
        return await self._stop(SQL.runs_of_thread, {"thread_id": thread_id}, action, reason)

    async def get(self, thread_id: str, run_id: str) -> Run:
        """See the contract."""
        return await self._database.read(lambda connection: _fetch(connection, thread_id, run_id))

    async def of_thread(self, thread_id: str, *, status: str | None, limit: int, offset: int) -> list[Run]:
        """See the contract."""
        parameters = {"thread_id": thread_id, "status": status, "limit": limit, "offset": offset}

        def job(connection: sqlite3.Connection) -> list[Run]:
            threads.fetch(connection, thread_id)
            return [rows.run(row) for row in connection.execute(SQL.list_runs, parameters)]

        return await self._database.read(job)

    async def end(self, thread_id: str, run_id: str) -> Ended | None:
        """See the contract."""
        parameters = {"thread_id": thread_id, "run_id": run_id}
        row = await self._database.read(lambda connection: connection.execute(SQL.run_end, parameters).fetchone())
        if row is None:
            raise _missing()
        ended = rows.end(row)
        return None if ended.status in lifecycle.ACTIVE else ended

    async def inactive(self, run_ids: Sequence[str]) -> list[str]:
        """See the contract."""
        parameters = {"run_ids": text(run_ids)}
        found = await self._database.read(lambda connection: connection.execute(SQL.inactive, parameters).fetchall())
        return [run_id for (run_id,) in found]

    async def waiting(self) -> Waiting:
        """See the contract."""
        return Waiting(*await self._database.read(lambda connection: connection.execute(SQL.waiting).fetchone()))

    async def delete(self, thread_id: str, run_id: str) -> None:
        """See the contract."""
        now = timestamp(self._clock())
        await self._database.write(lambda connection: endings.delete(connection, thread_id, run_id, now))

    async def _stop(self, statement: str, parameters: dict[str, str], action: CancelAction, reason: str) -> Stopped:
        now = timestamp(self._clock())

        def job(connection: sqlite3.Connection) -> Stopped:
            found = [Active(*row) for row in connection.execute(statement, parameters).fetchall()]
            return endings.stop(connection, found, Stop(action=action, reason=reason, now=now))

        return await self._database.write(job)


def _let_join(connection: sqlite3.Connection, now: float) -> float | None:
    """Delayed runs that are due wait for their turn from now on; when the next one is due."""
    (due,) = connection.execute(SQL.next_due).fetchone()
    if due is not None and due <= now:
        connection.execute(SQL.let_join, {"due": now, "most": MOST_DUE})
        (due,) = connection.execute(SQL.next_due).fetchone()
    return due


def _claim(connection: sqlite3.Connection, now: str) -> Claimed | None:
    row = connection.execute(SQL.claim_run, {"now": now}).fetchone()
    if row is None:
        return None
    head = rows.Head(*connection.execute(THREADS.thread_head, {"thread_id": row[1]}).fetchone())
    claimed = rows.claimed(row, head, carrying.to_carry(connection, row[1]) if head.carries else ())
    if claimed.attempt > 1:
        crashes = endings.crashes(connection, claimed.thread_id, claimed.run_id)
        claimed = msgspec.structs.replace(claimed, crashes=crashes)
    endings.note(connection, claimed.thread_id, claimed.run_id, "started", claimed.attempt, None, now)
    return claimed


def _fetch(connection: sqlite3.Connection, thread_id: str, run_id: str) -> Run:
    row = connection.execute(SQL.get_run, {"run_id": run_id, "thread_id": thread_id}).fetchone()
    if row is None:
        raise _missing()
    return rows.run(row)


def _missing() -> NotFound:
    return NotFound("Run not found")
