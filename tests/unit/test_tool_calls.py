"""Open tool calls are answered where that helps, and no conversation is harmed by it."""

import operator
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph

from turnkeeper.errors import Unavailable
from turnkeeper.graphs.tool_calls import INTERRUPTED, answer_open_tool_calls

CONFIG: RunnableConfig = {"configurable": {"thread_id": "t"}}
ASKED = [
    HumanMessage("both, please"),
    AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": each} for each in ("1", "2")]),
]


class Replaced(TypedDict):
    messages: list[AnyMessage]


class Appended(TypedDict):
    messages: Annotated[list[Any], operator.add]


class Silent(TypedDict):
    said: Annotated[list[str], operator.add]


async def graph_with(state: type, **values: Any) -> Any:
    """A graph whose thread has this state."""
    builder: Any = StateGraph(state)
    builder.add_node("model", lambda _: {})
    builder.add_edge(START, "model")
    graph = builder.compile(checkpointer=InMemorySaver())
    if values:
        await graph.aupdate_state(CONFIG, values, as_node="model")
    return graph


async def told(graph: Any) -> list[tuple[str, str]]:
    messages = (await graph.aget_state(CONFIG)).values["messages"]
    return [(each.type, getattr(each, "tool_call_id", each.text)) for each in messages]


@pytest.mark.parametrize("state", [MessagesState, Appended])
async def test_every_open_call_is_answered_once(state: type) -> None:
    graph = await graph_with(state, messages=ASKED)
    for _ in range(2):
        await answer_open_tool_calls(graph, CONFIG, None)
        assert await told(graph) == [("human", "both, please"), ("ai", ""), ("tool", "1"), ("tool", "2")]
    answer = (await graph.aget_state(CONFIG)).values["messages"][-1]
    assert (answer.content, answer.status, answer.name) == (INTERRUPTED, "error", "look")


async def test_a_call_that_has_its_answer_gets_no_other() -> None:
    graph = await graph_with(MessagesState, messages=[*ASKED, ToolMessage("sunny", tool_call_id="1")])
    await answer_open_tool_calls(graph, CONFIG, None)
    assert (await told(graph))[2:] == [("tool", "1"), ("tool", "2")]


async def test_a_call_the_input_answers_gets_no_other() -> None:
    graph = await graph_with(MessagesState, messages=ASKED)
    given = {"messages": [{"role": "tool", "tool_call_id": "2", "content": "sunny"}, "and now?"]}
    await answer_open_tool_calls(graph, CONFIG, given)
    assert (await told(graph))[2:] == [("tool", "1")]


@pytest.mark.parametrize("given", [{"messages": "sf?"}, {"messages": None}, {}, "sf?", [1], None])
async def test_an_input_of_any_shape_is_taken(given: object) -> None:
    graph = await graph_with(MessagesState, messages=ASKED)
    await answer_open_tool_calls(graph, CONFIG, given)
    assert len(await told(graph)) == 4


@pytest.mark.parametrize(
    ("state", "values"),
    [
        (Replaced, {"messages": ASKED}),  # writing the answers would drop the conversation
        (Silent, {"said": ["A"]}),
        (MessagesState, {}),
        (MessagesState, {"messages": ASKED[:1]}),
        (MessagesState, {"messages": [*ASKED, HumanMessage("never mind")]}),  # an answer would stand in the wrong place
    ],
)
async def test_any_other_thread_is_left_as_it_is(state: type, values: dict[str, Any]) -> None:
    graph = await graph_with(state, **values)
    before = await graph.aget_state(CONFIG)
    await answer_open_tool_calls(graph, CONFIG, None)
    assert await graph.aget_state(CONFIG) == before


async def test_answers_the_graph_does_not_take_keep_no_run_from_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = await graph_with(MessagesState, messages=ASKED)

    def refuse(error: Exception) -> None:
        async def update(*_: Any, **__: Any) -> None:
            raise error

        monkeypatch.setattr(graph, "aupdate_state", update)

    refuse(ValueError("no tools here"))
    await answer_open_tool_calls(graph, CONFIG, None)
    refuse(Unavailable("the disk is full"))
    with pytest.raises(Unavailable):
        await answer_open_tool_calls(graph, CONFIG, None)
