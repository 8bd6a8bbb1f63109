"""The queue of every thread: admission, claims and reads of runs. How runs stop and end is in `endings`."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
from psycopg import Connection

from turnkeeper import lifecycle
from turnkeeper.contracts import Signals
from turnkeeper.errors import NotFound, Unavailable
from turnkeeper.lifecycle import CancelAction
from turnkeeper.storage import rows
from turnkeeper.storage.postgres import carrying, endings, threads
from turnkeeper.storage.postgres.admission import admitting
from turnkeeper.storage.postgres.checkpoint_puts import Owner
from turnkeeper.storage.postgres.database import Database, Job, in_transaction
from turnkeeper.storage.postgres.deferred import Deferrals
from turnkeeper.storage.postgres.leases import Lease
from turnkeeper.storage.postgres.statements import load
from turnkeeper.storage.stopping import CRASHED, LOST, Active, Stop
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

SQL = load("runs")

MOST_LATE = 1000
"""Delayed runs that join the others in one claim: bounds how long it takes."""

T = TypeVar("T")


class PostgresRuns:
    """Implements `contracts.RunStore`."""

    def __init__(self, database: Database, clock: Clock, lease: Lease, deferrals: Deferrals) -> None:
        """`lease`: of the workers of this process; `deferrals`: what they have put and is not on disk yet."""
        self._lease = lease
        self._deferrals = deferrals
        self._database = database
        self._clock = clock

    async def admit(self, requests: Sequence[RunRequest], signals: Signals) -> list[Admitted]:
        """See the contract."""
        return await self._database.transact(*admitting(requests, signals, self._lease, self._clock()))

    async def claim(self, limit: int) -> Claims:
        """See the contract."""
        now = self._clock()
        lease = self._lease.columns(now)
        return await self._database.run(lambda connection: _claim(connection, now, limit, lease))

    async def finish(self, run_id: str, attempt: int, outcome: Outcome) -> Ended:
        """See the contract."""
        now = timestamp(self._clock())
        puts = self._deferrals.begin(Owner(run_id, attempt))
        finish = in_transaction(lambda connection: endings.finish(connection, run_id, attempt, outcome, now))

        def job(connection: Connection) -> Ended:
            puts.check()
            try:
                end = puts.travel(lambda send: endings.end(connection, run_id, attempt, outcome, now, send))
            except Unavailable:
                raise
            except Exception:
                puts.settle(connection)  # raises what it was, if it was one of them
                raise
            if end is None:
                puts.settle(connection)
            return end or finish(connection)

        return await self._database.run(job)

    async def release(self, run_id: str, attempt: int, reason: str = "server stopping") -> None:
        """See the contract."""
        now = timestamp(self._clock())
        release = in_transaction(lambda connection: endings.release(connection, run_id, attempt, reason, now))
        await self._database.run(self._after_puts(run_id, attempt, release))

    async def seal(self, run_id: str, attempt: int) -> int:
        """See the contract."""
        seal = in_transaction(lambda connection: endings.seal(connection, run_id, attempt))
        return await self._database.run(self._after_puts(run_id, attempt, seal))

    def _after_puts(self, run_id: str, attempt: int, job: Job[T]) -> Job[T]:
        """A move that takes a run from an attempt: what that has done until now counts."""
        puts = self._deferrals.begin(Owner(run_id, attempt))

        def after(connection: Connection) -> T:
            puts.write(connection)
            return job(connection)

        return after

    async def recover(self) -> int:
        """See the contract."""
        due = self._clock()
        return await self._database.transact(lambda connection: endings.recover(connection, due))

    async def cancel(self, thread_id: str, run_ids: Sequence[str], action: CancelAction, reason: str) -> Stopped:
        """See the contract."""

        def find(connection: Connection) -> list[Active]:
            connection.execute(SQL.lock_thread, {"thread_id": thread_id})
            named = {"thread_id": thread_id, "run_ids": list(run_ids)}
            return [Active(*row) for row in connection.execute(SQL.runs_by_ids, named).fetchall()]

        return await self._stop(find, action, reason)

    async def cancel_by_status(self, status: str, action: CancelAction, reason: str) -> Stopped:
        """See the contract."""

        def find(connection: Connection) -> list[Active]:
            sought = {"status": status, "thread_ids": endings.lock_with(connection, status)}
            return [Active(*row) for row in connection.execute(SQL.runs_by_status, sought).fetchall()]

        return await self._stop(find, action, reason)

    async def cancel_thread(self, thread_id: str, action: CancelAction, reason: str) -> Stopped:
        """See the contract."""

        def find(connection: Connection) -> list[Active]:
            named = {"thread_id": thread_id, "limit": None}
            connection.execute(SQL.lock_thread, named)
            return [Active(*row) for row in connection.execute(SQL.runs_of_thread, named).fetchall()]

        return await self._stop(find, action, reason)

    async def get(self, thread_id: str, run_id: str) -> Run:
        """See the contract."""
        named = {"run_id": run_id, "thread_id": thread_id}
        row = await self._database.run(lambda connection: connection.execute(SQL.get_run, named).fetchone())
        if row is None:
            raise _missing()
        return rows.run(row)

    async def of_thread(self, thread_id: str, *, status: str | None, limit: int, offset: int) -> list[Run]:
        """See the contract."""
        parameters = {"thread_id": thread_id, "status": status, "limit": limit, "offset": offset}

        def job(connection: Connection) -> list[Run]:
            with connection.pipeline():
                thread = threads.ask(connection, thread_id)
                found = connection.execute(SQL.list_runs, parameters)
            threads.answer(thread, thread_id)
            return [rows.run(row) for row in found]

        return await self._database.run(job)

    async def end(self, thread_id: str, run_id: str) -> Ended | None:
        """See the contract."""
        named = {"thread_id": thread_id, "run_id": run_id}
        row = await self._database.run(lambda connection: connection.execute(SQL.run_end, named).fetchone())
        if row is None:
            raise _missing()
        ended = rows.end(row)
        return None if ended.status in lifecycle.ACTIVE else ended

    async def inactive(self, run_ids: Sequence[str]) -> list[str]:
        """See the contract."""
        named = {"run_ids": list(run_ids)}
        found = await self._database.run(lambda connection: connection.execute(SQL.inactive, named).fetchall())
        return [run_id for (run_id,) in found]

    async def waiting(self) -> Waiting:
        """See the contract."""
        [found] = await self._database.run(lambda connection: connection.execute(SQL.waiting).fetchall())
        return Waiting(*found)

    async def delete(self, thread_id: str, run_id: str) -> None:
        """See the contract."""
        now = timestamp(self._clock())
        await self._database.transact(lambda connection: endings.delete(connection, thread_id, run_id, now))

    async def _stop(self, find: Callable[[Connection], list[Active]], action: CancelAction, reason: str) -> Stopped:
        how = Stop(action=action, reason=reason, now=timestamp(self._clock()))
        return await self._database.transact(lambda connection: endings.stop(connection, find(connection), how))


def _claim(connection: Connection, due: float, limit: int, lease: dict[str, Any]) -> Claims:
    taken: list[Claimed] = []
    late = MOST_LATE
    while True:
        asked = {"due": due, "now": timestamp(due), "limit": limit - len(taken), "crashed": [CRASHED, LOST]}
        found = connection.execute(SQL.claim_run, {**asked, **lease, "most": late}).fetchall()
        taken += [_claimed(connection, row) for row in found if row[0] is not None]
        *_, joined, next_due = found[0]
        if not joined and not any(thread_id is not None and run_id is None for run_id, thread_id, *_ in found):
            return Claims(taken=taken, next_due=next_due if late else due)
        late = 0 if joined >= late else late


def _claimed(connection: Connection, row: tuple[Any, ...]) -> Claimed:
    *_, superseded, crashes, _, _ = row
    carried = carrying.still_to_carry(connection, superseded or ())
    claimed = rows.claimed(row[:8], rows.Head(*row[8:12]), carried)
    return msgspec.structs.replace(claimed, crashes=crashes) if crashes else claimed


def _missing() -> NotFound:
    return NotFound("Run not found")
