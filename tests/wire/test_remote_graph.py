"""LangGraph's own client graph, which is used like a graph that is here: alone, and as a node of another."""

import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import ParentCommand
from langgraph.graph import START, StateGraph
from langgraph.pregel.remote import RemoteException, RemoteGraph
from langgraph.types import Command, StateSnapshot
from langgraph_sdk.client import LangGraphClient, SyncLangGraphClient
from langgraph_sdk.errors import NotFoundError, UnprocessableEntityError

from tests.wire.app import nesting

Remote = Callable[..., RemoteGraph]

VOLATILE = {
    "id", "config", "parent_config", "timestamp", "metadata", "checkpoint", "parent_checkpoint", "checkpoint_ns",
    "response_schema", "thread_id",
}  # fmt: skip
"""What differs from run to run, or says where it ran."""


@pytest.fixture
def remote(client: LangGraphClient, sync_client: SyncLangGraphClient) -> Remote:
    def make(name: str, **options: Any) -> RemoteGraph:
        return RemoteGraph(name, client=client, sync_client=sync_client, **options)

    return make


@pytest.fixture
def config() -> RunnableConfig:
    """A thread that does not exist yet."""
    return {"configurable": {"thread_id": str(uuid.uuid4())}}


@pytest.fixture
def local() -> Any:
    """The graph `deep` in this process."""
    return nesting.deep_graph().compile(name="deep", checkpointer=InMemorySaver())


def plain(value: Any) -> Any:
    """A streamed value without what differs from run to run; what JSON calls a list is one."""
    match value:
        case dict():
            return {key: plain(item) for key, item in value.items() if key not in VOLATILE}
        case list() | tuple():
            return [plain(item) for item in value]
        case str():
            return re.sub(r":[0-9a-f-]{36}", "", value)
        case _ if hasattr(value, "value"):  # an interrupt
            return {"value": value.value}
        case _:
            return value


def outline(snapshot: StateSnapshot) -> Any:
    """What a state says, ids and times aside."""
    tasks = [
        (task.name, plain(task.interrupts), outline(task.state) if isinstance(task.state, StateSnapshot) else None)
        for task in snapshot.tasks
    ]
    metadata = snapshot.metadata or {}
    return snapshot.values, snapshot.next, tasks, metadata.get("source"), metadata.get("step")


# --- running ----------------------------------------------------------------------------------------------------------


async def test_invoke_gives_what_the_graph_gives(remote: Remote, config: RunnableConfig) -> None:
    expected = nesting.deep.invoke({"tag": "A"})
    graph = remote("deep")
    values: Any = graph.invoke({"tag": "A"}, config)
    assert values["steps"] == expected["steps"] == ["A.before", "A.enter", "answer=unasked", "A.after"]
    assert await graph.ainvoke({"tag": "A"}) == values
    assert graph.invoke({"tag": "A"}, version="v2").value == values


@pytest.mark.parametrize("mode", ["values", "updates", "custom", "tasks", "checkpoints", "debug"])
@pytest.mark.parametrize("subgraphs", [False, True])
async def test_streams_tell_what_the_graph_tells(
    remote: Remote, local: Any, config: RunnableConfig, mode: Any, subgraphs: bool
) -> None:
    expected = [plain(chunk) for chunk in local.stream({"tag": "A"}, config, stream_mode=mode, subgraphs=subgraphs)]
    graph = remote("deep")
    sync = graph.stream({"tag": "A"}, config, stream_mode=mode, subgraphs=subgraphs)
    assert [plain(chunk) for chunk in sync] == expected
    chunks = graph.astream({"tag": "A"}, stream_mode=mode, subgraphs=subgraphs)
    assert [plain(chunk) async for chunk in chunks] == expected


async def test_several_modes_are_streamed_at_once(remote: Remote, local: Any, config: RunnableConfig) -> None:
    modes: Any = ["updates", "custom", "values"]
    expected = [plain(each) for each in local.stream({"tag": "A"}, config, stream_mode=modes, subgraphs=True)]
    chunks = remote("deep").astream({"tag": "A"}, stream_mode=modes, subgraphs=True)
    assert [plain(each) async for each in chunks] == expected


@pytest.mark.parametrize("mode", ["messages", "messages-tuple"])
async def test_messages_come_word_by_word(remote: Remote, mode: Any) -> None:
    said: dict[str, Any] = {"messages": [{"role": "user", "content": "What is the weather in Rome?"}]}
    chunks: Any = remote("agent").astream(said, stream_mode=mode)
    words = [message["content"] async for message, metadata in chunks if metadata["langgraph_node"] == "model"]
    assert "".join(words) == "It is sunny in Rome."
    assert len(words) > 4


async def test_what_a_run_is_given_reaches_the_graph(remote: Remote, config: RunnableConfig) -> None:
    graph = remote("echo", config={"tags": ["mine"], "recursion_limit": 7, "metadata": {"trip": 1}})
    given: RunnableConfig = {
        "metadata": {"leg": 2, "unsendable": object()},
        "configurable": {**config.get("configurable", {}), "user": "ada", "unsendable": object()},
    }
    seen: Any = graph.invoke({"said": "hi"}, given)["seen"]
    assert seen["context"] == {"user": "ada", "model": "small"}
    assert seen["recursion_limit"] == 7
    assert seen["tags"] == ["mine"]
    assert seen["metadata"].items() >= {"trip": 1, "leg": 2}.items()
    assert not any("unsendable" in each for each in (seen["metadata"], seen["configurable"]))
    in_context: Any = await graph.ainvoke({"said": "hi"}, context={"user": "bob"})
    assert in_context["seen"]["context"]["user"] == "bob"


async def test_an_error_of_the_graph_is_told(remote: Remote, config: RunnableConfig) -> None:
    with pytest.raises(RemoteException) as told:
        remote("fails").invoke({"tag": "A"}, config)
    assert told.value.args == ({"error": "ValueError", "message": "boom!"},)
    with pytest.raises(RemoteException, match="GraphRecursionError"):
        await remote("endless").ainvoke({}, {"recursion_limit": 2})


async def test_what_does_not_exist_is_said_so(remote: Remote, config: RunnableConfig) -> None:
    for question in (remote("deep").get_state, lambda given: remote(str(uuid.uuid4())).invoke({}, given)):
        with pytest.raises(NotFoundError):
            question(config)
    with pytest.raises(UnprocessableEntityError, match="Must be either"):
        await remote("nowhere").ainvoke({})


# --- state ------------------------------------------------------------------------------------------------------------


async def test_states_say_what_the_graph_says(remote: Remote, local: Any, config: RunnableConfig) -> None:
    graph = remote("deep")
    for each in (local, graph):
        each.invoke({"tag": "ask"}, config)
    for subgraphs in (False, True):
        state = graph.get_state(config, subgraphs=subgraphs)
        assert outline(state) == outline(local.get_state(config, subgraphs=subgraphs))
        assert await graph.aget_state(config, subgraphs=subgraphs) == state
    assert state.tasks[0].state.tasks[0].state.next == ("ask",)  # type: ignore[union-attr]


async def test_a_state_is_found_by_the_address_it_names(remote: Remote, local: Any, config: RunnableConfig) -> None:
    graph = remote("deep")
    for each in (local, graph):
        each.invoke({"tag": "ask"}, config)
    state: Any = graph.get_state(config)
    expected = local.get_state(config)
    assert graph.get_state(state.config) == state
    within: Any = [graph.get_state(state.tasks[0].state), local.get_state(expected.tasks[0].state)]
    assert outline(within[0]) == outline(within[1])
    assert await graph.aget_state(within[0].config) == within[0]
    innermost = [each.get_state(found.tasks[0].state) for each, found in zip((graph, local), within, strict=True)]
    assert outline(innermost[0]) == outline(innermost[1])
    assert innermost[0].interrupts[0].value == "go on?"


async def test_the_history_is_the_graph_s(remote: Remote, local: Any, config: RunnableConfig) -> None:
    graph = remote("deep")
    for each in (local, graph):
        each.invoke({"tag": "A"}, config)
    states = list(graph.get_state_history(config))
    assert [outline(each) for each in states] == [outline(each) for each in local.get_state_history(config)]
    assert [each async for each in graph.aget_state_history(config, limit=2)] == states[:2]
    assert list(graph.get_state_history(config, before=states[1].config)) == states[2:]
    assert list(graph.get_state_history(config, filter={"source": "input"})) == states[-1:]
    assert [each.parent_config for each in states[:-1]] == [each.config for each in states[1:]]


async def test_a_state_can_be_edited_where_it_is(remote: Remote, local: Any, config: RunnableConfig) -> None:
    graph = remote("deep")
    for each in (local, graph):
        each.invoke({"tag": "ask"}, config)
        each.update_state(config, {"steps": ["edited"]}, as_node="middle")
    assert outline(graph.get_state(config)) == outline(local.get_state(config))
    edited = await graph.aupdate_state(config, {"steps": ["again"]}, as_node="after")
    assert graph.get_state(config).config == edited
    assert graph.get_state(config).next == ()
    first = list(graph.get_state_history(config))[-2]
    fork = graph.update_state(first.config, {"tag": "forked"})
    assert graph.get_state(config).config == fork
    assert graph.get_state(fork).parent_config == first.config


def test_a_subgraph_s_state_can_be_edited(remote: Remote, config: RunnableConfig) -> None:
    graph = remote("deep")
    graph.invoke({"tag": "ask"}, config)
    middle: Any = graph.get_state(config).tasks[0].state
    graph.update_state(middle, {"tag": "edited"}, as_node="inner")
    assert graph.get_state(middle).values["tag"] == "edited"
    graph.invoke(None, config)
    assert graph.get_state(config).values["steps"] == ["ask.before", "ask.enter", "edited.after"]


async def test_a_thread_that_never_ran_has_an_empty_state(remote: Remote, thread: str) -> None:
    config: RunnableConfig = {"configurable": {"thread_id": thread}}
    state = await remote("deep").aget_state(config, subgraphs=True)
    assert (state.values, state.next, state.tasks, state.created_at) == ({}, (), (), None)
    assert remote("deep").get_state(state.config) == state
    assert list(remote("deep").get_state_history(config)) == []


def test_a_subgraph_that_has_not_begun_has_an_empty_state(remote: Remote, config: RunnableConfig) -> None:
    graph = remote("deep")
    graph.invoke({"tag": "A"}, config, interrupt_before=["middle"])
    state: Any = graph.get_state(config, subgraphs=True)
    assert state.next == ("middle",)
    assert (state.tasks[0].state.values, state.tasks[0].state.next) == ({}, ())


# --- interrupts -------------------------------------------------------------------------------------------------------


async def test_an_interrupt_is_answered(remote: Remote, local: Any, config: RunnableConfig) -> None:
    graph = remote("deep")
    asked: Any = graph.invoke({"tag": "ask"}, config)
    assert [each["value"] for each in asked["__interrupt__"]] == ["go on?"]
    assert [each.id for each in graph.get_state(config).interrupts] == [asked["__interrupt__"][0]["id"]]
    local.invoke({"tag": "ask"}, config)
    expected = local.invoke(Command(resume="yes"), config)
    assert (await graph.ainvoke(Command(resume="yes"), config))["steps"] == expected["steps"]


def test_interrupts_are_answered_by_name(remote: Remote, config: RunnableConfig) -> None:
    graph = remote("two_questions")
    graph.invoke({"tag": "A", "steps": []}, config)
    answers = {each.id: f"yes to {each.value}" for each in graph.get_state(config).interrupts}
    steps: Any = graph.invoke(Command(resume=answers), config)["steps"]
    assert steps == ["left=yes to left?", "right=yes to right?", "A.after"]


# --- as a node of another graph ---------------------------------------------------------------------------------------


def around(node: Any, **options: Any) -> Any:
    """A graph in this process: first → remote → last."""
    builder: Any = StateGraph(nesting.Deep)
    return nesting.line(builder, first=nesting.leave("first"), remote=node, last=nesting.leave("last")).compile(
        **options
    )


async def test_it_is_a_node_like_any_other(remote: Remote, config: RunnableConfig) -> None:
    graphs = [around(node) for node in (remote("deep"), nesting.deep)]
    modes: Any = ["updates", "custom"]
    told: list[Any] = [
        [(plain(namespace), mode, list(data)) for namespace, mode, data in stream]
        for stream in (graph.stream({"tag": "A"}, config, stream_mode=modes, subgraphs=True) for graph in graphs)
    ]
    assert told[0] == told[1]
    assert (["remote", "middle", "inner"], "updates", ["ask"]) in told[0]
    asynchronous: Any = await graphs[0].ainvoke({"tag": "A"}, {"configurable": {"thread_id": str(uuid.uuid4())}})
    assert asynchronous == graphs[1].invoke({"tag": "A"})
    drawn, expected = [graph.get_graph(xray=True) for graph in graphs]
    assert (drawn.nodes.keys(), sorted(drawn.edges)) == (expected.nodes.keys(), sorted(expected.edges))
    assert (await graphs[0].aget_graph(xray=2)).nodes.keys() == graphs[1].get_graph(xray=2).nodes.keys()


def test_its_interrupt_is_the_interrupt_of_the_graph_around_it(
    remote: Remote, config: RunnableConfig, sync_client: SyncLangGraphClient
) -> None:
    graph = around(remote("deep"), checkpointer=InMemorySaver())
    asked: Any = graph.invoke({"tag": "ask"}, config)["__interrupt__"]
    settled(sync_client, config)
    state: Any = graph.get_state(config, subgraphs=True)
    assert outline(state.tasks[0].state) == outline(remote("deep").get_state(config, subgraphs=True))
    steps: Any = graph.invoke(Command(resume={asked[0].id: "yes"}), config)["steps"]
    middle = ["ask.before", "ask.enter", "answer=yes", "ask.after"]
    assert steps == ["ask.first", *middle, "ask.last"]
    assert remote("deep").get_state(config).values["steps"] == steps[:-1]


def test_an_answer_that_names_no_interrupt_is_not_an_input(
    remote: Remote, config: RunnableConfig, sync_client: SyncLangGraphClient
) -> None:
    """The client graph does not pass it on, so the question is asked again; nothing runs twice."""
    graph = around(remote("deep"), checkpointer=InMemorySaver())
    graph.invoke({"tag": "ask"}, config)
    settled(sync_client, config)
    before = remote("deep").get_state(config)
    assert graph.invoke(Command(resume="yes"), config)["__interrupt__"][0].value == "go on?"
    settled(sync_client, config)
    assert remote("deep").get_state(config).values == before.values
    later = graph.invoke({"tag": "next"}, config)
    assert later["steps"][-1] == "next.last"


def settled(client: SyncLangGraphClient, config: RunnableConfig) -> None:
    """Wait for the end of a run that the client graph left as soon as it heard of an interrupt."""
    thread_id = config.get("configurable", {})["thread_id"]
    client.runs.join(thread_id, client.runs.list(thread_id)[0]["run_id"])


async def test_it_hands_over_to_the_graph_around_it(
    remote: Remote, config: RunnableConfig, sync_client: SyncLangGraphClient
) -> None:
    graph = remote("handing_over")
    with pytest.raises(ParentCommand) as handed:
        graph.invoke({"tag": "A"}, config)
    command = handed.value.args[0]
    assert (command.goto, command.update) == (["taken_over"], {"steps": ["A.handed_over"]})
    with pytest.raises(ParentCommand):
        await graph.ainvoke({"tag": "A"})
    settled(sync_client, config)
    thread_id = config.get("configurable", {})["thread_id"]
    assert [run["status"] for run in sync_client.runs.list(thread_id)] == ["success"]
    assert sync_client.threads.get(thread_id)["status"] == "idle"


def test_what_it_hands_over_is_done_there(remote: Remote, config: RunnableConfig) -> None:
    builder: Any = StateGraph(nesting.Deep)
    builder.add_node("agent", nesting.line(StateGraph(nesting.Deep), remote=remote("handing_over")).compile())
    builder.add_node("taken_over", nesting.leave("taken_over"))
    builder.add_edge(START, "agent")
    assert builder.compile().invoke({"tag": "A"}, config)["steps"] == ["A.handed_over", "A.taken_over"]


# --- drawings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("xray", [False, True, 1, 2])
async def test_it_is_drawn_like_the_graph(remote: Remote, xray: Any) -> None:
    expected = nesting.deep.get_graph(xray=xray)
    for drawn in (remote("deep").get_graph(xray=xray), await remote("deep").aget_graph(xray=xray)):
        assert drawn.nodes.keys() == expected.nodes.keys()
        assert drawn.edges == expected.edges
        assert drawn.draw_mermaid() == expected.draw_mermaid()
