"""Streams over restarts of the server: a run that was made resumable is watched to its end as if nothing had been."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client, get_sync_client

from tests.nursery import Forked, Start
from tests.wire.live import DEADLINE
from tests.wire.talk import Talk, whole

MODES: Any = ["values", "updates"]

FIRST_STEP = 4
"""Events up to the end of the first step."""

Event = tuple[str, Any]


@pytest.fixture
async def live(start: Start) -> Forked:
    return start(TURNKEEPER_CANCEL_GRACE="0.5", TURNKEEPER_DRAIN_TIMEOUT="0.1")


@pytest.fixture
async def talk(live: Forked) -> AsyncIterator[Talk]:
    async with get_client(url=live.url, api_key=None) as client:
        yield Talk(client, live.gates, (await client.threads.create())["thread_id"])


def read(talk: Talk, live: Forked, run: str, seen: str) -> str:
    """What the server knows of a run's stream."""
    path = f"{live.url}/threads/{talk.thread_id}/runs/{run}/stream"
    return httpx.get(path, headers={"last-event-id": seen}, timeout=DEADLINE).text


def end(live: Forked, how: str) -> None:
    """Stop the server in an orderly way, or not."""
    live.stop() if how == "stopped" else live.kill()


class Watching:
    """What a client has heard so far."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.begun = threading.Event()
        """Set once the first step's events have come."""

    def hear(self, part: Any) -> None:
        self.events.append((part.event, part.data))
        if len(self.events) == FIRST_STEP:
            self.begun.set()

    async def watch(self, live: Forked, thread: str, options: Any) -> None:
        async with get_client(url=live.url, api_key=None) as client:
            async for part in client.runs.stream(thread, "steps", **options):
                self.hear(part)

    def watch_blocking(self, live: Forked, thread: str, options: Any) -> None:
        with get_sync_client(url=live.url, api_key=None) as client:
            for part in client.runs.stream(thread, "steps", **options):
                self.hear(part)


async def test_a_stream_can_be_read_from_the_start_after_a_restart(start: Start, live: Forked, talk: Talk) -> None:
    run = await talk.say("A", stream_mode=MODES, stream_resumable=True)
    other = await talk.say("StopIteration", graph="raising", stream_mode=MODES, stream_resumable=True)
    await talk.end_of(run, other)
    before = [read(talk, live, each, "-1") for each in (run, other)]
    assert [text.count("event: ") for text in before] == [8, 5]
    middle = before[0].split("\r\n\r\n")[3].rpartition("id: ")[2]
    end(live, "stopped")
    live = start()
    assert [read(talk, live, each, "-1") for each in (run, other)] == before
    assert before[0].endswith(read(talk, live, run, middle))
    assert read(talk, live, run, middle).count("event: ") == 4


@pytest.mark.parametrize("how", ["stopped", "killed"])
@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_client_does_not_notice_that_the_server_was_restarted(
    start: Start, live: Forked, talk: Talk, how: str, kind: str
) -> None:
    """But for the attempt, of which it is told. With `sync` no finished step is done again."""
    talk.hold("A.n2")
    options = {"input": {"tag": "A"}, "stream_mode": MODES, "stream_resumable": True, "durability": "sync"}
    client = Watching()
    if kind == "async":
        watching = asyncio.create_task(client.watch(live, talk.thread_id, options))
    else:
        watching = asyncio.create_task(asyncio.to_thread(client.watch_blocking, live, talk.thread_id, options))
    await talk.started("A.n2")
    assert await asyncio.to_thread(client.begun.wait, DEADLINE)
    await asyncio.to_thread(end, live, how)
    live = await asyncio.to_thread(start)
    await talk.started("A.n2", times=2)
    talk.let("A.n2")
    async with asyncio.timeout(DEADLINE):
        await watching
    said = client.events
    run = said[0][1]["run_id"]
    assert [data for name, data in said if name == "metadata"] == [
        {"run_id": run, "attempt": 1},
        {"run_id": run, "attempt": 2},
    ]
    assert [data for name, data in said if name == "updates"] == [
        {name: {"steps": [f"A.{name}"]}} for name in ("n1", "n2", "n3")
    ]
    assert said[-1] == ("values", {"tag": "A", "steps": whole("A")})
    lost = len(said) - read(talk, live, run, "-1").count("event: ")
    assert lost == 0 or (how == "killed" and lost < FIRST_STEP), "what was told just before a power cut may be lost"


async def test_the_events_of_a_new_run_come_after_those_of_the_old(start: Start, live: Forked, talk: Talk) -> None:
    ids: list[int] = []
    for _ in range(2):
        run = await talk.say("A", stream_mode=MODES, stream_resumable=True)
        await talk.end_of(run)
        blocks = read(talk, live, run, "-1").removesuffix("\r\n\r\n").split("\r\n\r\n")
        ids += [int(block.rpartition("id: ")[2]) for block in blocks[1:]]
        end(live, "killed")
        live = start()
    assert len(ids) == 14
    assert ids == sorted(ids)
