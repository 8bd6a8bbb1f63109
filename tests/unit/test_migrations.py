"""A database of an older server is brought up to date with what is in it."""

import asyncio
import sqlite3
from contextlib import closing
from importlib.resources import files
from pathlib import Path

from turnkeeper.storage.sqlite.database import Database
from turnkeeper.storage.sqlite.storage import SqliteStorage

MIGRATIONS = files("turnkeeper.storage") / "sql" / "sqlite" / "migrations"


def old_database(path: Path, version: int, rows: str) -> None:
    """A file as a server left it that knew so many migrations."""
    steps = sorted(entry.name for entry in MIGRATIONS.iterdir() if entry.name.endswith(".sql"))
    with closing(sqlite3.connect(path)) as connection:
        for name in steps:
            if int(name.split("_")[0]) <= version:
                connection.executescript((MIGRATIONS / name).read_text())
        connection.executescript(rows)
        connection.execute(f"pragma user_version = {version:d}")


def test_how_the_last_run_of_a_thread_ended_is_not_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "turnkeeper.db"
    old_database(
        path,
        3,
        """
        insert into threads (thread_id, last_run, created_at, updated_at, state_updated_at)
        values ('ran', 'r', '', '', ''), ('edited', null, '', '', '');
        insert into runs (run_id, thread_id, assistant_id, graph_id, status, multitask_strategy, metadata, kwargs,
          due_at, created_at, updated_at)
        values ('r', 'ran', 'a', 'g', 'interrupted', 'enqueue', '{}', '{}', 0, '', '');
        """,
    )
    database = Database(str(path))
    database.open()
    statement = "select thread_id, last_status from threads order by thread_id"
    found = database.read_sync(lambda connection: connection.execute(statement).fetchall())
    database.close()
    assert found == [("edited", None), ("ran", "interrupted")]


def test_runs_that_were_waiting_start_once_their_time_has_come(tmp_path: Path) -> None:
    path = tmp_path / "turnkeeper.db"
    old_database(
        path,
        5,
        """
        insert into threads (thread_id, created_at, updated_at, state_updated_at)
        values ('a', '', '', ''), ('b', '', '', '');
        insert into runs (run_id, thread_id, assistant_id, graph_id, status, multitask_strategy, metadata, kwargs,
          due_at, created_at, updated_at)
        values ('going', 'a', 'a', 'g', 'running', 'enqueue', '{}', '{}', 1, '', ''),
          ('behind', 'a', 'a', 'g', 'pending', 'enqueue', '{}', '{}', 2, '', ''),
          ('delayed', 'b', 'a', 'g', 'pending', 'enqueue', '{}', '{}', 60, '', ''),
          ('queued', 'b', 'a', 'g', 'pending', 'enqueue', '{}', '{}', 4, '', '');
        """,
    )

    assert asyncio.run(claims(path, at=5)) == (["going", "queued"], 60)
    assert asyncio.run(claims(path, at=60)) == (["going", "delayed"], None)


async def claims(path: Path, *, at: float) -> tuple[list[str], float | None]:
    """What a server claims that starts on a file, and when it would look again."""
    storage = SqliteStorage(str(path), lambda: at)
    storage.open()
    await storage.runs.recover()
    claims = await storage.runs.claim(10)
    storage.close()
    return sorted((each.run_id for each in claims.taken), key="going".__ne__), claims.next_due
