"""A lean HTTP/1.1 client. It shares the cores with the server it measures, so it does as little as it can.

A reply is kept as timed chunks; JSON and server-sent events are parsed after the clock has stopped.
"""

import asyncio
import re
import time
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import httptools
import orjson

TIMEOUT = 60.0
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")


class Event(NamedTuple):
    """A server-sent event and when its last byte arrived."""

    name: str
    data: bytes
    at: float


class Reply:
    """An HTTP reply: its status and its body as chunks with their time of arrival."""

    __slots__ = ("chunks", "sent", "status")

    def __init__(self) -> None:
        self.status = 0
        self.sent = time.perf_counter()
        self.chunks: list[tuple[float, bytes]] = []

    @property
    def body(self) -> bytes:
        """The whole body."""
        return b"".join(chunk for _, chunk in self.chunks)

    def json(self) -> Any:
        """The body as JSON (white space sent ahead as a keep-alive is allowed by JSON)."""
        return orjson.loads(self.body)

    def events(self) -> list[Event]:
        """The body as server-sent events."""
        found: list[Event] = []
        rest = b""
        for at, chunk in self.chunks:
            *blocks, rest = _BLANK_LINE.split(rest + chunk)
            found += [_event(block, at) for block in blocks if not block.startswith(b":")]
        return found


def _event(block: bytes, at: float) -> Event:
    fields: dict[bytes, bytes] = {}
    for line in block.splitlines():
        key, _, value = line.partition(b":")
        fields[key] = value.removeprefix(b" ")
    return Event(fields.get(b"event", b"").decode(), fields.get(b"data", b""), at)


class _Connection(asyncio.Protocol):
    """One keep-alive connection, one request at a time."""

    def __init__(self) -> None:
        self.open = False
        self._reply = Reply()
        self._done: asyncio.Future[Reply] | None = None
        self.answered = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.open = True
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if self._done and not self._done.done():
            self._done.set_exception(exc or ConnectionError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_headers_complete(self) -> None:
        self._reply.status = self._parser.get_status_code()
        self.answered.set()

    def on_body(self, body: bytes) -> None:
        self._reply.chunks.append((time.perf_counter(), body))

    def on_message_complete(self) -> None:
        if not self._parser.should_keep_alive():
            self.close()
        if self._done and not self._done.done():
            self._done.set_result(self._reply)

    def send(self, raw: bytes) -> asyncio.Future[Reply]:
        self._parser = httptools.HttpResponseParser(self)
        self._reply = Reply()
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(raw)
        return self._done

    def close(self) -> None:
        self.open = False
        self._transport.close()


class Client:
    """Requests to one loopback port over a pool of connections."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._idle: list[_Connection] = []

    async def _connection(self) -> _Connection:
        while self._idle:
            if (connection := self._idle.pop()).open:
                return connection
        _, connection = await asyncio.get_running_loop().create_connection(_Connection, "127.0.0.1", self.port)
        return connection

    async def request(self, method: str, path: str, payload: object = None) -> Reply:
        """Send one request and wait for the whole reply."""
        body = b"" if payload is None else orjson.dumps(payload)
        head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(body)}\r\n"
        connection = await self._connection()
        try:
            async with asyncio.timeout(TIMEOUT):
                reply = await connection.send(head.encode() + b"content-type: application/json\r\n\r\n" + body)
        except BaseException as error:
            connection.close()
            error.add_note(f"{method} {path}")
            raise
        self._idle.append(connection)
        return reply

    async def hold(self, path: str) -> Callable[[], None]:
        """Open a stream that is not read for what it says; returns once its headers are there. Call it to leave."""
        _, connection = await asyncio.get_running_loop().create_connection(_Connection, "127.0.0.1", self.port)
        connection.send(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode()).cancel()
        async with asyncio.timeout(TIMEOUT):
            await connection.answered.wait()
        return connection.close

    def close(self) -> None:
        """Close every idle connection."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()
