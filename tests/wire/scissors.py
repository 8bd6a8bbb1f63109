"""A proxy that cuts connections where it is told to, as unreliable networks do where they like."""

import asyncio
import re
import threading
from contextlib import suppress
from typing import Self

HEADER = "x-cut"
"""A request with `x-cut: NAME/2/1` has its event stream cut after two events, the next one of that name after one."""

REQUEST = re.compile(
    rb"(?:GET|POST) \S+/stream(?:\?\S*)? HTTP/1\.1\r\n(?:[^\r\n]+\r\n)*?x-cut: (\S+)\r\n", re.IGNORECASE
)
END_OF_EVENT = re.compile(rb"\r\nid: \d+\r\n\r\n")


class Scissors:
    """Listens on a free port in a thread of its own, for one server."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._plans: dict[bytes, list[int]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="scissors")
        self._connections: set[asyncio.Task[None]] = set()
        self.url = ""
        self.cuts = 0
        """How many streams were cut."""

    def __enter__(self) -> Self:
        self._thread.start()
        self.url = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> str:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _end(self) -> None:
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._relay(reader, writer)
        except OSError:
            pass
        finally:
            self._connections.discard(task)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass everything on in both directions until one side has enough, or the plan says so."""
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        cut = Cut()
        ways = [
            asyncio.ensure_future(self._ask(reader, back, cut)),
            asyncio.ensure_future(self._answer(there, writer, cut)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for each in (writer, back):
                each.close()
                with suppress(OSError):
                    await each.wait_closed()

    async def _ask(self, reader: asyncio.StreamReader, back: asyncio.StreamWriter, cut: "Cut") -> None:
        said = b""
        while data := await reader.read(65536):
            said += data
            if found := REQUEST.search(said):
                name, *places = found[1].split(b"/")
                plan = self._plans.setdefault(name, [int(place) for place in places])
                cut.plan(plan.pop(0) if plan else None)
                said = b""
            back.write(data)
            await back.drain()

    async def _answer(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: "Cut") -> None:
        while data := await there.read(65536):
            writer.write(cut.passed(data))
            await writer.drain()
            if cut.done:
                self.cuts += 1
                return


class Cut:
    """Where one stream is cut."""

    def __init__(self) -> None:
        self.done = False
        self._after: int | None = None
        self._tail = b""

    def plan(self, after: int | None) -> None:
        """Cut after as many events from here on."""
        self._after, self._tail = after, b""

    def passed(self, data: bytes) -> bytes:
        """The part of the data that comes through."""
        if self._after is None:
            return data
        text = self._tail + data
        for found in END_OF_EVENT.finditer(text):
            if found.end() > len(self._tail):
                self._after -= 1
                if self._after == 0:
                    self.done = True
                    return text[len(self._tail) : found.end()]
        self._tail = text[-64:]
        return data
