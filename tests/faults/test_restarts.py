"""Servers that are stopped, or that fall over: their runs are taken up again, and clients are told no lies."""

import asyncio
import signal
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import NotFoundError

from tests.nursery import Forked, Start
from tests.wire.live import DEADLINE, POLL, Live
from tests.wire.talk import Talk, whole
from turnkeeper.lifecycle import CancelAction

CLIENTS: list[LangGraphClient] = []


@pytest.fixture(autouse=True)
async def hang_up() -> AsyncIterator[None]:
    """Close the connections of the test."""
    yield
    while CLIENTS:
        await CLIENTS.pop().aclose()


def new_client(live: Live) -> LangGraphClient:
    CLIENTS.append(get_client(url=live.url, api_key=None))
    return CLIENTS[-1]


async def new_talk(live: Live) -> Talk:
    client = new_client(live)
    return Talk(client, live.gates, (await client.threads.create())["thread_id"])


def again(talk: Talk, live: Live) -> Talk:
    """The same thread on the server that came after."""
    return Talk(new_client(live), live.gates, talk.thread_id)


def terminate(live: Live, number: int = signal.SIGTERM) -> None:
    live.process.send_signal(number)


def wait_for_the_end(live: Live) -> None:
    """Whatever a server must not wait for here takes longer than this."""
    live.process.wait(DEADLINE)


# --- Stopping ---------------------------------------------------------------------------------------------------------


async def test_runs_that_end_in_time_are_waited_for_when_the_server_stops(start: Start) -> None:
    live = start(TURNKEEPER_DRAIN_TIMEOUT="60")
    talk = await new_talk(live)
    talk.hold("A.n2")
    run = await talk.say("A")
    queued = await talk.say("B")
    await talk.started("A.n2")
    terminate(live)
    wait_for_closed_port(live)
    assert live.process.poll() is None
    talk.let("A.n2")
    wait_for_the_end(live)
    talk = again(talk, start())
    await talk.end_of(queued)
    assert await talk.statuses(run, queued) == ["success", "success"]
    assert await talk.steps() == whole("A", "B")
    assert talk.visits == whole("A", "B"), "something was executed twice"
    assert talk.visits.index("B.n1") == 3


def wait_for_closed_port(live: Live) -> None:
    """Return once the server takes no connections any more."""
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            httpx.get(f"{live.url}/ok")
        except httpx.TransportError:
            return
        assert time.monotonic() < deadline
        time.sleep(POLL)


async def test_a_stopping_server_starts_no_queued_run(start: Start) -> None:
    live = start(TURNKEEPER_DRAIN_TIMEOUT="60")
    talk = await new_talk(live)
    talk.hold("A.n3", "B.n1")
    await talk.say("A")
    queued = await talk.say("B")
    await talk.started("A.n3")
    terminate(live)
    wait_for_closed_port(live)
    talk.let("A.n3")
    wait_for_the_end(live)
    assert "B.n1" not in talk.visits
    talk.let("B.n1")
    talk = again(talk, start())
    await talk.end_of(queued)
    assert await talk.steps() == whole("A", "B")


@pytest.mark.parametrize("graph", ["steps", "subgraph"])
@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_a_run_that_does_not_end_in_time_is_taken_up_after_the_restart(
    start: Start, graph: str, durability: str
) -> None:
    live = start(TURNKEEPER_DRAIN_TIMEOUT="0.1", TURNKEEPER_CANCEL_GRACE="60")
    talk = await new_talk(live)
    place = {"steps": "A.n2", "subgraph": "A.c2"}[graph]
    talk.hold(place)
    run = await talk.say("A", graph=graph, durability=durability)
    await talk.started(place)
    terminate(live)
    wait_for_the_end(live)
    talk.let(place)
    talk = again(talk, start())
    await talk.end_of(run)
    assert await talk.status(run) == "success"
    nodes = {"steps": ("n1", "n2", "n3"), "subgraph": ("before", "c1", "c2", "after")}[graph]
    assert await talk.steps() == whole("A", nodes=nodes)
    if durability != "exit":
        first = whole("A", nodes=nodes)[0]
        assert talk.visits.count(first) == 1, "a finished step was executed again"


async def test_restarts_do_not_use_up_the_attempts_of_a_long_run(start: Start) -> None:
    live = start(TURNKEEPER_DRAIN_TIMEOUT="0", TURNKEEPER_MAX_ATTEMPTS="2")
    talk = await new_talk(live)
    talk.hold("A.n2")
    run = await talk.say("A")
    for times in (1, 2, 3, 4):
        await talk.started("A.n2", times)
        terminate(live)
        wait_for_the_end(live)
        live = start(TURNKEEPER_DRAIN_TIMEOUT="0", TURNKEEPER_MAX_ATTEMPTS="2")
    talk = again(talk, live)
    talk.let("A.n2")
    await talk.end_of(run)
    assert await talk.status(run) == "success"
    assert await talk.steps() == whole("A")


@pytest.mark.parametrize("how", ["stream", "join_stream"])
async def test_streams_end_at_once_when_the_server_stops_and_can_be_joined_again(start: Start, how: str) -> None:
    live = start(TURNKEEPER_DRAIN_TIMEOUT="60")
    talk = await new_talk(live)
    talk.hold("A.n2")
    run = await talk.say("A")
    await talk.started("A.n2")
    path = f"{live.url}/threads/{talk.thread_id}/runs"
    async with httpx.AsyncClient(timeout=DEADLINE) as http:
        if how == "stream":
            body = {"assistant_id": "steps", "input": {"tag": "B"}}
            opening = http.stream("POST", f"{path}/stream", json=body)
        else:
            opening = http.stream("GET", f"{path}/{run}/stream")
        async with opening as response:
            terminate(live)
            text = ""
            with suppress(httpx.NetworkError, httpx.ProtocolError):
                async for part in response.aiter_text():
                    text += part
            assert live.process.poll() is None, "it ended with the server, not at once"
            assert "event: end" not in text
            assert "event: error" not in text
    terminate(live)
    wait_for_the_end(live)
    live = start()
    talk = again(talk, live)
    await talk.started("A.n2", 2)
    joining = asyncio.create_task(parts_of(talk, run))
    await subscribed(talk, run)
    talk.let("A.n2")
    parts = await asyncio.wait_for(joining, DEADLINE)
    assert [data["steps"] for event, data in parts if event == "values"][-1] == whole("A")


@pytest.mark.parametrize("how", ["wait", "join"])
async def test_who_waits_for_a_result_gets_a_broken_connection_and_no_result(start: Start, how: str) -> None:
    live = start(TURNKEEPER_DRAIN_TIMEOUT="0.1")
    talk = await new_talk(live)
    talk.hold("A.n2")
    path = f"{live.url}/threads/{talk.thread_id}/runs"
    async with httpx.AsyncClient(timeout=DEADLINE) as http:
        if how == "wait":
            body = {"assistant_id": "steps", "input": {"tag": "A"}}
            asking = asyncio.create_task(http.post(f"{path}/wait", json=body))
            await talk.started("A.n2")
        else:
            run = await talk.say("A")
            await talk.started("A.n2")
            asking = asyncio.create_task(http.get(f"{path}/{run}/join"))
            await http.get(f"{live.url}/ok")
        terminate(live)
        with pytest.raises(httpx.TransportError):
            await asking
    wait_for_the_end(live)


async def test_who_waits_for_a_stop_does_not_keep_the_server_from_ending(start: Start) -> None:
    live = start(TURNKEEPER_DRAIN_TIMEOUT="0.1", TURNKEEPER_CANCEL_GRACE="60")
    talk = await new_talk(live)
    talk.hold("A.swallow")
    run = await talk.say("A", graph="stubborn")
    await talk.started("A.swallow")
    async with httpx.AsyncClient(timeout=DEADLINE) as http:
        path = f"{live.url}/threads/{talk.thread_id}/runs/{run}/cancel?wait=true"
        asking = asyncio.create_task(http.post(path))
        await talk.noted("A.swallow ignored its cancellation")
        terminate(live)
        with suppress(httpx.NetworkError, httpx.ProtocolError):
            assert (await asking).status_code >= 500
        assert live.process.poll() is None, "it ended with the server, not before"
    terminate(live)
    wait_for_the_end(live)


@pytest.mark.parametrize(("first", "second"), [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGINT)])
async def test_a_second_signal_ends_the_server_at_once(start: Start, first: int, second: int) -> None:
    live = start(TURNKEEPER_DRAIN_TIMEOUT="60", TURNKEEPER_CANCEL_GRACE="60")
    talk = await new_talk(live)
    talk.hold("A.n2")
    run = await talk.say("A")
    await talk.started("A.n2")
    terminate(live, first)
    wait_for_closed_port(live)
    terminate(live, second)
    wait_for_the_end(live)
    talk.let("A.n2")
    talk = again(talk, start())
    await talk.end_of(run)
    assert await talk.steps() == whole("A")


@pytest.mark.parametrize(
    ("graph", "node"), [("blocking", "block"), ("stubborn", "swallow"), ("hogging", "hog"), ("spinning", "spin")]
)
async def test_a_node_that_never_ends_does_not_keep_the_server_from_ending(start: Start, graph: str, node: str) -> None:
    live = start(TURNKEEPER_DRAIN_TIMEOUT="0.1", TURNKEEPER_CANCEL_GRACE="0.2")
    talk = await new_talk(live)
    talk.hold(f"A.{node}")
    await talk.say("A", graph=graph)
    await talk.started(f"A.{node}")
    terminate(live)
    wait_for_the_end(live)
    assert live.process.returncode == 0


# --- Falling over -----------------------------------------------------------------------------------------------------


async def test_a_run_that_takes_its_server_down_every_time_is_an_error_after_its_last_attempt(start: Start) -> None:
    live = start(TURNKEEPER_MAX_ATTEMPTS="2")
    talk = await new_talk(live)
    run = await talk.say("fatal", graph="killing", durability="sync")
    waiting = await talk.say("B", graph="killing")
    for _ in range(2):
        wait_for_the_end(live)
        live = start_until_it_answers(start, TURNKEEPER_MAX_ATTEMPTS="2")
    talk = again(talk, live)
    await talk.end_of(run, waiting)
    assert await talk.statuses(run, waiting) == ["error", "success"]
    assert talk.log.count("fatal.kill began") == 2
    assert talk.visits.count("fatal.n1") == 1
    [ended] = [note for note in journal(live, run) if note[0] == "ended"]
    assert ended[1] == 3
    with closing(database(live)) as connection:
        [[error]] = connection.execute("select error from runs where run_id = ?", (run,)).fetchall()
    assert "went down 2 times while this run was going" in error


def start_until_it_answers(start: Start, **environ: str) -> Forked:
    """A server that dies as soon as it takes up its runs may not get to say that it is ready."""
    try:
        return start(**environ)
    except AssertionError:
        return start(**environ)


async def test_the_stream_of_a_run_that_was_going_when_the_server_fell_can_be_joined_after_the_restart(
    start: Start,
) -> None:
    live = start()
    talk = await new_talk(live)
    talk.hold("A.n2")
    run = await talk.say("A", stream_mode=["values", "updates"])
    await talk.started("A.n2")
    live.kill()
    talk = again(talk, start())
    await talk.started("A.n2", 2)
    joining = asyncio.create_task(parts_of(talk, run))
    await subscribed(talk, run)
    talk.let("A.n2")
    parts = await asyncio.wait_for(joining, DEADLINE)
    assert [list(data) for event, data in parts if event == "updates"] == [["n2"], ["n3"]]
    assert [data["steps"] for event, data in parts if event == "values"][-1] == whole("A")
    assert [event for event, _ in await parts_of(talk, run)] == ["metadata"]


async def parts_of(talk: Talk, run: str) -> list[tuple[str, Any]]:
    return [(part.event, part.data) async for part in talk.client.runs.join_stream(talk.thread_id, run)]


async def subscribed(talk: Talk, run: str) -> None:
    """A request made after another on the same connection pool is answered after it was taken up."""
    for _ in range(20):
        await talk.status(run)


@pytest.mark.parametrize("action", ["interrupt", "rollback"])
async def test_a_stop_that_was_accepted_before_the_server_fell_is_carried_out_without_executing_anything(
    start: Start, action: CancelAction
) -> None:
    live = start(TURNKEEPER_CANCEL_GRACE="60")
    talk = await new_talk(live)
    talk.hold("A.swallow")
    run = await talk.say("A", graph="stubborn")
    await talk.started("A.swallow")
    await talk.client.runs.cancel(talk.thread_id, run, action=action)
    following = await talk.say("B")
    live.kill()
    talk.let("A.swallow")
    talk = again(talk, start())
    await talk.end_of(following)
    assert await talk.status(run) == {"interrupt": "interrupted", "rollback": None}[action]
    assert talk.visits.count("A.swallow") == 1
    assert await talk.steps() == {"interrupt": ["A.n1"], "rollback": []}[action] + whole("B")


async def test_an_input_that_was_superseded_before_anything_ran_on_its_thread_is_kept(start: Start) -> None:
    talk = await new_talk(start())
    delayed = await talk.say("A", graph="busy", input={"tag": "A", "inputs": ["A"]}, after_seconds=3600)
    run = await talk.say("B", "interrupt", graph="busy", input={"tag": "B", "inputs": ["B"]})
    await talk.end_of(run)
    assert await talk.status(delayed) == "interrupted"
    assert (await talk.state())["values"]["inputs"] == ["A", "B"]


async def test_delayed_runs_start_after_a_restart_when_they_are_due(start: Start) -> None:
    live = start()
    talk = await new_talk(live)
    run = await talk.say("A", after_seconds=1.5)
    live.kill()
    talk = again(talk, start())
    await talk.end_of(run)
    assert await talk.steps() == whole("A")


# --- No trace of what was rolled back ---------------------------------------------------------------------------------

TABLES = (
    "runs", "checkpoints", "checkpoint_channels", "checkpoint_elements", "checkpoint_writes", "ready",
)  # fmt: skip


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("place", ["n1", "n2", "n3"])
async def test_a_rollback_leaves_the_tables_as_they_were_before_the_run(
    start: Start, durability: str, place: str
) -> None:
    live = start()
    talk = await new_talk(live)
    await talk.end_of(await talk.say("Z"))
    before, seen = dump(live), await everything(talk)
    talk.hold(f"A.{place}")
    run = await talk.say("A", durability=durability)
    await talk.started(f"A.{place}")
    rolling = asyncio.create_task(talk.client.runs.cancel(talk.thread_id, run, wait=True, action="rollback"))
    talk.let(f"A.{place}")  # its end, its last checkpoint and the rollback race each other
    try:
        await rolling
    except (NotFoundError, httpx.HTTPStatusError):  # it had ended before
        assert await talk.status(run) == "success"
        return
    assert await talk.status(run) is None
    assert await everything(talk) == seen
    assert live.stop() == 0
    assert dump(live) == before
    with closing(database(live)) as connection:
        notes = connection.execute("select * from journal where run_id = ?", (run,)).fetchall()
        assert [note[3] for note in notes][-1] == "tombstone"
        assert "A.n" not in str(notes)


async def everything(talk: Talk) -> Any:
    thread = await talk.thread()
    kept = {key: value for key, value in thread.items() if key not in ("updated_at", "state_updated_at")}
    return kept, await talk.state(), await talk.history(), await talk.listed()


async def test_a_rollback_of_a_node_left_behind_leaves_no_trace_in_the_tables(start: Start) -> None:
    live = start(TURNKEEPER_CANCEL_GRACE="0.2")
    talk = await new_talk(live)
    await talk.end_of(await talk.say("Z"))
    before = dump(live)
    talk.hold("A.swallow")
    run = await talk.say("A", graph="stubborn", durability="exit")
    await talk.started("A.swallow")
    await talk.client.runs.cancel(talk.thread_id, run, wait=True, action="rollback")
    talk.let("A.swallow")
    await talk.noted("A.swallow ended")
    live.stop()
    assert dump(live) == before


def dump(live: Live) -> dict[str, list[Any]]:
    """Every row of every table that keeps content."""
    with closing(database(live)) as connection:
        return {name: connection.execute(f"select * from {name} order by 1, 2").fetchall() for name in TABLES}


def journal(live: Live, run: str) -> list[tuple[str, int, str | None]]:
    with closing(database(live)) as connection:
        found = connection.execute("select event, attempt, detail from journal where run_id = ? order by seq", (run,))
        return found.fetchall()


def database(live: Live) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{live.folder / 'turnkeeper.db'}?mode=ro", uri=True)
