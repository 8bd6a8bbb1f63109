"""Purges of one SQLite file look at a bounded part of it each, and at all of it in the end."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from turnkeeper.storage.sqlite import retention
from turnkeeper.storage.sqlite.database import Database
from turnkeeper.storage.sqlite.retention import DAY, Retention
from turnkeeper.types import timestamp

NOW = 1_800_000_000.0


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(str(tmp_path / "turnkeeper.db"))
    database.open()
    yield database
    database.close()


def tell(database: Database, thread_id: str, *, exists: bool) -> None:
    """Rows of a journal, and their thread."""
    at = timestamp(NOW - 8 * DAY)

    def job(connection: sqlite3.Connection) -> None:
        execute = connection.execute
        if exists:
            row = (thread_id, at, at, at)
            execute(
                "insert into threads (thread_id, created_at, updated_at, state_updated_at) values (?, ?, ?, ?)", row
            )
        for event in ("created", "started", "ended"):
            row = (thread_id, event, at)
            execute("insert into journal (thread_id, run_id, event, attempt, at) values (?, 'r', ?, 1, ?)", row)

    database.write_sync(job)


def told(database: Database) -> list[str]:
    """The threads the journal knows."""
    rows = database.read_sync(
        lambda connection: connection.execute("select distinct thread_id from journal").fetchall()
    )
    return sorted(thread_id for (thread_id,) in rows)


async def test_each_purge_goes_on_where_the_last_one_stopped(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "PAGE", 2)
    for place, thread_id in enumerate("abcde"):
        tell(database, thread_id, exists=place % 2 == 0)
    purges = Retention(database)
    assert [await purges.purge(NOW) for _ in range(3)] == [3, 3, 0]
    assert told(database) == ["a", "c", "e"]
    tell(database, "A", exists=False)
    tell(database, "f", exists=False)
    assert [await purges.purge(NOW) for _ in range(3)] == [3, 0, 3]


async def test_many_rows_are_removed_in_many_transactions(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "MOST", 2)
    for thread_id in "abc":
        tell(database, thread_id, exists=False)
    assert await Retention(database).purge(NOW) == 9
    assert told(database) == []
