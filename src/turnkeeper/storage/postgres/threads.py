"""Threads in PostgreSQL."""

from collections.abc import Callable
from typing import Any

import msgspec
from psycopg import Connection, Cursor

from turnkeeper.codec import decode, text
from turnkeeper.errors import Conflict, NotFound
from turnkeeper.lifecycle import RunStatus
from turnkeeper.storage import rows
from turnkeeper.storage.postgres import checkpoint_removal, events, filters
from turnkeeper.storage.postgres.database import Database
from turnkeeper.storage.postgres.statements import load
from turnkeeper.storage.stopping import GONE
from turnkeeper.types import Clock, Ended, JournalEntry, NewThread, Outcome, Page, Select, Stopped, Thread, timestamp

SQL = load("threads")
RUNS = load("runs")


class PostgresThreads:
    """Implements `contracts.ThreadStore`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def create(self, thread: NewThread, *, exist_ok: bool) -> Thread:
        """See the contract."""
        parameters = columns(thread, timestamp(self._clock()))

        def job(connection: Connection) -> Thread:
            with connection.pipeline():
                made = connection.execute(SQL.insert_thread, parameters)
                found = ask(connection, thread.thread_id)
            if made.fetchone() is None and not exist_ok:
                raise Conflict(f"Thread with ID {thread.thread_id} already exists")
            return answer(found, thread.thread_id)

        return await self._database.run(job)

    async def get(self, thread_id: str) -> Thread:
        """See the contract."""
        return await self._database.run(lambda connection: fetch(connection, thread_id))

    async def update(self, thread_id: str, metadata: dict[str, Any], ttl: msgspec.Raw | None) -> Thread:
        """See the contract."""
        now = timestamp(self._clock())

        def job(connection: Connection) -> Thread:
            connection.execute(RUNS.lock_thread, {"thread_id": thread_id})
            merged = text({**decode(fetch(connection, thread_id).metadata), **metadata})
            changes = {"thread_id": thread_id, "metadata": merged, "ttl": rows.text(ttl), "now": now}
            connection.execute(SQL.update_thread, changes)
            return fetch(connection, thread_id)

        return await self._database.transact(job)

    async def publish_state(self, thread_id: str, outcome: Outcome) -> None:
        """See the contract."""
        now = timestamp(self._clock())
        newest = {**state(thread_id, outcome, now), "checkpoint_id": outcome.checkpoint_id}

        def job(connection: Connection) -> None:
            connection.execute(RUNS.lock_thread, {"thread_id": thread_id})
            connection.execute(SQL.publish_state, newest)
            fetch(connection, thread_id)

        await self._database.transact(job)

    async def delete(self, thread_id: str) -> Stopped:
        """See the contract."""
        now = timestamp(self._clock())

        def job(connection: Connection) -> Stopped:
            connection.execute(RUNS.lock_thread, {"thread_id": thread_id})
            stopped = _bury(connection, thread_id, now)
            if not remove(connection, thread_id):
                raise missing(thread_id)
            return stopped

        return await self._database.transact(job)

    async def copy(self, thread_id: str, copy_id: str) -> Thread:
        """See the contract."""
        named = {"thread_id": thread_id, "copy_id": copy_id, "now": timestamp(self._clock())}

        def job(connection: Connection) -> Thread:
            connection.execute(RUNS.lock_thread, named)
            if connection.execute(SQL.copy_thread, named).fetchone() is None:
                raise missing(thread_id)
            checkpoint_removal.copy_thread(connection, thread_id, copy_id)
            return fetch(connection, copy_id)

        return await self._database.transact(job)

    async def journal(self, thread_id: str) -> list[JournalEntry]:
        """See the contract."""

        def job(connection: Connection) -> list[JournalEntry]:
            with connection.pipeline():
                thread = ask(connection, thread_id)
                found = connection.execute(SQL.journal, {"thread_id": thread_id})
            answer(thread, thread_id)
            return [JournalEntry(*row) for row in found]

        return await self._database.run(job)

    async def search(self, filters: dict[str, Any], select: Select) -> Page:
        """See the contract."""
        return await self._database.run(search(SQL.search_threads, _sought(filters, select), rows.thread))

    async def count(self, filters: dict[str, Any]) -> int:
        """See the contract."""
        sought = _sought(filters)
        found = await self._database.run(lambda connection: connection.execute(SQL.count_threads, sought).fetchall())
        return found[0][0]


def _sought(given: dict[str, Any], select: Select | None = None) -> dict[str, Any]:
    none = {"ids": None, "metadata": None, "values": None, "status": None}
    return {**none, **filters.parameters(given), **(msgspec.structs.asdict(select) if select else {})}


def search(
    statement: bytes, parameters: dict[str, Any], build: Callable[[rows.Row], Any]
) -> Callable[[Connection], Page]:
    """A job that runs a search whose last column counts all that match."""

    def job(connection: Connection) -> Page:
        found = connection.execute(statement, parameters).fetchall()
        total = found[0][-1] if found else 0
        if not found and parameters["offset"]:  # past the end: the count has no row to ride on
            first = connection.execute(statement, {**parameters, "offset": 0, "limit": 1}).fetchone()
            total = first[-1] if first else 0
        return Page(items=[build(row) for row in found], total=total)

    return job


def columns(thread: NewThread, now: str) -> dict[str, Any]:
    """A new thread's row."""
    return {
        "thread_id": thread.thread_id,
        "metadata": text(thread.metadata),
        "temporary": thread.temporary,
        "ttl": rows.text(thread.ttl),
        "now": now,
    }


def ask(connection: Connection, thread_id: str) -> Cursor[Any]:
    """Ask for a thread, for `answer` to read once other questions are on their way, too."""
    return connection.execute(SQL.get_thread, {"thread_id": thread_id})


def answer(asked: Cursor[Any], thread_id: str) -> Thread:
    """The thread that was asked for. Raises `NotFound`."""
    row = asked.fetchone()
    if row is None:
        raise missing(thread_id)
    return rows.thread(row)


def fetch(connection: Connection, thread_id: str) -> Thread:
    """One thread. Raises `NotFound`."""
    return answer(ask(connection, thread_id), thread_id)


def remove(connection: Connection, thread_id: str) -> bool:
    """Remove a thread with its runs and checkpoints; False when there was none.

    The runs go first: whoever still writes a checkpoint of one holds on to its row until that is done.
    """
    removed = connection.execute(SQL.delete_thread, {"thread_id": thread_id})
    checkpoint_removal.delete_thread(connection, thread_id)
    events.forget_thread(connection, thread_id)
    return removed.fetchone() is not None


def write_state(
    connection: Connection, thread_id: str, outcome: Outcome, run_id: str, status: RunStatus, now: str
) -> None:
    """The newest state of a thread as clients see it, left by a run that ended with `status`."""
    left_by = {"last_run": run_id, "last_status": status}
    connection.execute(SQL.set_state, {**state(thread_id, outcome, now), **left_by})


def state(thread_id: str, outcome: Outcome, now: str) -> dict[str, str | None]:
    """What an outcome says of a thread's state, as columns."""
    return {
        "thread_id": thread_id,
        "values": rows.text(outcome.values),
        "interrupts": rows.text(outcome.interrupts),
        "rest": outcome.rest,
        "error": rows.text(outcome.error),
        "now": now,
    }


def _bury(connection: Connection, thread_id: str, now: str) -> Stopped:
    """Put up the tombstones of a thread's active runs, which go with it."""
    active = connection.execute(RUNS.runs_of_thread, {"thread_id": thread_id, "limit": None}).fetchall()
    for run_id, _, _, attempt in active:
        about = {"thread_id": thread_id, "run_id": run_id, "attempt": attempt}
        connection.execute(RUNS.note, {**about, "event": "tombstone", "detail": GONE, "now": now})
    return Stopped(
        ended=tuple(Ended(run_id=run_id, thread_id=thread_id, status=None, reason=GONE) for run_id, *_ in active),
        stopping=tuple(run_id for run_id, _, status, _ in active if status == "running"),
        found=bool(active),
    )


def missing(thread_id: str) -> NotFound:
    """The refusal where a thread does not exist."""
    return NotFound(f"Thread with ID {thread_id} not found")
