"""Leases: a running run is its worker's for as long as the worker is heard of. Who is silent for too long loses it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg import Connection

from turnkeeper.lifecycle import CancelAction
from turnkeeper.storage.postgres import endings
from turnkeeper.storage.postgres.statements import load
from turnkeeper.storage.stopping import LOST, Active
from turnkeeper.types import timestamp, uuid7

SQL = load("runs")

MOST = 100
"""Runs taken from silent workers per transaction."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Who claims runs, and for how long they are its own without a heartbeat.

    The servers' clocks are compared: they may differ by a fraction of `seconds`.
    """

    worker_id: str = field(default_factory=uuid7)
    seconds: float = 15.0

    def columns(self, now: float) -> dict[str, Any]:
        """A run's columns when it is claimed, or heard of, at `now` (seconds since the epoch)."""
        return {"worker_id": self.worker_id, "lease_until": now + self.seconds}


def heartbeat(connection: Connection, lease: Lease, now: float) -> Sequence[tuple[str, int, CancelAction | None]]:
    """The worker is alive. Returns the runs it still has, each with its attempt and whether it is to stop."""
    return connection.execute(SQL.heartbeat, lease.columns(now)).fetchall()


def expire(connection: Connection, now: float) -> int:
    """Put runs of workers that were silent for too long back in their queues, some at once; how many that were."""
    found = connection.execute(SQL.lock_threads_expired, {"due": now, "limit": MOST}).fetchall()
    expired = {"thread_ids": [thread_id for (thread_id,) in found], "due": now, "now": timestamp(now)}
    taken = connection.execute(SQL.expire_runs, expired).fetchall()
    for thread_id, run_id, attempt in taken:
        endings.note(connection, Active(run_id, thread_id, "pending", attempt), "released", LOST, timestamp(now))
    endings.leave(connection, {thread_id for thread_id, *_ in taken})
    return len(taken)
