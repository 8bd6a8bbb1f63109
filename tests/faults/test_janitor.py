"""A server cleans up after itself while it serves."""

import asyncio
import sqlite3
from contextlib import closing

import httpx

from tests.nursery import Forked, Start
from tests.wire.live import DEADLINE, POLL


async def test_what_was_kept_long_enough_is_gone_soon_after_the_server_has_started(start: Start) -> None:
    live = start()
    async with httpx.AsyncClient(base_url=live.url, timeout=DEADLINE) as http:
        thread = (await http.post("/threads", json={})).json()["thread_id"]
        for key in ("old", "young"):
            body = {"assistant_id": "steps", "input": {"tag": "A"}}
            await http.post(f"/threads/{thread}/runs/wait", json=body, headers={"Idempotency-Key": key})
    live.stop()
    with closing(sqlite3.connect(live.folder / "turnkeeper.db")) as connection:
        connection.execute("update idempotency_keys set created_at = '2020' where key = 'old'")
        connection.commit()
    live = start()
    async with asyncio.timeout(DEADLINE):
        while keys(live) != ["young"]:
            await asyncio.sleep(POLL)
    live.stop()


def keys(live: Forked) -> list[str]:
    """The idempotency keys on disk."""
    with closing(sqlite3.connect(f"file:{live.folder / 'turnkeeper.db'}?mode=ro", uri=True)) as connection:
        return [key for (key,) in connection.execute("select key from idempotency_keys order by key")]
