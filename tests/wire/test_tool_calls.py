"""Tool calls an interrupted run left open: model providers refuse a conversation with a call nobody answered."""

from typing import Any, cast

import httpx
import pytest

from tests.wire.talk import Talk
from tests.wire.test_founding_scenario import CUT_SHORT, FIRST, SECOND, told, turn


async def cut_short(talk: Talk) -> str:
    """Interrupt the answer to the first question while its tool is at work; the id of the call left open."""
    talk.hold("sf.tool")
    first = await talk.say("", graph="agent", input=FIRST)
    await talk.started("sf.tool")
    await talk.client.runs.cancel(talk.thread_id, first, wait=True)
    return (await messages(talk))[-1]["tool_calls"][0]["id"]


async def messages(talk: Talk) -> list[Any]:
    return (await talk.state())["values"]["messages"]


async def test_providers_accept_the_conversation_after_an_interrupt(talk: Talk) -> None:
    call = await cut_short(talk)
    await talk.end_of(await talk.say("", graph="agent", input=SECOND))
    found = await messages(talk)
    assert told(found) == CUT_SHORT + turn("nyc")
    assert (found[2]["tool_call_id"], found[2]["name"], found[2]["status"]) == (call, "get_weather", "error")


@pytest.mark.parametrize("meanwhile", ["the run is deleted", "the state is edited", "the thread is copied"])
async def test_an_interrupt_is_remembered_until_the_next_input(talk: Talk, meanwhile: str) -> None:
    await cut_short(talk)
    client = talk.client
    if meanwhile == "the run is deleted":
        await client.runs.delete(talk.thread_id, (await talk.listed())[0])
    elif meanwhile == "the state is edited":
        await client.threads.update_state(talk.thread_id, {"messages": []}, as_node="model")
    else:
        talk.thread_id = cast("Any", await client.threads.copy(talk.thread_id))["thread_id"]
    await talk.end_of(await talk.say("", graph="agent", input=SECOND))
    assert told(await messages(talk)) == CUT_SHORT + turn("nyc")


async def test_a_run_that_resumes_answers_its_tool_calls_itself(talk: Talk) -> None:
    await cut_short(talk)
    talk.let("sf.tool")
    await talk.end_of(await talk.say("", graph="agent", input=None))
    assert told(await messages(talk)) == turn("sf")


async def test_a_client_may_answer_the_call_itself(talk: Talk) -> None:
    call = await cut_short(talk)
    answer = {"role": "tool", "content": "It is sunny in sf.", "tool_call_id": call}
    await talk.end_of(await talk.say("", graph="agent", input={"messages": [answer]}))
    assert told(await messages(talk)) == turn("sf")


@pytest.mark.parametrize("wanted", ["keep", "answer", None])
async def test_a_request_may_say_what_becomes_of_open_calls(
    talk: Talk, http: httpx.AsyncClient, wanted: str | None
) -> None:
    await cut_short(talk)
    body = {"assistant_id": "agent", "input": SECOND, "dangling_tool_calls": wanted}
    await http.post(f"/threads/{talk.thread_id}/runs/wait", json=body)
    begun = turn("sf")[:2] if wanted == "keep" else CUT_SHORT
    assert told(await messages(talk)) == begun + turn("nyc")
