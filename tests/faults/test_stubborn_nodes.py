"""Nodes that do not stop when they are told to: they are waited for, then left behind, and write no more."""

import asyncio
import sqlite3
import time

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient

from tests.nursery import Forked, Start
from tests.wire.live import DEADLINE, POLL
from tests.wire.talk import Talk, whole
from turnkeeper.lifecycle import CancelAction

GRACE = 0.5
"""What `server` gives a node."""

STUBBORN = [("stubborn", "swallow"), ("spinning", "spin"), ("blocking", "block"), ("hogging", "hog")]
"""Graphs, and the node of each that takes no cancellation."""

OFF_LOOP = [entry for entry in STUBBORN if entry[0] != "hogging"]
"""Without the one that blocks the loop all runs share: while it does, no run goes on."""


@pytest.mark.parametrize(("graph", "node"), OFF_LOOP)
@pytest.mark.parametrize("action", ["interrupt", "rollback"])
async def test_a_node_left_behind_changes_nothing_any_more(
    talk: Talk, client: LangGraphClient, graph: str, node: str, action: CancelAction, server: Forked
) -> None:
    talk.hold(f"A.{node}")
    run = await talk.say("A", graph=graph)
    await talk.started(f"A.{node}")
    begun = time.monotonic()
    async with asyncio.timeout(DEADLINE):
        await client.runs.cancel(talk.thread_id, run, wait=True, action=action)
    assert time.monotonic() - begun >= GRACE * 0.9, "it was not waited for"
    assert await talk.status(run) == {"interrupt": "interrupted", "rollback": None}[action]
    following = await talk.say("B")
    await talk.end_of(following)
    kept = (["A.n1"] if action == "interrupt" else []) + whole("B")
    assert await talk.steps() == kept
    before = await everything(talk, server)
    talk.let(f"A.{node}")
    await talk.noted(f"A.{node} ended")
    barrier = await talk.client.threads.create()
    for _ in range(3):  # whatever it still wrote stands before these in the writer's queue
        await talk.client.runs.wait(barrier["thread_id"], "steps", input={"tag": "X"})
    assert await everything(talk, server) == before
    assert await talk.steps() == kept
    if action == "rollback":
        assert traces(server, run) == []


async def everything(talk: Talk, server: Forked) -> object:
    """The thread, its state, its history and its runs."""
    runs = await talk.client.runs.list(talk.thread_id, limit=100)
    return await talk.thread(), await talk.state(), await talk.history(), runs


def traces(server: Forked, run_id: str) -> list[str]:
    """Tables that have anything of a run."""
    connection = sqlite3.connect(f"file:{server.folder / 'turnkeeper.db'}?mode=ro", uri=True)
    try:
        tables = ("runs", "checkpoints", "checkpoint_writes")
        counts = {t: connection.execute(f"select count(*) from {t} where run_id = ?", (run_id,)) for t in tables}
        return [table for table, count in counts.items() if count.fetchone()[0]]
    finally:
        connection.close()


@pytest.mark.parametrize(("graph", "node"), OFF_LOOP)
async def test_the_next_run_waits_for_a_stubborn_node_and_no_longer_than_the_grace(
    talk: Talk, graph: str, node: str
) -> None:
    talk.hold(f"A.{node}")
    first = await talk.say("A", graph=graph)
    await talk.started(f"A.{node}")
    begun = time.monotonic()
    second = await talk.say("B", "interrupt")
    await talk.started("B.n1")
    assert time.monotonic() - begun >= GRACE * 0.9, "it was not waited for"
    await talk.end_of(second)
    assert await talk.status(first) == "interrupted"
    talk.let(f"A.{node}")


async def test_a_sync_node_that_ends_within_the_grace_is_waited_for(start: Start) -> None:
    live = start(TURNKEEPER_CANCEL_GRACE="15")
    from langgraph_sdk import get_client

    async with get_client(url=live.url, api_key=None) as client:
        talk = Talk(client, live.gates, (await client.threads.create())["thread_id"])
        talk.hold("A.block")
        first = await talk.say("A", graph="blocking")
        await talk.started("A.block")
        second = await talk.say("B", "interrupt")
        cancelled = asyncio.create_task(client.runs.cancel(talk.thread_id, second, wait=True))
        other = await client.threads.create()
        await client.runs.wait(other["thread_id"], "steps", input={"tag": "X"})
        assert not talk.visits.count("B.n1")
        assert await talk.status(first) == "running"
        talk.let("A.block")
        await asyncio.wait_for(cancelled, DEADLINE)
        await talk.end_of(first)
        assert await talk.statuses(first, second) == ["interrupted", "interrupted"]


async def test_fifty_stuck_sync_nodes_starve_nobody(client: LangGraphClient, server: Forked) -> None:
    threads = [(await client.threads.create())["thread_id"] for _ in range(50)]
    stuck = [Talk(client, server.gates, thread) for thread in threads]
    for talk in stuck:
        talk.hold("A.block")
    runs = [await talk.say("A", graph="blocking") for talk in stuck]
    for talk in stuck:
        await talk.started("A.block")
    for talk, run in zip(stuck, runs, strict=True):
        await client.runs.cancel(talk.thread_id, run)
    for talk, run in zip(stuck, runs, strict=True):
        await talk.end_of(run)
    async with asyncio.timeout(DEADLINE):
        for talk in stuck[:10]:
            await client.runs.wait(talk.thread_id, "blocking", input={"tag": "B"})
    for talk in stuck:
        talk.let("A.block")


async def test_a_node_that_blocks_the_loop_of_the_runs_does_not_hold_up_the_api(
    talk: Talk, http: httpx.AsyncClient
) -> None:
    talk.hold("A.hog")
    run = await talk.say("A", graph="hogging")
    await talk.started("A.hog")
    for method, path, body in 2 * (
        ("GET", "/ok", None),
        ("POST", "/threads", {}),
        ("POST", "/threads/search", {}),
        ("GET", f"/threads/{talk.thread_id}/runs", None),
        ("GET", f"/threads/{talk.thread_id}/state", None),
    ):
        assert (await http.request(method, path, json=body)).status_code == 200
    assert "A.hog ended" not in talk.log
    accepted = await talk.say("B", "interrupt")
    talk.let("A.hog")
    await talk.end_of(accepted)
    assert await talk.statuses(run, accepted) == ["interrupted", "success"]


async def test_a_stop_is_answered_only_once_a_node_that_blocks_the_loop_can_write_no_more(
    talk: Talk, client: LangGraphClient
) -> None:
    talk.hold("A.hog")
    run = await talk.say("A", graph="hogging")
    await talk.started("A.hog")
    stopping = asyncio.create_task(client.runs.cancel(talk.thread_id, run, wait=True))
    while not await cancel_is_noted(talk, run):
        await asyncio.sleep(POLL)
    assert not stopping.done()
    talk.let("A.hog")
    await asyncio.wait_for(stopping, DEADLINE)
    assert await talk.status(run) == "interrupted"


async def cancel_is_noted(talk: Talk, run: str) -> bool:
    found = await talk.client.runs.get(talk.thread_id, run)
    return bool(dict(found).get("cancel_reason"))


@pytest.mark.parametrize("graph", ["endless", "spinning", "blocking"])
async def test_a_run_that_takes_longer_than_it_may_times_out_and_the_thread_goes_on(
    talk: Talk, http: httpx.AsyncClient, graph: str
) -> None:
    node = {"endless": "hang", "spinning": "spin", "blocking": "block"}[graph]
    talk.hold(f"A.{node}")
    body = {"assistant_id": graph, "input": {"tag": "A"}, "run_timeout": 0.2}
    run = (await http.post(f"/threads/{talk.thread_id}/runs", json=body)).json()["run_id"]
    await talk.end_of(run)
    assert await talk.status(run) == "timeout"
    assert "0.2 seconds" in str((await talk.thread())["error"])
    assert await talk.steps() == ["A.n1"]
    following = await talk.say("B")
    await talk.end_of(following)
    assert await talk.steps() == ["A.n1", *whole("B")]
    talk.let(f"A.{node}")


async def test_the_server_limits_how_long_runs_take_unless_they_say_otherwise(start: Start) -> None:
    live = start(TURNKEEPER_RUN_TIMEOUT="0.2")
    from langgraph_sdk import get_client

    async with get_client(url=live.url, api_key=None) as client:
        talk = Talk(client, live.gates, (await client.threads.create())["thread_id"])
        run = await talk.say("forever", graph="endless")
        await talk.end_of(run)
        assert await talk.status(run) == "timeout"
        following = await talk.say("B", graph="endless")
        await talk.end_of(following)
        assert await talk.status(following) == "success"
