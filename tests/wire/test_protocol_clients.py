"""The Python client's `threads.stream`, unchanged, over both of its transports."""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from langgraph_sdk.client import LangGraphClient, SyncLangGraphClient

from tests.wire.live import DEADLINE
from tests.wire.protocol import said
from tests.wire.talk import Talk, whole

pytestmark = pytest.mark.anyio

Open = Callable[..., AbstractAsyncContextManager[Any]]


@pytest.fixture(params=["sse", "websocket"])
def opened(request: pytest.FixtureRequest, client: LangGraphClient) -> Open:
    """Opens the stream of a thread, by default a new one's."""

    @asynccontextmanager
    async def stream(graph: str, thread_id: str | None = None) -> AsyncGenerator[Any]:
        async with asyncio.timeout(DEADLINE):
            async with client.threads.stream(thread_id, assistant_id=graph, transport=request.param) as thread:
                yield thread

    return stream


def ask(city: str) -> dict[str, Any]:
    return {"messages": [{"role": "human", "content": f"what's the weather in {city}?"}]}


async def texts(thread: Any) -> list[str]:
    """What the model says in the run under way."""
    return [await message.text for message in await collect(thread.messages)]  # which are whole only then


async def test_values_come_as_they_change_and_the_output_is_the_state(opened: Open, client: LangGraphClient) -> None:
    async with opened("steps") as thread:
        await thread.run.start(input={"tag": "A"})
        values = [each.get("steps") async for each in thread.values]
        output = await thread.output
        state = await client.threads.get_state(thread.thread_id)
    assert values[-1] == output["steps"] == whole("A")
    assert output == state["values"]


async def test_an_agent_is_heard_speaking(opened: Open) -> None:
    async with opened("agent") as thread:
        await thread.run.start(input=ask("sf"))
        said = await texts(thread)
        messages = (await thread.output)["messages"]
    assert said[-1] == "It is sunny in sf."
    assert [message["type"] for message in messages] == ["human", "ai", "tool", "ai"]


async def test_an_agent_is_seen_using_its_tool(opened: Open) -> None:
    # By itself: two projections opened at one instant race in the client, which then waits for a stream it closed.
    async with opened("agent") as thread:
        await thread.run.start(input=ask("sf"))
        calls = await collect(thread.tool_calls)
        assert [(call.name, call.input["city"]) for call in calls] == [("get_weather", "sf")]
        assert "It is sunny in sf." in str(await calls[0].output)


async def collect(projection: Any) -> list[Any]:
    return [each async for each in projection]


async def test_each_turn_is_heard_by_itself(opened: Open, thread: str) -> None:
    async with opened("agent", thread) as stream:
        await stream.run.start(input=ask("sf"))
        assert (await texts(stream))[-1] == "It is sunny in sf."
        await stream.run.start(input=ask("nyc"))
        assert (await texts(stream))[-1] == "It is sunny in nyc."
    async with opened("agent", thread) as stream:
        await stream.run.start(input=ask("rome"))
        said = await texts(stream)
    assert said[-1] == "It is sunny in rome."
    assert not any("sf" in text or "nyc" in text for text in said)


async def test_a_second_question_asked_meanwhile_does_not_hide_the_answer_to_the_first(
    opened: Open, talk: Talk
) -> None:
    talk.hold("sf.tool")
    async with opened("agent", talk.thread_id) as stream:
        await stream.run.start(input=ask("sf"))
        await talk.started("sf.tool")
        await stream.run.start(input=ask("nyc"))
        talk.let("sf.tool")
        assert (await texts(stream))[-1] == "It is sunny in sf."
        assert (await texts(stream))[-1] == "It is sunny in nyc."


async def test_a_question_is_heard_and_answered(opened: Open) -> None:
    async with opened("ask") as thread:
        await thread.run.start(input={"tag": "A"})
        before = [each.get("steps") async for each in thread.values]
        assert thread.interrupted
        [interrupt] = thread.interrupts
        assert interrupt["value"] == {"question": "go on?", "tag": "A"}
        await thread.run.respond("yes")
        assert (await thread.output)["steps"] == ["A.before", "A.ask=yes", "A.after"]
        assert not thread.interrupted
    assert before[-1] == ["A.before"]


async def test_a_question_asked_before_anybody_listened_is_heard_and_answered(opened: Open, talk: Talk) -> None:
    await talk.end_of(await talk.say("A", graph="ask"))
    async with opened("ask", talk.thread_id) as thread:
        async for _ in thread.values:
            pass
        await thread.run.respond("yes")
        assert (await thread.output)["steps"] == ["A.before", "A.ask=yes", "A.after"]


async def test_a_failed_run_raises_what_went_wrong(opened: Open) -> None:
    async with opened("fails") as thread:
        await thread.run.start(input={"tag": "A"})
        with pytest.raises(RuntimeError, match="boom!"):
            await thread.output


async def test_subgraphs_are_found(opened: Open) -> None:
    async with opened("subgraph") as thread:
        await thread.run.start(input={"tag": "A"})
        found = [(child.graph_name, child.status) async for child in thread.subgraphs]
        assert (await thread.output)["steps"] == ["A.before", "A.c1", "A.c2", "A.after"]
    assert [name for name, _ in found] == ["child"]


async def test_a_run_cancelled_before_it_began_is_heard_to_be_over(opened: Open, talk: Talk) -> None:
    talk.hold("A.n1")
    async with opened("steps", talk.thread_id) as thread:
        first = (await thread.run.start(input={"tag": "A"}))["run_id"]
        waiting = (await thread.run.start(input={"tag": "B"}))["run_id"]
        heard: list[tuple[str, str]] = []
        async for event in thread.events:
            if event.get("method") != "lifecycle":
                continue
            heard.append((event["event_id"].split(":")[1], said(event)))
            if heard == [(first, "running")]:
                await talk.client.runs.cancel(talk.thread_id, waiting)
            if heard[-1] == (waiting, "interrupted"):
                talk.let("A.n1")
            if heard[-1] == (first, "completed"):
                break
    assert heard == [(first, "running"), (waiting, "interrupted"), (first, "completed")]


@pytest.mark.parametrize("transport", ["sse", "websocket"])
def test_code_that_is_not_asynchronous_has_the_same(sync_client: SyncLangGraphClient, transport: Any) -> None:
    thread_id = str(uuid.uuid4())
    with sync_client.threads.stream(thread_id, assistant_id="agent", transport=transport) as thread:
        thread.run.start(input=ask("sf"))
        said = [str(message.text) for message in thread.messages]
        assert [message["type"] for message in thread.output["messages"]] == ["human", "ai", "tool", "ai"]
    assert said[-1] == "It is sunny in sf."
