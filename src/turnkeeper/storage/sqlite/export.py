"""Everything in the file of a stopped server, table by table: for a copy elsewhere."""

import hashlib
import sqlite3
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from turnkeeper.errors import ConfigError
from turnkeeper.storage.queries import load
from turnkeeper.storage.sqlite.channels import Version
from turnkeeper.storage.sqlite.database import Database

SQL = load("sqlite", "copying")


class Export:
    """The rows of one file, all as they were at the same moment."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """`connection` is in a transaction that only reads."""
        self.connection = connection
        self.columns = {name: self._columns(name) for (name,) in connection.execute(SQL.tables).fetchall()}
        """The columns of each table."""

    def _columns(self, table: str) -> list[str]:
        return [name for (name,) in self.connection.execute(SQL.columns, {"table": table})]

    def count(self, table: str) -> int:
        """How many rows a table has."""
        [(count,)] = self.connection.execute(SQL.count_rows.format(table=_quoted(table)))
        return count

    def rows(self, table: str) -> Iterator[tuple[Any, ...]]:
        """The rows of a table, one by one."""
        return self.connection.execute(
            SQL.all_checkpoints if table == "checkpoints" else SQL.all_rows.format(table=_quoted(table))
        )

    def heads(self, thread_id: str, checkpoint_ns: str) -> list[tuple[str, Version, bytes]]:
        """Channel, version and begin of the stored values of a namespace that may be snapshots of delta channels."""
        where = {"thread_id": thread_id, "checkpoint_ns": checkpoint_ns}
        return self.connection.execute(SQL.heads, where).fetchall()

    def fingerprint(self, counts: dict[str, int]) -> str:
        """What tells this state of this file from any other; `counts` is how many rows each table has."""
        newest = self.connection.execute(SQL.newest_changes).fetchone()
        return hashlib.sha256(msgspec.json.encode([counts, newest], order="sorted")).hexdigest()


@contextmanager
def exported(path: str) -> Generator[Export]:
    """Keep servers from the file while it is read, after it was brought up to date as a server would.

    Raises `ConfigError` when there is none, a server has it, or it is not a database of ours.
    """
    _check(path)
    database = Database(path)
    try:
        database.open()
    except ConfigError as error:
        error.fix = error.fix and error.fix.replace("--db", "--from")
        raise
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("pragma query_only = on")
            connection.execute("begin")
            yield Export(connection)
    finally:
        database.close()


def _check(path: str) -> None:
    """Refuse to make a file, or to make a database of ours of another's."""
    if not Path(path).is_file():
        raise ConfigError(f"there is no database {path}", fix="name the file the server was started with")
    try:
        with closing(sqlite3.connect(path)) as connection:
            [(version,)] = connection.execute("pragma user_version")
    except sqlite3.Error as error:
        raise ConfigError(f"{path} cannot be read", cause=str(error), fix="name a Turnkeeper database") from error
    if version == 0:
        raise ConfigError(f"{path} is not a Turnkeeper database", fix="name the file the server was started with")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
