"""What the protocol tells of a run, whether the protocol started it or not: in order, complete, with the right ids."""

import asyncio
import operator
from collections.abc import AsyncIterator
from typing import Annotated, Any, TypedDict

import pytest
from langchain.agents import create_agent
from langchain_core.language_models import GenericFakeChatModel as Blocking
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.tools import tool
from langgraph.config import get_stream_writer
from langgraph.func import entrypoint, task
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, ToolRuntime, tools_condition
from langgraph.stream import StreamChannel, StreamTransformer
from langgraph.types import Command, interrupt
from pydantic import BaseModel

from tests.unit.running import Graph, Listener, Run, Scripted, get_weather, say
from turnkeeper.codec import decode
from turnkeeper.graphs.protocol.events import ProtocolEvents
from turnkeeper.graphs.protocol.tell import lifecycle_data

pytestmark = pytest.mark.anyio

ALL = ["values", "updates", "messages-tuple", "custom", "tasks", "checkpoints", "tools"]
PROTOCOL: dict[str, Any] = {"protocol": True}
ORDINARY: dict[str, Any] = {"stream_mode": ALL, "subgraphs": True}

both = pytest.mark.parametrize("how", [PROTOCOL, ORDINARY], ids=["protocol", "ordinary"])

HELLO = {"messages": [{"role": "user", "content": "Weather in Rome?", "id": "hello"}]}


class State(TypedDict, total=False):
    steps: Annotated[list[str], operator.add]


def step(name: str) -> Any:
    async def node(_: State) -> State:
        return {"steps": [name]}

    return node


def chain(**nodes: Any) -> Any:
    builder: Any = StateGraph(State)
    builder.add_sequence(list(nodes.items()))
    builder.add_edge(START, next(iter(nodes)))
    return builder


def nested(inner: Any) -> Graph:
    """first, then a child of one node, then last."""
    return chain(first=step("first"), child=chain(inner=inner).compile(), last=step("last")).compile()


async def ask(_: State) -> State:
    return {"steps": [interrupt("Sure?")]}


async def fail(_: State) -> State:
    raise ValueError("boom!")


async def model(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await Scripted().ainvoke(state["messages"])]}


async def own_model(state: MessagesState) -> dict[str, Any]:
    """Streams on its own account, as some nodes do."""
    whole: Any = None
    async for chunk in Scripted().astream(state["messages"]):
        whole = chunk if whole is None else whole + chunk
    return {"messages": [whole]}


def agent(node: Any = model) -> Graph:
    builder = StateGraph(MessagesState)
    builder.add_node("model", node)
    builder.add_node("tools", ToolNode([get_weather]))
    builder.add_edge(START, "model")
    builder.add_conditional_edges("model", tools_condition)
    builder.add_edge("tools", "model")
    return builder.compile()


NESTED = [
    "checkpoints: input -1",
    "checkpoints: loop 0",
    "values: ",
    "tasks: first starts",
    "updates: first",
    "tasks: first ends",
    "checkpoints: loop 1",
    "values: first",
    "tasks: child starts",
    "checkpoints child: input -1",
    "checkpoints child: loop 0",
    "values child: first",
    "lifecycle child: started",
    "tasks child: inner starts",
    "updates child: inner",
    "tasks child: inner ends",
    "checkpoints child: loop 1",
    "values child: first,inner",
    "updates: child",
    "lifecycle child: completed",
    "tasks: child ends",
    "checkpoints: loop 2",
    "values: first,first,inner",
    "tasks: last starts",
    "updates: last",
    "tasks: last ends",
    "checkpoints: loop 3",
    "values: first,first,inner,last",
]


@both
async def test_each_step_is_told_with_its_checkpoint_before_its_values(how: dict[str, Any]) -> None:
    run = Run(nested(step("inner")), input={"steps": []}, **how)
    outcome = await run()
    assert run.story() == NESTED
    assert decode(outcome.values or b"") == run.data("values")[-1]


TURN = [
    "messages: message-start",
    "messages: content-block-start",
    "messages: content-block-delta '{\"city\": '",
    "messages: content-block-delta '\"Rome\"}'",
    "messages: content-block-finish",
    "messages: message-finish",
    "tools: tool-started",
    "tools: tool-finished",
    "messages: message-start",
    "messages: content-block-start",
    "messages: content-block-delta 'It'",
    "messages: content-block-delta ' is'",
    "messages: content-block-delta ' sunny'",
    "messages: content-block-delta ' in'",
    "messages: content-block-delta ' Rome.'",
    "messages: content-block-finish 'It is sunny in Rome.'",
    "messages: message-finish",
]


@both
async def test_a_models_words_come_one_by_one_under_the_id_the_state_gives_them(how: dict[str, Any]) -> None:
    run = Run(agent(), input=HELLO, **how)
    await run()
    assert run.story("messages", "tools") == TURN
    started = [data["id"] for data in run.data("messages") if data["event"] == "message-start"]
    assert started == [message["id"] for message in run.data("values")[-1]["messages"] if message["type"] == "ai"]
    assert {data["id"] for data in run.data("messages")} == set(started)
    assert {told.node for told in run.told if told.method == "messages"} == {"model"}


@both
async def test_a_node_that_streams_on_its_own_account_is_heard_word_by_word(how: dict[str, Any]) -> None:
    run = Run(agent(own_model), input=HELLO, **how)
    await run()
    assert run.story("messages", "tools") == TURN
    assert run.data("custom") == []


@both
async def test_a_node_that_streams_a_graph_gets_what_that_graph_streams_and_no_more(how: dict[str, Any]) -> None:
    inner = agent(own_model)
    seen: list[Any] = []

    async def outer(_: State) -> State:
        given: Any = {"messages": [HumanMessage("Weather in Rome?")]}
        seen.extend([item async for item in inner.astream(given, stream_mode=["messages", "custom"])])
        return {}

    run = Run(chain(outer=outer).compile(), input={"steps": []}, **how)
    await run()
    assert {mode for mode, _ in seen} == {"messages"}
    answer = [message.text for _, (message, _meta) in seen if message.type == "AIMessageChunk" and message.text]
    assert answer == ["It", " is", " sunny", " in", " Rome."]


@both
async def test_a_node_in_a_thread_is_heard_word_by_word_too(how: dict[str, Any]) -> None:
    def node(_: State) -> State:
        for _chunk in Blocking(messages=iter([AIMessage("one two")])).stream("Say it."):
            pass
        return {}

    run = Run(chain(node=node).compile(), input={"steps": []}, **how)
    await run()
    assert [data["delta"]["text"] for data in run.data("messages") if "delta" in data] == ["one", " ", "two"]


@both
async def test_a_task_of_a_function_that_streams_is_heard_where_the_function_is(how: dict[str, Any]) -> None:
    @task
    async def talk(text: str) -> str:
        return "".join([chunk.text async for chunk in Scripted().astream(say(text))])

    @entrypoint()
    async def function(text: str) -> str:
        return await talk(text)

    run = Run(function, input="one two", **how)
    await run()
    assert [data["delta"]["text"] for data in run.data("messages") if "delta" in data] == ["one", " two"]


@both
async def test_a_tool_call_is_finished_with_all_its_arguments(how: dict[str, Any]) -> None:
    run = Run(agent(), input=HELLO, **how)
    await run()
    call = {"type": "tool_call", "id": "call_1", "name": "get_weather", "args": {"city": "Rome"}}
    finished = [data for data in run.data("messages") if data["event"] == "content-block-finish"]
    assert finished[0]["content"] == call
    started, ended = run.data("tools")
    told = {"event": "tool-started", "tool_call_id": "call_1", "tool_name": "get_weather", "input": {"city": "Rome"}}
    assert started == told
    assert (ended["tool_call_id"], ended["output"]["type"]) == ("call_1", "tool")
    assert ended["output"]["content"] == "It is sunny in Rome."


@both
async def test_two_models_at_once_in_one_node_are_told_one_after_the_other(how: dict[str, Any]) -> None:
    async def duet(_: State) -> State:
        await asyncio.gather(Scripted().ainvoke(say("one two three")), Scripted().ainvoke(say("a b")))
        return {}

    run = Run(chain(duet=duet).compile(), input={"steps": []}, **how)
    await run()
    told = run.data("messages")
    events = [data["event"].removeprefix("message-") for data in told if data["event"].startswith("message-")]
    assert events == ["start", "finish", "start", "finish"]
    texts = [data["content"]["text"] for data in told if data["event"] == "content-block-finish"]
    assert sorted(texts) == ["a b", "one two three"]


async def test_models_of_two_nodes_at_once_do_not_wait_for_each_other() -> None:
    both_talk = asyncio.Barrier(2)

    class Polite(Scripted):
        async def _astream(self, messages: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            async for chunk in super()._astream(messages, *args, **kwargs):
                yield chunk
                await both_talk.wait()

    def node(text: str) -> Any:
        async def talk(_: State) -> State:
            await Polite().ainvoke(say(text))
            return {}

        return talk

    builder: Any = StateGraph(State)
    for name in ("left", "right"):
        builder.add_node(name, node(f"{name} again"))
        builder.add_edge(START, name)
    run = Run(builder.compile(), input={"steps": []}, **PROTOCOL)
    await run()
    deltas = [(told.node, told.data["delta"]["text"]) for told in run.told if "delta" in told.data]
    assert sorted(deltas[:2]) == [("left", "left"), ("right", "right")]
    assert sorted(deltas[2:]) == [("left", " again"), ("right", " again")]


async def test_a_message_cut_short_in_a_step_that_went_on_is_finished_with_the_step() -> None:
    async def impatient(_: State) -> State:
        async for _chunk in Scripted().astream(say("one two three")):
            break
        await Scripted().ainvoke(say("four"))
        return {"steps": ["impatient"]}

    run = Run(chain(impatient=impatient).compile(), input={"steps": []}, **ORDINARY)
    await run()
    finished = [data["content"]["text"] for data in run.data("messages") if data["event"] == "content-block-finish"]
    assert finished == ["one", "four"]
    assert run.story("messages", "values")[-1] == "values: impatient"


@both
async def test_a_message_a_node_makes_itself_is_told_whole_with_its_role(how: dict[str, Any]) -> None:
    async def speak(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage("Hi.", id="m1"), HumanMessage("Ho.", id="m2")]}

    builder = StateGraph(MessagesState)
    builder.add_node("speak", speak)
    builder.add_edge(START, "speak")
    run = Run(builder.compile(), input=HELLO, **how)
    await run()
    starts = [data for data in run.data("messages") if data["event"] == "message-start"]
    assert [(data["id"], data["role"]) for data in starts] == [("m1", "ai"), ("m2", "human")]
    assert [data["delta"]["text"] for data in run.data("messages") if "delta" in data] == ["Hi.", "Ho."]


@both
async def test_a_question_in_a_subgraph_is_asked_once_with_its_namespace_before_the_run_ends(
    how: dict[str, Any],
) -> None:
    run = Run(nested(ask), input={"steps": []}, **how)
    outcome = await run()
    assert outcome.rest == "interrupted"
    assert run.story("lifecycle", "input.requested") == [
        "lifecycle child: started",
        "lifecycle child: interrupted",
        "input.requested child: Sure?",
    ]
    ((question,),) = decode(outcome.interrupts).values()
    assert run.told[-1].data == {"interrupt_id": question["id"], "payload": "Sure?", "value": "Sure?"}
    assert not any("__interrupt__" in data for data in run.data("values"))


@both
async def test_every_question_of_a_step_is_asked_and_its_answer_goes_on(how: dict[str, Any]) -> None:
    builder: Any = StateGraph(State)
    for name in ("left", "right"):
        builder.add_node(name, ask)
        builder.add_edge(START, name)
    graph = builder.compile()
    run = Run(graph, input={"steps": []}, **how)
    await run()
    answers = {data["interrupt_id"]: "yes" for data in run.data("input.requested")}
    assert len(answers) == 2
    resumed = Run(graph, run.saver, command={"resume": answers}, **how)
    await resumed()
    assert resumed.data("input.requested") == []
    assert resumed.story("values")[-1] == "values: yes,yes"


class Decision(BaseModel):
    """What a person decides."""

    approve: bool


@both
async def test_a_question_says_what_answer_it_expects(how: dict[str, Any]) -> None:
    async def decide(_: State) -> State:
        interrupt("Sure?", response_schema=Decision)
        return {}

    run = Run(chain(decide=decide).compile(), input={"steps": []}, **how)
    await run()
    (question,) = run.data("input.requested")
    assert question["response_schema"]["properties"] == {"approve": {"title": "Approve", "type": "boolean"}}


@both
async def test_a_node_that_fails_ends_its_subgraph_and_raises(how: dict[str, Any]) -> None:
    run = Run(nested(fail), input={"steps": []}, **how)
    with pytest.raises(ValueError, match="boom!"):
        await run()
    assert run.story("lifecycle") == ["lifecycle child: started", "lifecycle child: failed"]
    assert run.data("lifecycle", "child")[-1]["error"] == "boom!"
    error = {"error": "ValueError", "message": "boom!"}
    assert run.data("tasks", "child")[-1]["error"] == error


@both
async def test_a_cancelled_run_stops_its_nodes_and_leaves_no_subgraph_open(how: dict[str, Any]) -> None:
    entered, left = asyncio.Event(), asyncio.Event()

    async def stay(_: State) -> State:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()
        return {}

    run = Run(nested(stay), input={"steps": []}, **how)
    work = asyncio.ensure_future(run())
    await entered.wait()
    await run.listener.subgraph.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert left.is_set()
    assert run.story("lifecycle") == ["lifecycle child: started", "lifecycle child: interrupted"]


@both
async def test_a_node_that_swallows_its_cancellation_starts_no_further_step(how: dict[str, Any]) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def stubborn(_: State) -> State:
        entered.set()
        while not go_on.is_set():
            try:
                await go_on.wait()
            except asyncio.CancelledError:
                go_on.set()
        return {"steps": ["stubborn"]}

    run = Run(chain(stubborn=stubborn, later=step("later")).compile(), input={"steps": []}, **how)
    work = asyncio.ensure_future(run())
    await entered.wait()
    run.runner.stop()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert "tasks: later starts" not in run.story()


@both
async def test_what_a_node_writes_to_the_custom_stream_comes_raw(how: dict[str, Any]) -> None:
    async def write(_: State) -> State:
        get_stream_writer()({"progress": 1})
        get_stream_writer()("half")
        return {}

    run = Run(nested(write), input={"steps": []}, **how)
    await run()
    assert run.data("custom", "child") == [{"progress": 1}, "half"]


class Counting(StreamTransformer):
    """A graph's own projection: counts the states of the root."""

    required_stream_modes = ("values",)

    def __init__(self, scope: tuple[str, ...] = ()) -> None:
        super().__init__(scope)
        self._channel: StreamChannel[int] = StreamChannel("count")
        self._count = 0

    def init(self) -> dict[str, Any]:
        return {"count": self._channel}

    def process(self, event: Any) -> bool:
        if event["method"] == "values" and not self.scope:
            self._count += 1
            self._channel.push(self._count)
        return True


async def test_a_graphs_own_channel_is_told_under_its_name() -> None:
    builder: Any = chain(only=step("only"))
    run = Run(builder.compile(transformers=[Counting]), input={"steps": []}, **PROTOCOL)
    await run()
    assert run.data("custom") == [{"name": "count", "payload": 1}, {"name": "count", "payload": 2}]


helper = create_agent(Scripted(), [get_weather], name="helper")


@tool
async def ask_helper(city: str, runtime: ToolRuntime) -> str:
    """Ask another agent."""
    runtime.emit_output_delta("let me ")
    runtime.emit_output_delta({"see": True})
    answer = await helper.ainvoke({"messages": [HumanMessage(f"Weather in {city}?")]})
    return answer["messages"][-1].text


@both
async def test_an_agent_called_as_a_tool_is_known_by_its_name_and_its_call(how: dict[str, Any]) -> None:
    """`create_agent` brings transformers of its own, which must not clash with the server's."""
    boss: Any = create_agent(Scripted(call="ask_helper"), [ask_helper], name="boss")
    run = Run(boss, input=HELLO, **how)
    await run()
    assert run.story("lifecycle", "tools") == [
        "tools: tool-started",
        "tools: tool-output-delta",
        "tools: tool-output-delta",
        "lifecycle tools: started",
        "tools tools: tool-started",
        "tools tools: tool-finished",
        "tools: tool-finished",
        "lifecycle tools: completed",
    ]
    started, ended = (told for told in run.told if told.method == "lifecycle")
    assert started.data["graph_name"] == ended.data["graph_name"] == "helper"
    assert started.data["cause"] == {"type": "toolCall", "tool_call_id": "call_1"}
    assert started.namespace == started.data["namespace"]
    assert [data["delta"] for data in run.data("tools") if "delta" in data] == ["let me ", '{"see":true}']


@both
async def test_a_tool_that_answers_with_a_command_says_so(how: dict[str, Any]) -> None:
    @tool
    async def get_weather(city: str, runtime: ToolRuntime) -> Command[Any]:
        """Answer in the state itself."""
        return Command(update={"messages": [{"role": "tool", "content": city, "tool_call_id": runtime.tool_call_id}]})

    builder = StateGraph(MessagesState)
    builder.add_node("model", model)
    builder.add_node("tools", ToolNode([get_weather]))
    builder.add_edge(START, "model")
    builder.add_edge("model", "tools")
    run = Run(builder.compile(), input=HELLO, **how)
    await run()
    assert run.data("tools")[-1]["output"]["lg_name"] == "Command"
    assert run.data("tools")[-1]["output"]["update"]["messages"][0]["content"] == "Rome"


class Answer(BaseModel):
    """An output that is not there until the last step."""

    steps: list[str]
    answer: str


class Answering(BaseModel):
    """The state it comes from."""

    steps: Annotated[list[str], operator.add] = []
    answer: str = ""


async def test_a_graph_with_a_pydantic_output_ends_with_the_same_values_as_without_the_protocol() -> None:
    async def answer(_: Answering) -> dict[str, Any]:
        return {"answer": "42"}

    builder: Any = StateGraph(Answering, output_schema=Answer)
    builder.add_node("child", chain(inner=step("inner")).compile())
    builder.add_node("answer", answer)
    builder.add_edge(START, "child")
    builder.add_edge("child", "answer")
    graph = builder.compile()
    outcomes = [await Run(graph, input={"steps": []}, **how)() for how in (PROTOCOL, ORDINARY)]
    assert outcomes[0].values == outcomes[1].values
    assert decode(outcomes[0].values or b"") == {"steps": ["inner"], "answer": "42"}


@both
async def test_a_function_is_told_as_graphs_are(how: dict[str, Any]) -> None:
    @entrypoint()
    async def function(given: Any) -> Any:
        return [given, interrupt("Sure?")]

    run = Run(function, input=1, **how)
    await run()
    assert run.story("values", "input.requested") == ["input.requested: Sure?"]
    resumed = Run(function, run.saver, command={"resume": 2}, **how)
    outcome = await resumed()
    assert decode(outcome.values or b"") == [1, 2]


@both
async def test_a_static_breakpoint_asks_nothing(how: dict[str, Any]) -> None:
    run = Run(nested(step("inner")), input={"steps": []}, interrupt_before=["last"], **how)
    outcome = await run()
    assert outcome.rest == "interrupted"
    assert run.data("input.requested") == []
    assert run.data("updates")[-1] == {"__interrupt__": []}


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_no_values_are_lost_or_doubled_however_durable_the_run_is(durability: str) -> None:
    run = Run(nested(step("inner")), input={"steps": []}, durability=durability, **PROTOCOL)
    await run()
    assert run.story("values") == [each for each in NESTED if each.startswith("values")]


async def test_values_alone_show_when_a_subgraph_is_at_work() -> None:
    run = Run(nested(step("inner")), input={"steps": []}, stream_mode=["values"], subgraphs=True)
    await run()
    assert run.story() == [
        "values: ",
        "values: first",
        "lifecycle child: started",
        "values child: first",
        "values child: first,inner",
        "lifecycle child: completed",
        "values: first,first,inner",
        "values: first,first,inner,last",
    ]


async def test_listeners_of_the_run_itself_get_the_same_run_in_their_own_words() -> None:
    streamed: dict[str, Any] = {"stream_mode": [*ALL, "debug"], "subgraphs": True}
    runs = [Run(nested(step("inner")), input={"steps": []}, **(how | streamed)) for how in (PROTOCOL, ORDINARY)]
    for run in runs:
        await run()
    one, other = ([(name.partition(":")[0], shape(data)) for name, data in run.events] for run in runs)
    assert one == other


def shape(data: Any) -> Any:
    return sorted(data) if isinstance(data, dict) else type(data)


@pytest.mark.parametrize("node", [model, own_model])
async def test_listeners_of_the_run_itself_get_its_words_as_chunks(node: Any) -> None:
    run = Run(agent(node), input=HELLO, stream_mode=["messages-tuple", "values"], **PROTOCOL)
    await run()
    chunks = [chunk for chunk, _ in run.emitted("messages") if chunk["content"] and chunk["type"] != "tool"]
    assert "".join(chunk["content"] for chunk in chunks) == "It is sunny in Rome."
    last = run.emitted("values")[-1]["messages"][-1]
    assert {chunk["id"] for chunk in chunks} == {last["id"]}
    legacy = Run(agent(node), input=HELLO, stream_mode=["messages"], **PROTOCOL)
    await legacy()
    partial = [message for (message,) in legacy.emitted("messages/partial")]
    assert partial[-1]["content"] == "It is sunny in Rome."
    called = next(message for message in reversed(partial) if message["tool_calls"])
    assert called["tool_calls"][0]["args"] == {"city": "Rome"}


async def test_listeners_of_the_run_itself_get_no_subgraphs_they_did_not_ask_for() -> None:
    run = Run(nested(step("inner")), input={"steps": []}, stream_mode=["values", "updates"], **PROTOCOL)
    await run()
    assert {name for name, _ in run.events} == {"values", "updates"}


@both
async def test_nothing_is_translated_while_nobody_listens(how: dict[str, Any]) -> None:
    run = Run(nested(step("inner")), input={"steps": []}, **how)
    run.listener.listens = False
    outcome = await run()
    assert (outcome.status, run.told) == ("success", [])


async def test_a_listener_that_comes_late_hears_the_rest() -> None:
    async def wake(_: State) -> State:
        run.listener.listens = True
        return {"steps": ["wake"]}

    run = Run(chain(wake=wake, later=step("later")).compile(), input={"steps": []}, **PROTOCOL)
    run.listener.listens = False
    await run()
    assert run.story("values") == ["values: wake", "values: wake,later"]


def test_the_data_of_a_lifecycle_event_leaves_out_what_is_not_known() -> None:
    assert lifecycle_data("running") == {"event": "running"}
    failed = lifecycle_data("failed", graph_name="graph", error=ValueError("boom!"), namespace=None)
    assert failed == {"event": "failed", "graph_name": "graph", "error": "boom!"}


async def test_who_comes_in_the_middle_of_a_message_does_not_take_its_rest_for_the_whole() -> None:
    listener = Listener()
    spoken = ProtocolEvents(listener, {"values", "messages"})
    metadata = {"langgraph_node": "say"}
    words = [AIMessageChunk(content=word, id="m1") for word in ("paris", " is", " lovely.")]
    listener.listens = False
    spoken.take(((), "messages", (words[0], metadata)))
    listener.listens = True
    for word in words[1:]:
        spoken.take(((), "messages", (word, metadata)))
    spoken.take(((), "messages", (AIMessageChunk(content="next", id="m2"), metadata)))
    spoken.finish("completed")
    assert {told.data["id"] for told in listener.told} == {"m2"}
