"""A client that stops reading: it loses its stream, and nobody else notices."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.wire.live import DEADLINE
from tests.wire.talk import Talk

FLOOD = 64
"""Events of 1 MB that the graph tells: more than the buffers of server and system together."""

IDS = re.compile(rb"\r\nid: (\d+)\r\n\r\n")


@asynccontextmanager
async def stuck(http: httpx.AsyncClient, path: str) -> AsyncGenerator[asyncio.StreamReader]:
    """A connection that asked for a stream and does not read it."""
    address = urlsplit(str(http.base_url))
    reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=1024)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: {address.netloc}\r\n\r\n".encode())
    await writer.drain()
    await reader.readuntil(b"\r\n\r\n")
    try:
        yield reader
    finally:
        writer.close()


def numbers(text: str) -> list[int]:
    """The numbers of the custom events of a stream."""
    found: list[Any] = [json.loads(line[6:]) for line in text.splitlines() if line.startswith('data: {"number"')]
    return [data["number"] for data in found]


@pytest.mark.parametrize("resumable", [True, False])
async def test_a_reader_that_stops_loses_its_stream_and_nobody_else_notices(
    talk: Talk, http: httpx.AsyncClient, *, resumable: bool
) -> None:
    talk.hold("A.flood")
    run = await talk.say("A", graph="flooding", stream_mode="custom", stream_resumable=resumable)
    await talk.started("A.flood")
    path = f"/threads/{talk.thread_id}/runs/{run}/stream"
    async with (
        asyncio.timeout(DEADLINE),
        stuck(http, path) as slow,
        http.stream("GET", path) as one,
        http.stream("GET", path) as other,
    ):
        talk.let("A.flood")
        await asyncio.gather(one.aread(), other.aread())
        whole = one.text
        assert numbers(whole) == numbers(other.text) == list(range(FLOOD))
        assert await talk.status(run) == "success"
        said = await slow.read(-1)
    assert not said.endswith(b"0\r\n\r\n"), "the stream ended as if it were complete"
    known = IDS.findall(said)[-1].decode()
    rest = await http.get(path, headers={"last-event-id": known})
    if resumable:
        assert rest.text == whole.partition(f"id: {known}\r\n\r\n")[2]
    else:
        assert "EventsLost" in rest.text
