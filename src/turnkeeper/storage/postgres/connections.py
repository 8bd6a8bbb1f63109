"""Connections as our transactions need them."""

import contextlib
import select
from collections.abc import Generator
from typing import Any, cast

from psycopg import Connection, Cursor, OperationalError, Pipeline
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow
from psycopg.types.array import ListBinaryDumper
from psycopg_pool import ConnectionPool

from turnkeeper.storage.postgres.statements import load

SQL = load("schema")

PREPARED = 256
"""Statements that stay prepared per connection; there are about a hundred."""

BEGIN, COMMIT = b"begin", b"commit"


class Blobs(list[bytes]):
    """Bytes for an array parameter, sent as they are: those of a list would be spelled out in hexadecimal."""


class Link(Connection[TupleRow]):
    """A connection in whose transactions statements travel together until an answer is asked for."""

    under_way: Pipeline | None = None
    """The transaction that is open, if any."""


class Answer(Cursor[TupleRow]):
    """The answer to a statement.

    Within a transaction it is asked for in a way after which the server waits for us, and knows that it does: only then
    it counts how long (`limit_waiting`).
    """

    def fetchone(self) -> TupleRow | None:
        """The next row."""
        self._arrive()
        return super().fetchone()

    def fetchall(self) -> list[TupleRow]:
        """All rows that are left."""
        self._arrive()
        return super().fetchall()

    def _arrive(self) -> None:
        if self.pgresult is None and isinstance(self.connection, Link) and self.connection.under_way is not None:
            self.connection.under_way.sync()


def configure(connection: Connection[Any], patience: float) -> None:
    """Make a new connection ready; `patience` in seconds, as for `Database`."""
    connection.prepared_max = PREPARED
    connection.cursor_factory = Answer
    connection.adapters.register_dumper(Blobs, ListBinaryDumper)
    connection.execute(SQL.limit_waiting, {"longest": str(int(patience * 1000))})


class Pool(ConnectionPool[Link]):
    """Gives no connection on which the server has hung up since it was used last."""

    def getconn(self, timeout: float | None = None) -> Link:
        """A connection, within `timeout` seconds. Raises `PoolTimeout`."""
        while _hung_up(connection := super().getconn(timeout)):
            connection.close()
            self.putconn(connection)
        return connection


def _hung_up(connection: Connection[Any]) -> bool:
    """Whether the server has closed an idle connection.

    It is asked only where it has said something: most often there is nothing to read, and so no round trip.
    """
    heard = select.poll()
    heard.register(connection.fileno(), select.POLLIN)
    if not heard.poll(0):
        return False
    try:
        ConnectionPool.check_connection(connection)
    except OperationalError:
        return True
    return False


@contextlib.contextmanager
def transaction(connection: Connection) -> Generator[None]:
    """All or nothing, in as few round trips as there are answers to wait for: what lies between travels together.

    `Connection.transaction` would wait for the answer to its `begin`, and send its `commit` alone.
    """
    link = cast("Link", connection)
    try:
        with link.pipeline() as link.under_way:
            link.execute(BEGIN)
            yield
            link.execute(COMMIT)
    except BaseException:
        if link.info.transaction_status != TransactionStatus.IDLE:
            link.rollback()
        raise
    finally:
        link.under_way = None
