"""Crons on servers that are killed while they fire: each tick has its run, once."""

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from langgraph_sdk import get_client

from tests.nursery import Start
from tests.wire.live import DEADLINE, POLL

CRONS = 60
PAST = "2026-01-01T00:00:00.000000+00:00"


def fired(database: Path) -> int:
    """How many crons have fired, as it is on disk."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        [(count,)] = connection.execute("select count(*) from crons where next_run_date > ?", [PAST]).fetchall()
    return count


def make_due(database: Path) -> None:
    """The time of all crons comes while no server runs."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("update crons set next_run_date = ?", [PAST])


async def make(url: str) -> dict[str, str]:
    """Crons that seldom come: the thread of each."""
    async with get_client(url=url, api_key=None) as client:

        async def make() -> tuple[str, str]:
            thread = (await client.threads.create())["thread_id"]
            cron: Any = await client.crons.create_for_thread(thread, "steps", schedule="@yearly", input={"tag": "A"})
            return cron["cron_id"], thread

        return dict(await asyncio.gather(*(make() for _ in range(CRONS))))


async def runs(url: str, crons: dict[str, str]) -> list[list[str]]:
    """Which crons the runs of each thread are of, once they all have ended."""
    deadline = time.monotonic() + DEADLINE
    async with get_client(url=url, api_key=None) as client:
        found: list[list[str]] = []
        for thread in crons.values():
            while not (there := await client.runs.list(thread)) or any(run["status"] == "pending" for run in there):
                assert time.monotonic() < deadline
                await asyncio.sleep(POLL)
            found.append([str((run["metadata"] or {}).get("cron_id")) for run in there])
    return found


async def test_servers_killed_while_they_fire_have_fired_each_tick_once(start: Start, tmp_path: Path) -> None:
    database, live = tmp_path / "turnkeeper.db", start()
    crons = await make(live.url)
    live.stop()
    make_due(database)

    for enough in (1, CRONS // 2):
        live = start()
        while fired(database) < enough:
            await asyncio.sleep(0)
        live.kill()
        print(f"killed after {fired(database)} of {CRONS}")

    assert await runs(start().url, crons) == [[cron] for cron in crons]
