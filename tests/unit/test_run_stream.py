"""The events of a run's own stream, mode by mode, as the SDKs read them."""

import operator
from itertools import pairwise
from typing import Annotated, Any, TypedDict

import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, ToolRuntime, tools_condition
from langgraph.types import interrupt

from tests.unit.running import Graph, Run, Scripted, get_weather, names

pytestmark = pytest.mark.anyio

HELLO = {"messages": [{"role": "user", "content": "Weather in Rome?", "id": "hello"}]}
MODES = [
    "values",
    "updates",
    "messages-tuple",
    "messages",
    "custom",
    "tasks",
    "checkpoints",
    "debug",
    "tools",
    "events",
]


class State(TypedDict, total=False):
    steps: Annotated[list[str], operator.add]


def chain(**nodes: Any) -> Any:
    builder: Any = StateGraph(State)
    builder.add_sequence(list(nodes.items()))
    builder.add_edge(START, next(iter(nodes)))
    return builder


async def work(_: State) -> State:
    return {"steps": ["work"]}


async def fail(_: State) -> State:
    raise ValueError("boom!")


async def ask(_: State) -> State:
    return {"steps": [interrupt("Sure?")]}


def nested(inner: Any) -> Graph:
    return chain(child=chain(inner=inner).compile(), last=work).compile()


@tool
async def broken(city: str, runtime: ToolRuntime) -> str:
    """Get half way."""
    runtime.emit_output_delta({"half": city})
    raise ValueError("boom!")


def agent(*tools: Any, call: str = "get_weather") -> Graph:
    async def model(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await Scripted(call=call).ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("model", model)
    builder.add_node("tools", ToolNode(tools))
    builder.add_edge(START, "model")
    builder.add_conditional_edges("model", tools_condition)
    builder.add_edge("tools", "model")
    return builder.compile()


@pytest.mark.parametrize("mode", MODES)
async def test_a_mode_alone_says_what_it_says_among_others(mode: str) -> None:
    tuples = mode != "messages"  # of the two, the tuples win
    alone = Run(agent(get_weather), input=HELLO, stream_mode=[mode])
    among = Run(agent(get_weather), input=HELLO, stream_mode=[each for each in MODES if tuples or "-" not in each])
    for run in (alone, among):
        await run()
    name = mode.removesuffix("-tuple")
    assert {event.partition("/")[0] for event, _ in alone.events} == ({name} if mode != "custom" else set())
    if mode != "events":  # they show how the models are called, and that depends on the other modes
        assert [event for event, _ in alone.events] == [event for event, _ in among.events if event.startswith(name)]


async def test_a_tool_call_is_followed_by_its_name_from_start_to_end() -> None:
    run = Run(agent(get_weather), input=HELLO, stream_mode=["tools"])
    await run()
    call = {"toolCallId": "call_1", "name": "get_weather"}
    started, ended = run.emitted("tools")
    assert started == {"event": "on_tool_start", **call, "input": {"city": "Rome"}}
    assert ended.pop("output")["content"] == "It is sunny in Rome."
    assert ended == {"event": "on_tool_end", **call}


async def test_a_tool_that_breaks_says_how_far_it_got_and_why() -> None:
    run = Run(agent(broken, call="broken"), input=HELLO, stream_mode=["tools"])
    with pytest.raises(ValueError, match="boom!"):
        await run()
    call = {"toolCallId": "call_1", "name": "broken"}
    _, delta, error = run.emitted("tools")
    assert delta == {"event": "on_tool_event", **call, "data": {"half": "Rome"}}
    assert error == {"event": "on_tool_error", **call, "error": "boom!"}


def lives(run: Run) -> list[tuple[str, str]]:
    """The `lifecycle` events without ids."""
    told = [(name, data) for name, data in run.events if name.startswith("lifecycle")]
    assert all(name.split("|")[1:] == data["namespace"] for name, data in told)
    return [("|".join(["lifecycle", *names(data["namespace"])]), data["event"]) for _, data in told]


@pytest.mark.parametrize("subgraphs", [True, False])
@pytest.mark.parametrize("protocol", [True, False])
async def test_lifecycle_tells_of_the_run_and_of_the_graphs_within_it(subgraphs: bool, protocol: bool) -> None:
    run = Run(nested(work), input={}, stream_mode=["lifecycle"], subgraphs=subgraphs, protocol=protocol)
    await run()
    assert lives(run) == [
        ("lifecycle", "running"),
        ("lifecycle|child", "started"),
        ("lifecycle|child", "completed"),
        ("lifecycle", "completed"),
    ]
    assert {name.partition("|")[0] for name, _ in run.events} == {"lifecycle"}


async def test_lifecycle_tells_of_a_run_that_waits_for_a_person() -> None:
    run = Run(nested(ask), input={}, stream_mode=["lifecycle"])
    await run()
    assert lives(run)[-2:] == [("lifecycle|child", "interrupted"), ("lifecycle", "interrupted")]


async def test_lifecycle_tells_what_went_wrong() -> None:
    run = Run(nested(fail), input={}, stream_mode=["lifecycle"])
    with pytest.raises(ValueError, match="boom!") as raised:
        await run()
    await run.runner.halted(run.graph, "error", raised.value)
    assert lives(run)[-2:] == [("lifecycle|child", "failed"), ("lifecycle", "failed")]
    assert [data.get("error") for _, data in run.events[-2:]] == [{"error": "ValueError", "message": "boom!"}] * 2


async def test_lifecycle_tells_of_the_end_once() -> None:
    run = Run(nested(work), input={}, stream_mode=["lifecycle"])
    await run()
    await run.runner.halted(run.graph, "interrupted")
    assert lives(run)[-1] == ("lifecycle", "completed")


async def test_lifecycle_names_the_tool_call_an_agent_was_started_by() -> None:
    helper = create_agent(Scripted(), [get_weather], name="helper")

    @tool
    async def ask_helper(city: str) -> str:
        """Ask another agent."""
        answer = await helper.ainvoke({"messages": [HumanMessage(f"Weather in {city}?")]})
        return answer["messages"][-1].text

    boss: Any = create_agent(Scripted(call="ask_helper"), [ask_helper], name="boss")
    run = Run(boss, input=HELLO, stream_mode=["lifecycle"])
    await run()
    started = next(data for _, data in run.events if data["event"] == "started")
    assert (started["graph_name"], started["tool_call_id"]) == ("helper", "call_1")


async def test_debug_says_where_a_checkpoint_and_its_parent_are() -> None:
    run = Run(nested(work), input={}, stream_mode=["debug"], subgraphs=True)
    await run()
    checkpoints = [data["payload"] for data in run.emitted("debug") if data["type"] == "checkpoint"]
    assert checkpoints[0]["parent_checkpoint"] is None
    for before, after in pairwise(checkpoints):
        assert after["parent_checkpoint"] == before["checkpoint"]
        assert set(after["checkpoint"]) == {"thread_id", "checkpoint_ns", "checkpoint_id"}


async def test_debug_says_what_an_exception_was() -> None:
    run = Run(chain(fail=fail).compile(), input={}, stream_mode=["debug", "tasks"])
    with pytest.raises(ValueError, match="boom!"):
        await run()
    error = {"error": "ValueError", "message": "boom!"}
    assert run.emitted("tasks")[-1]["error"] == run.emitted("debug")[-1]["payload"]["error"] == error


async def test_a_subgraphs_events_carry_its_namespace_in_their_names() -> None:
    run = Run(nested(work), input={}, stream_mode=["values", "updates", "tasks", "checkpoints"], subgraphs=True)
    await run()
    assert {"|".join(names(name.split("|"))) for name, _ in run.events} == {
        *("values", "updates", "tasks", "checkpoints"),
        *("values|child", "updates|child", "tasks|child", "checkpoints|child"),
    }


async def test_a_question_is_in_updates_and_values_with_what_it_expects() -> None:
    run = Run(nested(ask), input={}, stream_mode=["values", "updates"])
    await run()
    (question,) = run.emitted("updates")[-1]["__interrupt__"]
    assert question == {"value": "Sure?", "id": question["id"], "response_schema": None}
    assert run.emitted("values")[-1]["__interrupt__"] == [question]


async def test_every_part_of_a_message_has_the_id_of_the_message_in_the_state() -> None:
    run = Run(agent(get_weather), input=HELLO, stream_mode=["messages-tuple", "values"])
    await run()
    streamed = [message["id"] for message, _ in run.emitted("messages")]
    assert list(dict.fromkeys(streamed)) == [each["id"] for each in run.emitted("values")[-1]["messages"][1:]]
    assert {meta["langgraph_node"] for _, meta in run.emitted("messages")} == {"model", "tools"}
