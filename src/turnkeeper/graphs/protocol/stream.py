"""A graph run through LangGraph's event streaming (`astream_events`, version 3), as runs of the protocol are.

Models then stream content blocks, and what the graph was compiled with transforms its events on their way.
"""

import copy
import warnings
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, ClassVar, cast

from langchain_core.messages import BaseMessage, BaseMessageChunk, message_chunk_to_message
from langgraph.stream import ProtocolEvent, StreamChannel, StreamTransformer

from turnkeeper.graphs.items import INTERRUPT, Item
from turnkeeper.graphs.own_tokens import OwnTokens, Token

if TYPE_CHECKING:
    from langgraph.pregel import Pregel

MODES = ("values", "updates", "messages", "custom", "tools", "tasks", "checkpoints")
"""What such a run always streams."""

TASKS = "turnkeeper.tasks"
CUSTOM = "custom:"
"""How LangGraph marks what comes from a channel of one of the graph's own transformers, before the channel's name."""


async def protocol_stream(
    graph: "Pregel[Any, Any, Any, Any]", config: Any, given: Any, *, debug: bool, **options: Any
) -> AsyncGenerator[Item]:
    """The items of such a run, subgraphs' too, in the shapes of LangGraph's ordinary stream.

    Messages are the events of models that stream them, or whole messages. `options` as `Pregel.astream` takes them.
    """
    warnings.filterwarnings("ignore", message="The v3 streaming protocol", category=Warning)  # it is marked beta
    options["transformers"] = [EverythingAndDebug if debug else Everything]
    config = {**config, "callbacks": [*config.get("callbacks", ()), OwnTokens(MODES)]}
    run = await cast("Any", _untyped(graph)).astream_events(given, config, version="v3", **options)
    in_parts: set[str | None] = set()
    async with run:
        async for event in run:
            item = _item(event)
            if item is not None and not _repeats(item, in_parts):
                yield item


class Everything(StreamTransformer):
    """Asks LangGraph for all modes, and repeats the tasks, which its own transformers keep to themselves."""

    required_stream_modes: ClassVar[tuple[str, ...]] = MODES

    def __init__(self, scope: tuple[str, ...] = ()) -> None:
        super().__init__(scope)
        self._tasks: StreamChannel[Item] = StreamChannel(TASKS)

    def init(self) -> dict[str, Any]:
        """The channel whose items go into the stream of all events."""
        return {TASKS: self._tasks}

    def process(self, event: ProtocolEvent) -> bool:
        """Let every event pass. Each subgraph has a transformer of its own; the root's sees all there is."""
        if event["method"] == "tasks" and not self.scope:
            params = event["params"]
            self._tasks.push((tuple(params["namespace"]), "tasks", params["data"]))
        return True


class EverythingAndDebug(Everything):
    """`debug`, which repeats what the other modes say, only for those who ask for it."""

    required_stream_modes: ClassVar[tuple[str, ...]] = (*MODES, "debug")


def _untyped(graph: "Pregel[Any, Any, Any, Any]") -> "Pregel[Any, Any, Any, Any]":
    """The graph with plain values.

    LangGraph makes objects of the root's output schema of them, which fails on a state that is not complete yet and
    on every subgraph with another schema.
    """
    twin = copy.copy(graph)
    vars(twin).update(_output_mapper=None, _state_mapper=None)
    return twin


def _item(event: ProtocolEvent) -> Item | None:
    """One event in the shape of the ordinary stream; `None` for what is made otherwise (`lifecycle`)."""
    method, params = event["method"], event["params"]
    namespace, data = tuple(params["namespace"]), params["data"]
    if method == CUSTOM + TASKS:
        return cast("Item", data)
    if method.startswith(CUSTOM):
        return namespace, "custom", _named(method.removeprefix(CUSTOM), data)
    if method == "values":
        return namespace, method, _with_interrupts(data, params.get("interrupts", ()))
    if method == "messages":
        return namespace, method, _whole(data)
    return (namespace, method, data) if method in EverythingAndDebug.required_stream_modes else None


def _named(name: str, data: Any) -> dict[str, Any]:
    """An item of a named channel. One of a channel called `custom` may bring its own name."""
    if name == "custom" and isinstance(data, dict) and {"name", "payload"} <= data.keys():
        return cast("dict[str, Any]", data)
    return {"name": name, "payload": data}


def _with_interrupts(values: Any, interrupts: tuple[Any, ...]) -> Any:
    if not interrupts:
        return values
    return {**(cast("dict[str, Any]", values) if isinstance(values, dict) else {}), INTERRUPT: interrupts}


def _whole(data: tuple[Any, Any]) -> tuple[Any, Any]:
    """A message that is neither an event nor a part is whole, although what a node streamed is called a chunk."""
    message, metadata = data
    if isinstance(data, Token) or not isinstance(message, BaseMessageChunk):
        return data
    return message_chunk_to_message(message), metadata


def _repeats(item: Item, in_parts: set[str | None]) -> bool:
    """Whether a whole message came in parts already; notes the messages that do."""
    _, mode, data = item
    if mode != "messages" or not isinstance(data[0], BaseMessage):
        return False
    if isinstance(data, Token):
        in_parts.add(data.part.id)
        return False
    return data[0].id in in_parts
