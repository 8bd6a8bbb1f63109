"""A real Redis for tests, and what may happen to it and to the way there."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import redis

from tests.wire.live import free_port

SERVER = Path(__file__).with_name("redis_server.py")


class RedisServer:
    """A server on a free port of this machine, which it keeps over restarts."""

    def __init__(self) -> None:
        self.port = free_port()
        self.uri = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[str] | None = None
        self._pid = 0
        self._paused = False

    def start(self) -> None:
        """Start it, unless it is running."""
        if self._process is not None:
            return
        command = [sys.executable, str(SERVER), str(self.port)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._pid = int(self._process.stdout.readline())
        until = time.monotonic() + 10
        while True:
            with suppress(redis.ConnectionError), redis.Redis.from_url(self.uri) as client:
                client.ping()
                return
            assert time.monotonic() < until, "redis-server does not start"

    def stop(self) -> None:
        """Kill it: all it knew is gone."""
        self._paused = False
        if self._process is not None:
            self._process.communicate()
            self._process = None

    def pause(self) -> None:
        os.kill(self._pid, signal.SIGSTOP)
        self._paused = True

    def go_on(self) -> None:
        if self._paused:
            os.kill(self._pid, signal.SIGCONT)
            self._paused = False

    def do(self, *command: str) -> object:
        with redis.Redis.from_url(self.uri) as client:
            return client.execute_command(*command)


class Road:
    """A way to the server that can be cut, on the loop of whoever takes it."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.port = 0
        self._ends: set[asyncio.StreamWriter] = set()
        self._under_way: set[asyncio.Task[None]] = set()
        self.deaf = False
        """Whether answers are swallowed, and the connection is cut once there was one."""

    async def open(self, port: int = 0) -> str:
        """Where it begins."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", port or free_port())
        self.port = self._server.sockets[0].getsockname()[1]
        return f"redis://127.0.0.1:{self.port}/0"

    def cut(self) -> None:
        """Break all connections."""
        for end in self._ends:
            end.transport.abort()

    async def close(self) -> None:
        """Break all connections, also those that are only being made, and take no more."""
        self._server.close()
        self.cut()
        for each in self._under_way:
            each.cancel()
        while self._under_way:
            await asyncio.sleep(0)
        await asyncio.sleep(0)  # the sockets are closed by then

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task, ends = asyncio.current_task(), {writer}
        assert task is not None
        self._under_way.add(task)
        with suppress(OSError, asyncio.CancelledError):  # nobody is there, or no more
            there, back = await asyncio.open_connection("127.0.0.1", self._to)
            ends.add(back)
            self._ends |= ends
            await asyncio.gather(self._pass(reader, back, answers=False), self._pass(there, writer, answers=True))
        self._ends -= ends
        for end in ends:
            end.transport.abort()
        self._under_way.discard(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        while data := await reader.read(65536):
            if answers and self.deaf:
                self.deaf = False
                self.cut()
                return
            writer.write(data)
            await writer.drain()
        writer.close()
