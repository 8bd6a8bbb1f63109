"""Whose run is next, as clients say it and see it. Each test has a server of its own, with little room."""

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from tests.nursery import Start
from tests.wire.live import Live
from tests.wire.talk import Talk


@asynccontextmanager
async def talking(live: Live) -> AsyncGenerator[LangGraphClient]:
    async with get_client(url=live.url, api_key=None) as client:
        yield client


async def new_talk(client: LangGraphClient, live: Live) -> Talk:
    return Talk(client, live.gates, (await client.threads.create())["thread_id"])


async def pending(client: LangGraphClient) -> dict[str, int]:
    """What the server says of its queue."""
    text = (await client.http.client.get("/metrics")).text
    return {
        waits_for: int(float(count))
        for waits_for, count in re.findall(r'^turnkeeper_runs_pending{waiting_for="(\w+)"} (\S+)$', text, re.MULTILINE)
    }


def marked(**said: Any) -> dict[str, Any]:
    """What a stock SDK can send."""
    return {"metadata": {"turnkeeper": said}}


async def test_urgent_runs_and_other_tenants_go_first(start: Start) -> None:
    live = start(TURNKEEPER_JOBS="1")
    async with talking(live) as client:
        blocker = await new_talk(client, live)
        blocker.hold("A.n1")
        runs = {"A": (blocker, await blocker.say("A"))}
        await blocker.started("A.n1")
        for tag, said in (
            ("many 1", marked(fairness_key="many")),
            ("many 2", marked(fairness_key="many")),
            ("many 3", marked(fairness_key="many")),
            ("one", marked(fairness_key="one")),
            ("urgent", marked(priority=1, fairness_key="many")),
            ("lazy", marked(priority=-1)),
        ):
            talk = await new_talk(client, live)
            runs[tag] = talk, await talk.say(tag, **said)
        waiting = await pending(client)
        body = {"assistant_id": "steps", "input": {"tag": "plain"}, "priority": 100, "fairness_key": "many"}
        answer = await client.http.post("/runs", json={**body, "on_completion": "keep"})
        runs["plain"] = Talk(client, live.gates, answer["thread_id"]), answer["run_id"]
        blocker.let("A.n1")
        for talk, run_id in runs.values():
            await talk.end_of(run_id)
        ends = {
            tag: (await client.runs.get(talk.thread_id, run_id))["updated_at"] for tag, (talk, run_id) in runs.items()
        }

    assert waiting == {"worker": 6, "slot": 0}
    assert sorted(ends, key=lambda tag: ends[tag]) == [
        "A", "plain", "urgent", "many 1", "many 2", "one", "many 3", "lazy",
    ]  # fmt: skip


async def test_a_run_waits_for_a_slot_and_starts_as_soon_as_it_is_free(start: Start) -> None:
    live = start(TURNKEEPER_CONCURRENCY_LIMIT="1")
    async with talking(live) as client:
        talks = [await new_talk(client, live) for _ in range(3)]
        for talk in talks[:2]:
            talk.hold("A.n1")
        runs = [await talk.say("A", **marked(concurrency_key="openai")) for talk in talks]
        await talks[0].started("A.n1")
        assert await pending(client) == {"worker": 0, "slot": 2}
        free = await new_talk(client, live)
        await free.end_of(await free.say("A"))

        async with asyncio.timeout(4):  # before a worker would look unasked
            await client.runs.cancel(talks[0].thread_id, runs[0], wait=True)
            await talks[1].started("A.n1")
            assert await talks[2].status(runs[2]) == "pending"
            talks[1].let("A.n1")
            await talks[2].end_of(runs[2])
