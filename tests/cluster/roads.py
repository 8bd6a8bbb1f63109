"""Ways to PostgreSQL and Redis that can be cut or held up, in a process of their own: that of the tests is busy.

The process takes an order per line, as JSON, and answers each with a line: `python -m tests.cluster.roads`.
"""

import asyncio
import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[2]


class Roads:
    """The test's side: opens roads and does to them what networks do."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.cluster.roads"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def open(self, to: str) -> "Way":
        """A new way to a port of this machine, or to a socket of the file system."""
        return Way(self, self.ask("open", to))

    def ask(self, what: str, where: str | int) -> int:
        """Have it do something; its answer."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([what, where]) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


class Way:
    """One road, used by one process."""

    def __init__(self, roads: Roads, port: int) -> None:
        self._roads = roads
        self.port = port

    def cut(self) -> None:
        """Break all connections; new ones get through."""
        self._roads.ask("cut", self.port)

    def hold(self) -> None:
        """Let nothing through, and tell nobody: connections stay open."""
        self._roads.ask("hold", self.port)

    def go_on(self) -> None:
        """Let through what was held up, and all that comes."""
        self._roads.ask("go_on", self.port)

    def close(self) -> None:
        """Break all connections; there is no way any more."""
        self._roads.ask("close", self.port)


class Road:
    """The process's side of a way."""

    def __init__(self, to: str) -> None:
        self._to = to
        self._ends: set[asyncio.StreamWriter] = set()
        self._free = asyncio.Event()
        self._free.set()

    async def open(self) -> int:
        """Listen; the port."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    def cut(self) -> None:
        for end in self._ends:
            end.transport.abort()

    def hold(self) -> None:
        self._free.clear()

    def go_on(self) -> None:
        self._free.set()

    def close(self) -> None:
        self._server.close()
        self.cut()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = {writer}
        self._ends |= ends
        with suppress(OSError, EOFError, RuntimeError):  # the last is how uvloop says that an end is closed
            there, back = await self._connect()
            ends.add(back)
            self._ends |= ends
            await asyncio.gather(self._pass(reader, back), self._pass(there, writer))
        self._ends -= ends
        for end in ends:
            end.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._to.isdigit():
            return await asyncio.open_connection("127.0.0.1", int(self._to))
        return await asyncio.open_unix_connection(self._to)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self._free.wait()
            writer.write(data)
            await writer.drain()
        raise EOFError


async def serve() -> None:
    """Carry out orders until there are no more."""
    loop, roads = asyncio.get_running_loop(), dict[int, Road]()
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while order := await orders.readline():
        print(await carry_out(roads, *json.loads(order)), flush=True)


async def carry_out(roads: dict[int, Road], what: str, where: Any) -> int:
    """One order."""
    if what != "open":
        getattr(roads[where], what)()
        return where
    road = Road(where)
    port = await road.open()
    roads[port] = road
    return port


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve())
