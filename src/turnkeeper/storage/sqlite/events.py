"""Events that outlive their run: written in passing, read when a stream is resumed."""

import sqlite3
from collections.abc import Sequence

import structlog

from turnkeeper.contracts import Feed, Frame
from turnkeeper.storage.queries import load
from turnkeeper.storage.sqlite.database import Database

log = structlog.get_logger()

SQL = load("sqlite", "events")

MOST = 500
"""Rows removed per transaction."""

SEPARATOR = "|"
"""Between the parts of a namespace (LangGraph's own separator, so it is in none of them)."""


class SqliteEvents:
    """Implements `contracts.EventStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def post(self, frames: Sequence[Frame]) -> None:
        """See the contract."""
        rows = [_row(frame) for frame in frames]
        self._database.post(lambda connection: connection.executemany(SQL.keep_event, rows), _lost)

    async def read(self, feed: Feed, after: int, upto: int, limit: int) -> list[Frame]:
        """See the contract. It waits for its turn behind what was posted, on the writer."""
        bounds = {"after": after, "upto": upto, "limit": limit, "protocol": int(feed.protocol)}
        statement = SQL.events_of_thread if feed.run_id is None else SQL.events_of_run
        whose = {"thread_id": feed.thread_id} if feed.run_id is None else {"run_id": feed.run_id}

        def job(connection: sqlite3.Connection) -> list[Frame]:
            return [_frame(row) for row in connection.execute(statement, bounds | whose)]

        return await self._database.write(job)

    def forget(self, run_id: str) -> None:
        """See the contract."""
        self._database.post(lambda connection: forget_run(connection, run_id), _lost)

    async def purge(self, before: int) -> int:
        """See the contract. Bit by bit, so that the runs never wait long for their turn to write."""
        parameters = {"before": before, "most": MOST}

        def job(connection: sqlite3.Connection) -> int:
            return connection.execute(SQL.purge_events, parameters).rowcount

        removed = last = await self._database.write(job)
        while last == MOST:
            last = await self._database.write(job)
            removed += last
        return removed

    async def newest(self) -> int:
        """See the contract."""

        def job(connection: sqlite3.Connection) -> int:
            (newest,) = connection.execute(SQL.newest_event).fetchone()
            return newest

        return await self._database.read(job)


def forget_run(connection: sqlite3.Connection, run_id: str) -> None:
    """Remove what a run told."""
    connection.execute(SQL.delete_events_of_run, {"run_id": run_id})


def forget_thread(connection: sqlite3.Connection, thread_id: str) -> None:
    """Remove what a thread's runs told."""
    connection.execute(SQL.delete_events_of_thread, {"thread_id": thread_id})


def _row(frame: Frame) -> tuple[int, str, str, str, bytes, str, str | None, int]:
    return (
        frame.seq,
        frame.thread_id,
        frame.run_id,
        frame.event,
        frame.data,
        SEPARATOR.join(frame.namespace),
        frame.node,
        int(frame.protocol),
    )


def _frame(row: tuple[int, str, str, str, bytes, str, str | None, int]) -> Frame:
    seq, thread_id, run_id, event, data, namespace, node, protocol = row
    parts = tuple(namespace.split(SEPARATOR)) if namespace else ()
    return Frame(seq, thread_id, run_id, event, data, parts, node, protocol=bool(protocol))


def _lost(error: BaseException) -> None:
    log.warning("events of a stream could not be kept for later", error=str(error))
