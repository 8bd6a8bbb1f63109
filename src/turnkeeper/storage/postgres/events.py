"""Events that outlive their run: written in passing, read when a stream is resumed."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog
from psycopg import Connection

from turnkeeper.contracts import Feed, Frame
from turnkeeper.storage.postgres.database import Database
from turnkeeper.storage.postgres.statements import load

log = structlog.get_logger()

SQL = load("events")

SEPARATOR = "|"
"""Between the parts of a namespace (LangGraph's own separator, so it is in none of them)."""


class PostgresEvents:
    """Implements `contracts.EventStore`. One thread writes, so that what was posted keeps its order."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="turnkeeper-events")

    def post(self, frames: Sequence[Frame]) -> None:
        """See the contract."""
        columns = [_columns(frame) for frame in frames]

        def job(connection: Connection) -> None:
            with connection.cursor() as cursor:
                cursor.executemany(SQL.keep_event, columns)

        self._later(job)

    async def read(self, feed: Feed, after: int, upto: int, limit: int) -> list[Frame]:
        """See the contract. It waits for its turn behind what was posted."""
        bounds = {"after": after, "upto": upto, "limit": limit, "protocol": feed.protocol}
        statement = SQL.events_of_thread if feed.run_id is None else SQL.events_of_run
        whose = {"thread_id": feed.thread_id} if feed.run_id is None else {"run_id": feed.run_id}

        def job(connection: Connection) -> list[Frame]:
            return [_frame(row) for row in connection.execute(statement, bounds | whose)]

        return await asyncio.wrap_future(self._thread.submit(self._database.call, job))

    def forget(self, run_id: str) -> None:
        """See the contract."""
        self._later(lambda connection: forget_run(connection, run_id))

    async def purge(self, before: int) -> int:
        """See the contract. What was posted before is looked at, too."""
        await asyncio.wrap_future(self._thread.submit(_take_turn))
        return await self._database.drain(SQL.purge_events, {"before": before})

    async def newest(self) -> int:
        """See the contract."""
        found = await self._database.run(lambda connection: connection.execute(SQL.newest_event).fetchall())
        return found[0][0]

    def close(self) -> None:
        """Let everything posted be written."""
        self._thread.shutdown()

    def _later(self, job: Callable[[Connection], None]) -> None:
        def work() -> None:
            try:
                self._database.call(job)
            except Exception as error:  # noqa: BLE001 - nobody waits for it
                log.warning("events of a stream could not be kept for later", error=str(error))

        with contextlib.suppress(RuntimeError):  # closed
            self._thread.submit(work)


def _take_turn() -> None:
    """What is waited for is the turn, not the work."""


def forget_run(connection: Connection, run_id: str) -> None:
    """Remove what a run told."""
    connection.execute(SQL.delete_events_of_run, {"run_id": run_id})


def forget_thread(connection: Connection, thread_id: str) -> None:
    """Remove what a thread's runs told."""
    connection.execute(SQL.delete_events_of_thread, {"thread_id": thread_id})


def _columns(frame: Frame) -> dict[str, Any]:
    return {
        "seq": frame.seq,
        "thread_id": frame.thread_id,
        "run_id": frame.run_id,
        "event": frame.event,
        "data": frame.data,
        "namespace": SEPARATOR.join(frame.namespace),
        "node": frame.node,
        "protocol": frame.protocol,
    }


def _frame(row: tuple[int, str, str, str, bytes, str, str | None, bool]) -> Frame:
    seq, thread_id, run_id, event, data, namespace, node, protocol = row
    parts = tuple(namespace.split(SEPARATOR)) if namespace else ()
    return Frame(seq, thread_id, run_id, event, data, parts, node, protocol=protocol)
