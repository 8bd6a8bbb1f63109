"""A disk that is full, a file that is not ours or not whole: nothing half-written, nothing lost, clear words."""

import asyncio
import resource
import sqlite3
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest
from langgraph_sdk import get_client

from tests.faults.conftest import APP
from tests.nursery import Forked, Nursery, Start
from tests.wire.live import DEADLINE, free_port
from tests.wire.talk import Talk, whole


@contextmanager
def full_disk(live: Forked) -> Generator[None]:
    """The server's files cannot grow: to it that is a disk without room."""
    wal = live.folder / "turnkeeper.db-wal"
    _, most = resource.prlimit(live.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(live.process.pid, resource.RLIMIT_FSIZE, (wal.stat().st_size, most))
    try:
        yield
    finally:
        resource.prlimit(live.process.pid, resource.RLIMIT_FSIZE, (most, most))


def rows(live: Forked) -> dict[str, int]:
    with closing(sqlite3.connect(f"file:{live.folder / 'turnkeeper.db'}?mode=ro", uri=True)) as connection:
        tables = ("threads", "runs", "journal", "checkpoints", "checkpoint_writes", "idempotency_keys")
        return {table: connection.execute(f"select count(*) from {table}").fetchone()[0] for table in tables}


async def test_with_a_full_disk_what_is_refused_leaves_nothing_and_reads_work(start: Start) -> None:
    live = start()
    async with httpx.AsyncClient(base_url=live.url, timeout=DEADLINE) as http:
        thread = (await http.post("/threads", json={})).json()["thread_id"]
        body = {"assistant_id": "steps", "input": {"tag": "A"}}
        assert (await http.post(f"/threads/{thread}/runs/wait", json=body)).status_code == 200
        before = rows(live)
        with full_disk(live):
            for path in (f"/threads/{thread}/runs", "/runs", f"/threads/{thread}/runs/wait", "/threads"):
                answer = await http.post(path, json=body if "runs" in path else {})
                assert answer.status_code == 503, f"{path}: {answer.text}"
                assert "retry-after" in answer.headers
            assert (await http.get("/ok")).status_code == 200
            assert (await http.get(f"/threads/{thread}/state")).json()["values"]["steps"] == whole("A")
            assert (await http.get(f"/threads/{thread}/runs")).status_code == 200
            assert rows(live) == before
        again = await http.post(f"/threads/{thread}/runs/wait", json={**body, "input": {"tag": "B"}})
        assert again.json()["steps"] == whole("A", "B")


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("moment", ["before its last steps", "at its end"])
async def test_runs_under_way_when_the_disk_is_full_end_once_there_is_room(
    start: Start, durability: str, moment: str
) -> None:
    live = start()
    async with get_client(url=live.url, api_key=None) as client:
        talk = Talk(client, live.gates, (await client.threads.create())["thread_id"])
        place = {"before its last steps": "A.n2", "at its end": "A.n3"}[moment]
        talk.hold(place)
        run = await talk.say("A", durability=durability)
        queued = await talk.say("B")
        await talk.started(place)
        with full_disk(live):
            talk.let(place)
            await refused(live)
        await talk.end_of(run, queued)
        assert await talk.statuses(run, queued) == ["success", "success"]
        assert await talk.steps() == whole("A", "B")
        history = [len(state["values"].get("steps", [])) for state in await talk.history()]
        assert history[-1] == 6, "the state clients see was never stored"


async def refused(live: Forked) -> None:
    """Return once the server has told that a write of a run was refused."""
    deadline = time.monotonic() + DEADLINE
    while not any(words in live.log.read_text() for words in ("not written yet", "not back in the queue yet")):
        assert time.monotonic() < deadline, live.log.read_text()
        await asyncio.sleep(0.005)


# --- Files ------------------------------------------------------------------------------------------------------------


def refusal(nursery: Nursery, folder: Path) -> str:
    """What a server says that does not start with the database it finds."""
    log = folder / "server.log"
    said = log.read_text()
    refused = nursery.start(folder, free_port(), APP)
    assert refused.process.wait(DEADLINE) == 1
    return log.read_text().removeprefix(said)


def test_a_database_another_server_has_open_is_refused(start: Start, nursery: Nursery) -> None:
    said = refusal(nursery, start().folder)
    assert "another Turnkeeper server has it open" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("damage", ["no database", "half of it", "torn in the middle"])
def test_a_damaged_database_is_refused_with_clear_words(start: Start, nursery: Nursery, damage: str) -> None:
    live = start()
    with httpx.Client(base_url=live.url, timeout=DEADLINE) as http:
        for _ in range(30):
            http.post("/runs/wait", json={"assistant_id": "steps", "input": {"tag": "A"}, "on_completion": "keep"})
    live.stop()
    path = live.folder / "turnkeeper.db"
    content = path.read_bytes()
    pages = len(content) // 4096
    match damage:
        case "no database":
            path.write_bytes(b"this is a shopping list\n" * 1000)
        case "half of it":
            path.write_bytes(content[: pages // 2 * 4096])
        case _:
            middle = 4096 * 2
            path.write_bytes(content[:middle] + b"\xff" * (len(content) - middle * 2) + content[-middle:])
    said = refusal(nursery, live.folder)
    assert "cannot be used" in said
    assert "Traceback" not in said
