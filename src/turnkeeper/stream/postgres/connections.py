"""Connections of the bus: asynchronous, one statement at a time, each a transaction of its own."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, NamedTuple

from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow

from turnkeeper.stream.postgres.statements import SQL

PATIENCE = 10.0
"""Seconds a statement may take, and a network may swallow what is sent, before the connection is given up."""

FIRST_DELAY, LONGEST_DELAY = 0.05, 1.0
"""Seconds between two attempts to connect."""

ALIVE = {"keepalives": 1, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}
"""How soon it is noticed that nobody is at the other end of an idle connection."""


class Opened(NamedTuple):
    """A connection, and the channel on which all is told."""

    connection: AsyncConnection[TupleRow]
    channel: str

    async def ask(self, name: str, **parameters: Any) -> list[TupleRow]:
        """Carry out a statement by its name; its rows, if it has any."""
        cursor = await self.connection.execute(SQL[name], parameters)
        return await cursor.fetchall() if cursor.description else []


Connect = Callable[[], AbstractAsyncContextManager[Opened]]


@asynccontextmanager
async def connect(uri: str, purpose: str) -> AsyncGenerator[Opened]:
    """A connection whose `application_name` says what it is for. Raises `psycopg.Error` or `OSError`."""
    milliseconds = int(PATIENCE * 1000)
    address = make_conninfo(uri, **ALIVE, tcp_user_timeout=milliseconds, application_name=f"turnkeeper-{purpose}")
    connection = await AsyncConnection.connect(
        address, autocommit=True, prepare_threshold=1, connect_timeout=int(PATIENCE)
    )  # fmt: skip
    try:
        cursor = await connection.execute(SQL["configure"], {"patience": str(milliseconds)})
        [(channel,)] = await cursor.fetchall()
        yield Opened(connection, channel)
    finally:
        await connection.close()


def first_line(error: Exception) -> str:
    """What an error says, without where in the statement."""
    return str(error).strip().partition("\n")[0]
