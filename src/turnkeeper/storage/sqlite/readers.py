"""Threads that read: each has a connection of its own, so a long read holds up neither writes nor other reads."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

READERS = 4
"""Reads under way at once; more wait in line."""


class Readers:
    """A pool of read-only connections, each bound to one thread."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], count: int = READERS) -> None:
        """`connect` opens one reading connection; it is called once on each reader thread."""
        self._connect = connect
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="turnkeeper-reader")

    async def run(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run `job` on a reader thread without blocking the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._on_thread, job)

    def call(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run `job` and block the calling thread until it is done. Never call it on an event loop."""
        return self._pool.submit(self._on_thread, job).result()

    def close(self) -> None:
        """Finish the reads under way and close every connection."""
        self._pool.shutdown()
        for connection in self._connections:
            connection.close()

    def _on_thread(self, job: Callable[[sqlite3.Connection], T]) -> T:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connect()
            self._connections.append(connection)
        return job(connection)
