"""One SQLite file: locked against a second server, migrated, then written by one thread and read by several."""

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from turnkeeper.errors import ConfigError, Unavailable
from turnkeeper.storage.sqlite.functions import register
from turnkeeper.storage.sqlite.readers import Readers
from turnkeeper.storage.sqlite.writer import Writer

T = TypeVar("T")

MEMORY = ":memory:"


class Database:
    """The writer and the readers of one file. `:memory:` has no file: there the writer's thread also reads."""

    def __init__(self, path: str) -> None:
        """`path` is a file (its folder is made when missing) or `:memory:`."""
        self.path = path
        self._lock: int | None = None
        self._writer = Writer(self._connect)
        self._readers = None if path == MEMORY else Readers(self._connect_reader)

    def open(self) -> None:
        """Lock and migrate the file.

        Raises `ConfigError` when it cannot be written, another server has it, or its schema is too new.
        """
        try:
            if self.path != MEMORY:
                Path(self.path).parent.mkdir(parents=True, exist_ok=True)
                self._lock = _lock(self.path)
            self._writer.start()
            self._writer.call(_migrate)
        except (OSError, sqlite3.Error, Unavailable) as error:
            raise ConfigError(
                f"the database {self.path} cannot be used",
                cause=str(error),
                fix="name a file that can be written: --db",
            ) from error

    def close(self) -> None:
        """Let every write finish, then let go of the file."""
        self._writer.close()
        if self._readers is not None:
            self._readers.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def write(self, job: Callable[[sqlite3.Connection], T], then: Callable[[T | None], None] | None = None) -> T:
        """Run `job` in a transaction; returns once it is on disk. `then`: see `Writer.run`."""
        return await self._writer.run(job, then)

    def post(self, job: Callable[[sqlite3.Connection], Any], failed: Callable[[BaseException], None]) -> None:
        """`write` without waiting; `failed` is called on the writer's thread if the job fails."""
        self._writer.post(job, failed)

    async def read(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run a job that only reads; it sees everything whose `write` has returned."""
        if self._readers is None:
            return await self._writer.run(job)
        return await self._readers.run(job)

    def write_sync(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """`write` for callers that have a thread to block."""
        return self._writer.call(job)

    def read_sync(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """`read` for callers that have a thread to block."""
        return self._writer.call(job) if self._readers is None else self._readers.call(job)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, cached_statements=512)
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = full")
        connection.execute("pragma foreign_keys = on")
        register(connection)
        return connection

    def _connect_reader(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, cached_statements=512, check_same_thread=False)
        connection.execute("pragma query_only = on")
        register(connection)
        return connection


def _lock(path: str) -> int:
    """Hold `<path>.lock` for as long as the server lives: two servers on one file would run the same runs twice."""
    handle = os.open(f"{path}.lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise ConfigError(
            f"the database {path} is in use",
            cause="another Turnkeeper server has it open",
            fix="stop that server, or name another file with --db",
        ) from None
    return handle


def _migrate(connection: sqlite3.Connection) -> None:
    """Apply the numbered files the database has not seen yet, in order."""
    steps = sorted(
        (int(entry.name.split("_")[0]), entry)
        for entry in (files("turnkeeper.storage") / "sql" / "sqlite" / "migrations").iterdir()
        if entry.name.endswith(".sql")
    )
    (version,) = connection.execute("pragma user_version").fetchone()
    newest = steps[-1][0]
    if version > newest:
        raise ConfigError(
            f"the database has schema {version}, this server knows up to {newest}",
            fix="run the newer server that wrote it, or name another file with --db",
        )
    for number, entry in steps:
        if number > version:
            for statement in _statements(entry.read_text()):
                connection.execute(statement)
            connection.execute(f"pragma user_version = {number:d}")


def _statements(script: str) -> Iterator[str]:
    """`executescript` would commit the transaction we are in, so statements are run one at a time."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
