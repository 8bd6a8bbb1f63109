"""What the protocol tells, read by the decoders of the Python SDK."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from langchain_core.language_models.chat_model_stream import ChatModelStream
from langgraph.graph import START, MessagesState, StateGraph
from langgraph_sdk.stream.decoders import MessagesDecoder, SubgraphsDecoder, ToolCallsDecoder
from langgraph_sdk.stream.subscription import infer_channel

from tests.unit.running import Graph, Run, Scripted, say
from tests.unit.test_protocol import HELLO, ORDINARY, agent, ask, both, fail, nested, step

pytestmark = pytest.mark.anyio


def fed(run: Run, decoder: Any) -> list[Any]:
    """What a decoder makes of all that was told."""
    frames = [{"method": each.method, "params": {"namespace": each.namespace, "data": each.data}} for each in run.told]
    return [item for frame in frames for item in decoder.feed(frame)]


def message(*, namespace: list[str], node: str | None, message_id: str | None) -> ChatModelStream:
    return ChatModelStream(namespace=namespace, node=node, message_id=message_id)


@both
async def test_messages_have_their_words_calls_and_node(how: dict[str, Any]) -> None:
    run = Run(agent(), input=HELLO, **how)
    await run()
    called, answered = fed(run, MessagesDecoder([], message))
    assert [(call["name"], call["args"]) for call in called.output.tool_calls] == [("get_weather", {"city": "Rome"})]
    assert (str(answered.text), answered.node) == ("It is sunny in Rome.", "model")
    assert list(answered.text) == ["It", " is", " sunny", " in", " Rome."]


def duet() -> Graph:
    """Two nodes that talk at once."""
    turns = asyncio.Barrier(2)

    class Polite(Scripted):
        async def _astream(self, messages: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            async for chunk in super()._astream(messages, *args, **kwargs):
                await turns.wait()
                yield chunk

    builder = StateGraph(MessagesState)

    def node(text: str) -> Any:
        async def talk(_: MessagesState) -> dict[str, Any]:
            return {"messages": [await Polite().ainvoke(say(text))]}

        return talk

    for name in ("left", "right"):
        builder.add_node(name, node(f"{name} says so"))
        builder.add_edge(START, name)
    return builder.compile()


@both
async def test_messages_of_two_nodes_at_once_are_not_mixed(how: dict[str, Any]) -> None:
    run = Run(duet(), input=HELLO, **how)
    await run()
    assert sorted(str(each.text) for each in fed(run, MessagesDecoder([], message))) == [
        "left says so",
        "right says so",
    ]


class ToolCall(SimpleNamespace):
    def _finish(self, output: Any) -> None:
        self.output = output

    def _fail(self, error: Exception) -> None:
        self.error = error


@both
async def test_tool_calls_have_their_input_and_output(how: dict[str, Any]) -> None:
    run = Run(agent(), input=HELLO, **how)
    await run()
    (call,) = fed(run, ToolCallsDecoder([], ToolCall))
    assert (call.name, call.input, call.output["content"]) == ("get_weather", {"city": "Rome"}, "It is sunny in Rome.")


class Subgraph(SimpleNamespace):
    status: str

    def _push_event(self, event: Any) -> None:
        pass

    def _finish(self, status: str, error: str | None) -> None:
        self.status = status


@both
@pytest.mark.parametrize(
    ("inner", "status"), [(step("inner"), "completed"), (ask, "interrupted"), (fail, "failed")], ids=lambda each: each
)
async def test_subgraphs_are_found_and_end(how: dict[str, Any], inner: Any, status: str) -> None:
    run = Run(nested(inner), input={"steps": []}, **how)
    try:
        await run()
    except ValueError:
        assert status == "failed"
    (found,) = fed(run, SubgraphsDecoder((), Subgraph))
    assert (found.graph_name, found.status) == ("child", status)


async def test_every_event_belongs_to_a_channel_clients_know() -> None:
    run = Run(agent(), input=HELLO, **ORDINARY)
    await run()
    frames: list[Any] = [{"method": each.method, "params": {"data": each.data}} for each in run.told]
    assert {infer_channel(frame) for frame in frames} == {
        "values",
        "updates",
        "checkpoints",
        "tasks",
        "tools",
        "messages",
    }
