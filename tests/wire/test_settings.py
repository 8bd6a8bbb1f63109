"""What a setting changes. Each test has a server of its own."""

from langgraph_sdk import get_client

from tests.nursery import Start
from tests.wire.talk import Talk
from tests.wire.test_founding_scenario import FIRST, SECOND, told, turn


async def test_open_tool_calls_may_be_left_as_they_are(start: Start) -> None:
    live = start(TURNKEEPER_DANGLING_TOOL_CALLS="keep")
    async with get_client(url=live.url, api_key=None) as client:
        talk = Talk(client, live.gates, (await client.threads.create())["thread_id"])
        talk.hold("sf.tool")
        await talk.say("", graph="agent", input=FIRST)
        await talk.started("sf.tool")
        second = await talk.say("", "interrupt", graph="agent", input=SECOND)
        await talk.end_of(second)
        messages = (await talk.state())["values"]["messages"]

    assert told(messages) == turn("sf")[:2] + turn("nyc")


async def test_the_threads_timeline_says_which_run_superseded_which(start: Start) -> None:
    live = start(TURNKEEPER_QUEUED_ON_INTERRUPT="keep")
    async with get_client(url=live.url, api_key=None) as client:
        talk = Talk(client, live.gates, (await client.threads.create())["thread_id"])
        talk.hold("A.n1")
        runs = [await talk.say("A"), await talk.say("B")]
        await talk.started("A.n1")
        runs.append(await talk.say("C", "interrupt"))
        await talk.end_of(*runs)
        story = await client.http.get(f"/turnkeeper/threads/{talk.thread_id}/timeline")

    first, second, third = story["runs"]
    assert [run["run_id"] for run in story["runs"]] == runs
    assert [run["status"] for run in story["runs"]] == ["interrupted", "success", "success"]
    assert (first["superseded_by"], third["supersedes"]) == (runs[2], [runs[0]])
    assert "superseded_by" not in second
    assert all(run["queue_ms"] >= 0 and run["run_ms"] > 0 for run in story["runs"])
    assert [event["event"] for event in second["events"]] == ["created", "started", "ended"]
