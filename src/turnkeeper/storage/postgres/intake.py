"""Fills an empty database, all of it in one transaction: whoever looks sees nothing of it, or everything."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, LiteralString, NamedTuple, TypeVar, cast

from psycopg import Connection, sql
from psycopg.types.json import set_json_dumps

from turnkeeper.errors import ConfigError
from turnkeeper.storage.postgres import endings, migrations
from turnkeeper.storage.postgres.database import Database
from turnkeeper.storage.postgres.statements import load

SQL = load("copying")
SCHEMA = load("schema")

T = TypeVar("T")

DEPENDENT = ("store_vectors",)
"""Tables that may be there and then refer to one that is filled; the library makes them for its store's index."""


class Column(NamedTuple):
    """A column of a table."""

    type: str
    counts: bool
    """Whether it is a number the database gives out."""


class Intake:
    """The transaction in which a database is filled."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def columns(self, table: str) -> dict[str, Column]:
        """The columns of a table; none if it is not there."""
        found = self._connection.execute(SQL.columns, {"table": table})
        return {name: Column(kind, counts) for name, kind, counts in found}

    def copied_at(self, fingerprint: str) -> datetime | None:
        """When a file was copied, if that is how this database was filled."""
        self._connection.execute(SQL.make_copies)
        row = self._connection.execute(SQL.find_copy, {"fingerprint": fingerprint}).fetchone()
        return row[0] if row else None

    def clear(self, tables: Sequence[str]) -> None:
        """Lock and empty tables. Raises `ConfigError` where more is in them than a server's start leaves there.

        From here on what triggers would add to rows is copied, too.
        """
        self._connection.execute(_composed(SQL.lock_tables, tables=_listed(tables)))
        if taken := [table for table in tables if self._taken(table)]:
            info = self._connection.info
            raise ConfigError(
                f"the database {info.dbname} on {info.host} has data already",
                cause=f"there are rows in {', '.join(taken)}",
                fix="name an empty database: what is there would be mixed with what is copied",
            )
        with_theirs = [*tables, *(table for table in DEPENDENT if self.columns(table))]
        self._connection.execute(_composed(SQL.clear_tables, tables=_listed(with_theirs)))
        for table in tables:
            self._connection.execute(_composed(SQL.stop_triggers, table=sql.Identifier(table)))

    def _taken(self, table: str) -> bool:
        match table:
            case "assistants":
                statement = SQL.has_assistants
            case "assistant_versions" | "concurrency_limits":  # those of the assistants, and of the servers' settings
                return False
            case _:
                statement = _composed(SQL.has_rows, table=sql.Identifier(table))
        [(taken,)] = self._connection.execute(statement).fetchall()
        return taken

    def copy(self, table: str, columns: Mapping[str, Column], rows: Iterable[Sequence[Any]]) -> int:
        """Take in rows, and say how many they were; a value for JSON comes as its text."""
        statement = _composed(SQL.copy_in, table=sql.Identifier(table), columns=_listed(columns))
        with self._connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types([column.type for column in columns.values()])
            size = 0
            for size, row in enumerate(rows, 1):  # noqa: B007 - the last is how many they were
                copy.write_row(row)
        return size

    def count(self, table: str) -> int:
        """How many rows a table has."""
        [(count,)] = self._connection.execute(_composed(SQL.count_rows, table=sql.Identifier(table))).fetchall()
        return count

    def settle(self, tables: Sequence[str], now: float) -> int:
        """Make what was copied a database that servers go on with; how many runs wait again that were under way."""
        for table in tables:
            for name in (name for name, column in self.columns(table).items() if column.counts):
                statement = _composed(SQL.count_on, table=sql.Identifier(table), column=sql.Identifier(name))
                self._connection.execute(statement, {"table": table, "column": name})
            self._connection.execute(_composed(SQL.start_triggers, table=sql.Identifier(table)))
        recovered = endings.recover(self._connection, now)
        self._connection.execute(_composed(SQL.analyze_tables, tables=_listed(tables)))
        return recovered

    def note(self, fingerprint: str) -> None:
        """Put down of which file this is a copy."""
        self._connection.execute(SQL.note_copy, {"fingerprint": fingerprint})


def fill(uri: str, job: Callable[[Intake], T]) -> T:
    """Bring a database up to date, then run `job` in one transaction; servers that start on it wait until it is over.

    Raises `ConfigError` when it cannot be used, and what `job` and the database raise.
    """
    database = Database(uri, size=1)
    database.open()
    try:
        return database.call(lambda connection: _in_turn(connection, job))
    finally:
        database.close()


def _in_turn(connection: Connection, job: Callable[[Intake], T]) -> T:
    set_json_dumps(str, connection)
    with migrations.turn(connection), connection.transaction():
        connection.execute(SQL.be_patient)
        return job(Intake(connection))


def _composed(statement: bytes, **names: sql.Composable) -> sql.Composed:
    return sql.SQL(cast("LiteralString", statement.decode())).format(**names)


def _listed(names: Iterable[str]) -> sql.Composable:
    return sql.SQL(", ").join(map(sql.Identifier, names))
