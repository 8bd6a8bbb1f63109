"""Runs graphs without a server and keeps what they say, as a client would read it."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.chat_models import agenerate_from_stream
from langchain_core.messages import AIMessageChunk, BaseMessage, ToolMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.pregel import Pregel

from turnkeeper import codec
from turnkeeper.graphs.runner import RunArguments, Runner
from turnkeeper.types import Claimed, Outcome, uuid7

Graph = Pregel[Any, Any, Any, Any]

EMPTY = msgspec.Raw(b"{}")


class Told(NamedTuple):
    """One event of the protocol."""

    method: str
    namespace: list[str]
    data: Any
    node: str | None


class Listener:
    """Reads the events of the protocol, until it is told to stop."""

    def __init__(self) -> None:
        self.listens = True
        self.told: list[Told] = []
        self.subgraph = asyncio.Event()
        """A subgraph was heard of."""

    def wanted(self) -> bool:
        return self.listens

    def __call__(self, method: str, namespace: Sequence[str], data: Any, node: str | None = None) -> None:
        if self.listens:
            self.told.append(Told(method, list(namespace), decoded(data), node))
        if method == "lifecycle":
            self.subgraph.set()


class Run:
    """One run, and all it says."""

    def __init__(self, graph: Graph, saver: InMemorySaver | None = None, **arguments: Any) -> None:
        self.graph = graph
        self.saver = saver or InMemorySaver()
        self.events: list[tuple[str, Any]] = []
        self.listener = Listener()
        given = RunArguments(**arguments)
        self.runner = Runner(claimed(), given, self.saver, lambda _: self.saver, self._emit, self.listener)

    async def __call__(self) -> Outcome:
        outcome = await self.runner.run(self.graph)
        self.runner.ask()
        return outcome

    def _emit(self, event: str, data: Any) -> None:
        self.events.append((event, decoded(data)))

    @property
    def told(self) -> list[Told]:
        return self.listener.told

    def data(self, method: str, *namespace: str) -> list[Any]:
        """What was told of one kind, in the subgraphs of those names."""
        return [each.data for each in self.told if each.method == method and names(each.namespace) == list(namespace)]

    def story(self, *methods: str) -> list[str]:
        """What was told, a line each, without ids."""
        return [line(each) for each in self.told if not methods or each.method in methods]

    def emitted(self, *names: str) -> list[Any]:
        return [data for event, data in self.events if event in names]


def decoded(data: Any) -> Any:
    return codec.decode(codec.encode(data))


def claimed() -> Claimed:
    return Claimed(
        run_id=uuid7(),
        thread_id="thread",
        assistant_id="assistant",
        graph_id="graph",
        attempt=1,
        kwargs=EMPTY,
        metadata=EMPTY,
        thread_metadata=EMPTY,
        temporary=False,
        carried=(),
        fresh=True,
        after_interrupt=False,
        cancel_action=None,
    )


def names(namespace: list[str]) -> list[str]:
    return [part.partition(":")[0] for part in namespace]


def line(told: Told) -> str:
    """`method namespace: what`."""
    place = "/".join(names(told.namespace))
    return f"{told.method} {place}: {said(told)}" if place else f"{told.method}: {said(told)}"


def said(told: Told) -> str:
    data = told.data
    match told.method:
        case "lifecycle" | "tools":
            return data["event"]
        case "checkpoints":
            return f"{data['source']} {data['step']}"
        case "tasks":
            return f"{data['name']} {'ends' if 'result' in data else 'starts'}"
        case "messages":
            return " ".join([data["event"], *spoken(data)])
        case "input.requested":
            return data["value"]
        case "values":
            return ",".join(data["steps"]) if "steps" in data else f"{len(data['messages'])} messages"
        case _:
            return ",".join(data) if isinstance(data, dict) else str(data)


def spoken(data: dict[str, Any]) -> Iterator[str]:
    """The part of a message's event that carries its text or arguments."""
    delta, content = data.get("delta", {}), data.get("content", {})
    yield from (repr(each) for each in (delta.get("text"), delta.get("args"), content.get("text")) if each)


@tool
async def get_weather(city: str) -> str:
    """Say what the weather is like in a city."""
    return f"It is sunny in {city}."


class Scripted(BaseChatModel):
    """Calls its tool once, in two parts, then repeats what the tool said, word by word."""

    call: str = "get_weather"

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, *_: Any, **__: Any) -> "Scripted":
        return self

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        raise NotImplementedError("these tests run it asynchronously")

    async def _agenerate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        return await agenerate_from_stream(self._astream(messages))

    async def _astream(self, messages: list[BaseMessage], *_: Any, **__: Any) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._script(messages[-1]):
            await asyncio.sleep(0)
            yield ChatGenerationChunk(message=chunk)

    def _script(self, last: BaseMessage) -> Iterator[AIMessageChunk]:
        if isinstance(last, ToolMessage):
            for word in re.findall(r"\s*\S+", last.text):
                yield AIMessageChunk(content=word)
            return
        for name, call_id, args in ((self.call, "call_1", '{"city": '), (None, None, '"Rome"}')):
            part = tool_call_chunk(name=name, id=call_id, args=args, index=0)
            yield AIMessageChunk(content="", tool_call_chunks=[part])


def say(text: str) -> list[BaseMessage]:
    """What makes `Scripted` say a text."""
    return [ToolMessage(text, tool_call_id="call_0")]
