"""Counts what processes ask of PostgreSQL, on the way there: a proxy that reads its frontend protocol.

PostgreSQL's own counters know transactions but no round trips, and the extension that knows statements is not in the
wheel. The proxy costs time, so nothing else is measured while it counts.
"""

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from psycopg.conninfo import conninfo_to_dict

WRITES = re.compile(rb"\b(insert into|update \w+\s+set|delete from)\b", re.IGNORECASE)
CONTROL = re.compile(rb"\s*(begin|commit|rollback)\b", re.IGNORECASE)


@dataclass
class Tally:
    """What went by since it was last cleared."""

    statements: Counter[bytes] = field(default_factory=Counter[bytes])
    round_trips: int = 0
    sent: int = 0
    """Bytes to the database."""

    def clear(self) -> None:
        """Begin anew."""
        self.statements.clear()
        self.round_trips = self.sent = 0

    @property
    def total(self) -> int:
        """Statements, without the beginnings and ends of transactions."""
        return sum(count for text, count in self.statements.items() if not CONTROL.match(text))

    @property
    def writing(self) -> int:
        """Statements that write."""
        return sum(count for text, count in self.statements.items() if WRITES.search(text))


class Proxy:
    """A way to a database on which everything is counted."""

    def __init__(self, uri: str) -> None:
        parts = conninfo_to_dict(uri)
        self._socket = f"{parts['host']}/.s.PGSQL.{parts.get('port', 5432)}"
        self._tasks: set[asyncio.Task[None]] = set()
        self.tally = Tally()

    async def open(self) -> int:
        """The port of this machine where it begins."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Cut everything."""
        self._server.close()
        for task in self._tasks:
            task.cancel()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(self._socket)
        frontend = _Frontend(self.tally)
        for task in (
            asyncio.create_task(_pass(reader, back, frontend.sent)),
            asyncio.create_task(_pass(there, writer, frontend.answered)),
        ):
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Callable[[bytes], None]) -> None:
    with contextlib.suppress(OSError, asyncio.CancelledError):
        while data := await reader.read(65536):
            seen(data)
            writer.write(data)
            await writer.drain()
    writer.close()


class _Frontend:
    """What one connection says."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._rest = b""
        self._begun = False
        self._answered = True
        self._texts: dict[bytes, bytes] = {}
        self._bound = b""

    def answered(self, _: bytes) -> None:
        """The database said something."""
        self._answered = True

    def sent(self, data: bytes) -> None:
        """The client said something: a round trip begins where the database spoke last."""
        self._tally.sent += len(data)
        self._tally.round_trips += self._answered and self._begun
        self._answered = False
        self._rest += data
        while (size := self._size()) is not None and len(self._rest) >= size:
            message, self._rest = self._rest[:size], self._rest[size:]
            if self._begun:
                self._read(message[:1], message[5:])
            self._begun = True

    def _size(self) -> int | None:
        """Bytes of the first message; the very first has no type."""
        start = 1 if self._begun else 0
        if len(self._rest) < start + 4:
            return None
        return start + int.from_bytes(self._rest[start : start + 4])

    def _read(self, kind: bytes, body: bytes) -> None:
        match kind:
            case b"Q":
                self._tally.statements[body.rstrip(b"\0")] += 1
            case b"P":
                name, text, _ = body.split(b"\0", 2)
                self._texts[name] = text
            case b"B":
                _, name, _ = body.split(b"\0", 2)
                self._bound = self._texts.get(name, b"")
            case b"E":
                self._tally.statements[self._bound] += 1
            case _:
                pass
