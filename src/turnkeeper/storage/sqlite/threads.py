"""Threads in SQLite."""

import sqlite3
from collections.abc import Callable
from typing import Any

import msgspec

from turnkeeper.codec import decode, text
from turnkeeper.errors import Conflict, NotFound
from turnkeeper.lifecycle import RunStatus
from turnkeeper.storage import rows
from turnkeeper.storage.queries import load
from turnkeeper.storage.sqlite import checkpoint_removal, events
from turnkeeper.storage.sqlite.database import Database
from turnkeeper.storage.stopping import GONE
from turnkeeper.types import Clock, Ended, JournalEntry, NewThread, Outcome, Page, Select, Stopped, Thread, timestamp

SQL = load("sqlite", "threads")
RUNS = load("sqlite", "runs")


class SqliteThreads:
    """Implements `contracts.ThreadStore`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def create(self, thread: NewThread, *, exist_ok: bool) -> Thread:
        """See the contract."""
        now = timestamp(self._clock())

        def job(connection: sqlite3.Connection) -> Thread:
            if not insert(connection, thread, now) and not exist_ok:
                raise Conflict(f"Thread with ID {thread.thread_id} already exists")
            return fetch(connection, thread.thread_id)

        return await self._database.write(job)

    async def get(self, thread_id: str) -> Thread:
        """See the contract."""
        return await self._database.read(lambda connection: fetch(connection, thread_id))

    async def update(self, thread_id: str, metadata: dict[str, Any], ttl: msgspec.Raw | None) -> Thread:
        """See the contract."""
        now = timestamp(self._clock())

        def job(connection: sqlite3.Connection) -> Thread:
            merged = {**decode(fetch(connection, thread_id).metadata), **metadata}
            connection.execute(
                SQL.update_thread,
                {"thread_id": thread_id, "metadata": text(merged), "ttl": ttl and bytes(ttl).decode(), "now": now},
            )
            return fetch(connection, thread_id)

        return await self._database.write(job)

    async def publish_state(self, thread_id: str, outcome: Outcome) -> None:
        """See the contract."""
        now = timestamp(self._clock())
        newest = {**_state(thread_id, outcome, now), "checkpoint_id": outcome.checkpoint_id}

        def job(connection: sqlite3.Connection) -> None:
            fetch(connection, thread_id)
            connection.execute(SQL.publish_state, newest)

        await self._database.write(job)

    async def delete(self, thread_id: str) -> Stopped:
        """See the contract."""
        now = timestamp(self._clock())

        def job(connection: sqlite3.Connection) -> Stopped:
            stopped = _bury(connection, thread_id, now)
            if not remove(connection, thread_id):
                raise missing(thread_id)
            return stopped

        return await self._database.write(job)

    async def copy(self, thread_id: str, copy_id: str) -> Thread:
        """See the contract."""
        now = timestamp(self._clock())

        def job(connection: sqlite3.Connection) -> Thread:
            copied = connection.execute(
                SQL.copy_thread, {"thread_id": thread_id, "copy_id": copy_id, "now": now}
            ).fetchone()
            if copied is None:
                raise missing(thread_id)
            checkpoint_removal.copy_thread(connection, thread_id, copy_id)
            return fetch(connection, copy_id)

        return await self._database.write(job)

    async def journal(self, thread_id: str) -> list[JournalEntry]:
        """See the contract."""

        def job(connection: sqlite3.Connection) -> list[JournalEntry]:
            fetch(connection, thread_id)
            return [JournalEntry(*row) for row in connection.execute(SQL.journal, {"thread_id": thread_id})]

        return await self._database.read(job)

    async def search(self, filters: dict[str, Any], select: Select) -> Page:
        """See the contract."""
        parameters = {**_NO_FILTERS, **filters, **msgspec.structs.asdict(select)}
        return await self._database.read(search(SQL.search_threads, parameters, rows.thread))

    async def count(self, filters: dict[str, Any]) -> int:
        """See the contract."""
        parameters = {**_NO_FILTERS, **filters}
        found = await self._database.read(
            lambda connection: connection.execute(SQL.count_threads, parameters).fetchone()
        )
        return int(found[0])


_NO_FILTERS: dict[str, Any] = {"ids": None, "metadata": None, "values": None, "status": None}


def search(
    statement: str, parameters: dict[str, Any], build: Callable[[rows.Row], Any]
) -> Callable[[sqlite3.Connection], Page]:
    """A job that runs a search whose last column counts all that match."""

    def job(connection: sqlite3.Connection) -> Page:
        found = connection.execute(statement, parameters).fetchall()
        total = found[0][-1] if found else 0
        if not found and parameters["offset"]:  # past the end: the count has no row to ride on
            first = connection.execute(statement, {**parameters, "offset": 0, "limit": 1}).fetchone()
            total = first[-1] if first else 0
        return Page(items=[build(row) for row in found], total=total)

    return job


def insert(connection: sqlite3.Connection, thread: NewThread, now: str) -> bool:
    """Make a thread; False when the id is taken."""
    parameters = {
        "thread_id": thread.thread_id,
        "metadata": text(thread.metadata),
        "temporary": int(thread.temporary),
        "ttl": thread.ttl and bytes(thread.ttl).decode(),
        "now": now,
    }
    return connection.execute(SQL.insert_thread, parameters).fetchone() is not None


def fetch(connection: sqlite3.Connection, thread_id: str) -> Thread:
    """One thread. Raises `NotFound`."""
    row = connection.execute(SQL.get_thread, {"thread_id": thread_id}).fetchone()
    if row is None:
        raise missing(thread_id)
    return rows.thread(row)


def _bury(connection: sqlite3.Connection, thread_id: str, now: str) -> Stopped:
    """Put up the tombstones of a thread's active runs, which go with it."""
    active = connection.execute(RUNS.runs_of_thread, {"thread_id": thread_id}).fetchall()
    for run_id, _, _, attempt in active:
        about = {"thread_id": thread_id, "run_id": run_id, "attempt": attempt}
        connection.execute(RUNS.note, {**about, "event": "tombstone", "detail": GONE, "now": now})
    return Stopped(
        ended=tuple(Ended(run_id=run_id, thread_id=thread_id, status=None, reason=GONE) for run_id, *_ in active),
        stopping=tuple(run_id for run_id, _, status, _ in active if status == "running"),
        found=bool(active),
    )


def remove(connection: sqlite3.Connection, thread_id: str) -> bool:
    """Remove a thread with its runs and checkpoints; False when there was none."""
    removed = connection.execute(SQL.delete_thread, {"thread_id": thread_id}).fetchone()
    checkpoint_removal.delete_thread(connection, thread_id)
    events.forget_thread(connection, thread_id)
    return removed is not None


def write_state(
    connection: sqlite3.Connection, thread_id: str, outcome: Outcome, run_id: str, status: RunStatus, now: str
) -> None:
    """The newest state of a thread as clients see it, left by a run that ended with `status`."""
    left_by = {"last_run": run_id, "last_status": status}
    connection.execute(SQL.set_state, {**_state(thread_id, outcome, now), **left_by})


def _state(thread_id: str, outcome: Outcome, now: str) -> dict[str, str | None]:
    return {
        "thread_id": thread_id,
        "values": rows.text(outcome.values),
        "interrupts": rows.text(outcome.interrupts),
        "rest": outcome.rest,
        "error": rows.text(outcome.error),
        "now": now,
    }


def missing(thread_id: str) -> NotFound:
    """The refusal where a thread does not exist."""
    return NotFound(f"Thread with ID {thread_id} not found")
