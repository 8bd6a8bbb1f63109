"""The barest HTTP client there is: a connection per request, so that thousands of them cost the tests little."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

PATIENCE = 50.0
"""Seconds any request may take before it counts as broken."""


@dataclass
class Answer:
    """What came back."""

    status_code: int
    headers: dict[str, str]
    body: bytes = b""
    reader: asyncio.StreamReader = field(default_factory=asyncio.StreamReader, repr=False)

    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """The body."""
        return self.body.decode()

    def events(self) -> list[tuple[str, Any]]:
        """The body of a stream."""
        blocks = [block for block in self.text.split("\r\n\r\n") if block and not block.startswith(":")]
        parts = [dict(line.split(": ", 1) for line in block.split("\r\n")) for block in blocks]
        return [(part["event"], json.loads(part["data"])) for part in parts]


class Http:
    """A server at a port of this machine."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def get(self, path: str) -> Answer:
        """GET."""
        return await self.request("GET", path)

    async def post(self, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """POST of JSON."""
        return await self.request("POST", path, body, headers)

    async def delete(self, path: str) -> Answer:
        """DELETE."""
        return await self.request("DELETE", path)

    async def request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Any request, answered in full. Raises `OSError` and `EOFError` when the server dies."""
        async with asyncio.timeout(PATIENCE), self.open(method, path, body, headers) as answer:
            answer.body = await _body(answer)
            return answer

    @asynccontextmanager
    async def open(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> AsyncGenerator[Answer]:
        """A request of which only the head of the answer is read: leaving the block is hanging up."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            content = b"" if body is None else json.dumps(body).encode()
            fields = {"host": "test", "connection": "close", "content-length": str(len(content)), **(headers or {})}
            head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
            writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + content)
            status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            found = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
            yield Answer(int(status.split()[1]), found, reader=reader)
        finally:
            writer.close()


async def _body(answer: Answer) -> bytes:
    if "content-length" in answer.headers:
        return await answer.reader.readexactly(int(answer.headers["content-length"]))
    if answer.headers.get("transfer-encoding") != "chunked":
        return await answer.reader.read()
    body = b""
    while size := int(await answer.reader.readuntil(b"\r\n"), 16):
        body += await answer.reader.readexactly(size)
        await answer.reader.readexactly(2)
    return body
