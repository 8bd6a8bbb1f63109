"""Leases: a running run is its worker's for as long as the worker is heard of. Who is silent for too long loses it."""

from dataclasses import dataclass, field
from typing import Any

from psycopg import Connection

from turnkeeper.lifecycle import CancelAction
from turnkeeper.storage.postgres import endings
from turnkeeper.storage.postgres.clock import SharedClock
from turnkeeper.storage.postgres.database import NAME, Database
from turnkeeper.storage.postgres.statements import load
from turnkeeper.storage.stopping import LOST, Active
from turnkeeper.types import Clock, Held, timestamp, uuid7

SQL = load("runs")

LEASE = 10.0
"""Seconds a worker may be silent, unless told otherwise."""

MOST = 100
"""Runs taken from silent workers per transaction."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Who claims runs, and for how long they are its own without a heartbeat."""

    worker_id: str = field(default_factory=uuid7)
    seconds: float = LEASE

    def columns(self, now: float) -> dict[str, Any]:
        """A run's columns when it is claimed, or heard of, at `now` (seconds since the epoch)."""
        return {"worker_id": self.worker_id, "lease_until": now + self.seconds}


class PostgresLeases:
    """Implements `contracts.Leases`."""

    def __init__(self, database: Database, clock: Clock, lease: Lease) -> None:
        self._database = database
        self._clock = clock
        self._lease = lease

    @property
    def seconds(self) -> float:
        """See the contract."""
        return self._lease.seconds

    async def renew(self) -> dict[str, Held]:
        """See the contract."""

        def job(connection: Connection) -> list[tuple[str, int, CancelAction | None]]:
            if isinstance(self._clock, SharedClock):
                self._clock.adjust(connection)
            return connection.execute(SQL.heartbeat, self._lease.columns(self._clock())).fetchall()

        found = await self._database.run(job)
        return {run_id: Held(attempt, cancel) for run_id, attempt, cancel in found}

    async def expire(self) -> int:
        """See the contract."""
        now, taken = self._clock(), 0
        standing = {"name": NAME, "longest": self._lease.seconds}
        await self._database.run(lambda connection: connection.execute(SQL.end_standing, standing))
        while True:
            last = await self._database.transact(lambda connection: _expire(connection, now))
            taken += last
            if last < MOST:
                return taken


def _expire(connection: Connection, now: float) -> int:
    """Put up to `MOST` runs back in their queues; how many."""
    found = connection.execute(SQL.lock_threads_expired, {"due": now, "limit": MOST}).fetchall()
    expired = {"thread_ids": [thread_id for (thread_id,) in found], "due": now, "now": timestamp(now)}
    taken = connection.execute(SQL.expire_runs, expired).fetchall()
    for thread_id, run_id, attempt in taken:
        endings.note(connection, Active(run_id, thread_id, "pending", attempt), "released", LOST, timestamp(now))
    endings.leave(connection, {thread_id for thread_id, *_ in taken})
    return len(taken)
