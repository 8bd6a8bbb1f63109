"""A node may raise anything: its run is an error that says so, the server and all other runs go on."""

from pathlib import Path

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient

from tests.nursery import Start
from tests.wire.live import DEADLINE
from tests.wire.talk import Talk, whole

FATAL = ("SystemExit", "KeyboardInterrupt", "GeneratorExit", "CancelledError", "MemoryError", "RecursionError")

SEEN_AS = {
    "GeneratorExit": ("GeneratorExit", "RuntimeError"),
    "CancelledError": ("NodeCancelledError",),
    "StopIteration": ("RuntimeError",),
}
"""What LangGraph and Python make of errors that mean something else to a coroutine."""


async def assert_failed_alone(talk: Talk, run: str, error: str, bystander: Talk, other: str) -> None:
    """The run is an error of this class; a run that was going meanwhile and the next one on the thread succeed."""
    await talk.end_of(run)
    assert await talk.status(run) == "error"
    thread = await talk.thread()
    assert thread["status"] == "error"
    assert thread["error"]["error"] in SEEN_AS.get(error, (error,))
    bystander.let("other.n2")
    await bystander.end_of(other)
    assert await bystander.status(other) == "success"
    assert await bystander.steps() == whole("other")


@pytest.fixture
async def bystander(client: LangGraphClient, talk: Talk) -> Talk:
    return Talk(client, talk._gates, (await client.threads.create())["thread_id"])


@pytest.mark.parametrize("error", [*FATAL, *(f"sync-{name}" for name in FATAL), "StopIteration", "sync-StopIteration"])
async def test_a_node_that_raises_what_ends_processes_ends_only_its_run(
    talk: Talk, bystander: Talk, error: str, http: httpx.AsyncClient
) -> None:
    bystander.hold("other.n2")
    other = await bystander.say("other")
    await bystander.started("other.n2")
    run = await talk.say(error, graph="raising")
    await assert_failed_alone(talk, run, error.removeprefix("sync-"), bystander, other)
    following = await talk.say("next", graph="raising")
    await talk.end_of(following)
    assert await talk.status(following) == "success"
    assert (await talk.steps())[-3:] == ["next.n1", "next.boom", "next.thread"]
    assert (await http.get("/ok")).status_code == 200


@pytest.mark.parametrize("error", [*FATAL, "ValueError"])
async def test_a_node_of_a_graph_in_a_graph_that_raises_ends_only_its_run(
    talk: Talk, bystander: Talk, error: str
) -> None:
    bystander.hold("other.n2")
    other = await bystander.say("other")
    run = await talk.say(error, graph="raising_child", stream_subgraphs=True)
    await assert_failed_alone(talk, run, error, bystander, other)
    assert await talk.steps() == [f"{error}.n1"]


@pytest.mark.parametrize("error", FATAL)
async def test_a_tool_that_raises_what_ends_processes_ends_only_its_run(
    talk: Talk, bystander: Talk, error: str
) -> None:
    bystander.hold("other.n2")
    other = await bystander.say("other")
    said = {"messages": [{"role": "user", "content": error}]}
    run = await talk.say(error, graph="raising_tool", input=said)
    await assert_failed_alone(talk, run, error, bystander, other)


async def test_what_cannot_be_stored_makes_its_run_an_error_and_leaves_the_thread_usable(talk: Talk) -> None:
    run = await talk.say("A", graph="opaque")
    await talk.end_of(run)
    assert await talk.status(run) == "error"
    assert "not msgpack serializable: Sealed" in str((await talk.thread())["error"])
    following = await talk.say("fine", graph="opaque")
    await talk.end_of(following)
    assert await talk.status(following) == "success"


@pytest.mark.parametrize("size", [1_000_000, 50_000_000])
async def test_a_big_state_gets_through_whole(talk: Talk, client: LangGraphClient, size: int) -> None:
    given = {"tag": "A", "size": size}
    parts = [part async for part in client.runs.stream(talk.thread_id, "heavy", input=given, stream_mode="values")]
    assert parts[0].event == "metadata"
    assert len(parts[-1].data["blob"]) == size
    assert len((await talk.state())["values"]["blob"]) == size


async def test_memory_returns_after_big_states(start: Start) -> None:
    live = start()
    async with httpx.AsyncClient(base_url=live.url, timeout=DEADLINE) as http:

        async def once() -> int:
            body = {"assistant_id": "heavy", "input": {"tag": "light", "size": 20_000_000}}
            assert (await http.post("/runs/wait", json=body)).status_code == 200
            return resident(live.process.pid)

        sizes = [await once() for _ in range(6)]
    assert sizes[-1] < sizes[1] + 40_000_000, sizes


def resident(pid: int) -> int:
    """Bytes of memory a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
