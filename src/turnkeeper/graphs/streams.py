"""The ways to run a graph: plainly, with LangChain's events on the way, or as the event protocol asks for."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, cast

import msgspec

from turnkeeper.graphs.items import Item
from turnkeeper.graphs.protocol.stream import MODES, protocol_stream

if TYPE_CHECKING:
    from langgraph.pregel import Pregel

Emit = Callable[[str, Any], None]
"""Called with the name and the data of each event of a run's own stream."""


class Way(msgspec.Struct, frozen=True):
    """How a run's graph is streamed."""

    modes: list[str]
    """What LangGraph is asked for, in its words."""
    subgraphs: bool
    events: bool = False
    """Whether LangChain's own events are emitted as well."""
    protocol: bool = False
    options: dict[str, Any] = {}
    """The rest of what `Pregel.astream` takes."""

    @property
    def streamed(self) -> frozenset[str]:
        """The modes that items come in."""
        return frozenset(self.modes) | frozenset(MODES if self.protocol else ())


async def stream(
    graph: "Pregel[Any, Any, Any, Any]", config: Any, given: Any, way: Way, emit: Emit
) -> AsyncGenerator[Item]:
    """What the graph streams. What it raises is raised; closing the generator stops the graph."""
    if way.protocol:
        items = protocol_stream(graph, config, given, debug="debug" in way.modes, **way.options)
    elif way.events:
        items = _with_events(graph, config, given, way, emit)
    else:
        items = _plain(graph, config, given, way)
    async with aclosing(items) as open_items:
        async for item in open_items:
            yield item


async def _plain(graph: "Pregel[Any, Any, Any, Any]", config: Any, given: Any, way: Way) -> AsyncGenerator[Item]:
    chunks = graph.astream(
        given, config, stream_mode=cast("Any", way.modes), subgraphs=cast("Any", way.subgraphs), **way.options
    )
    async with aclosing(cast("AsyncGenerator[Any]", chunks)) as open_chunks:
        async for chunk in open_chunks:
            yield _item(chunk, way)


async def _with_events(
    graph: "Pregel[Any, Any, Any, Any]", config: Any, given: Any, way: Way, emit: Emit
) -> AsyncGenerator[Item]:
    """The plain stream out of LangChain's event stream, whose other events are emitted on the way."""
    run_id = str(config["run_id"])
    asked: dict[str, Any] = {"stream_mode": way.modes, "subgraphs": way.subgraphs, **way.options}
    events = graph.astream_events(given, config, version="v2", **asked)
    async with aclosing(cast("AsyncGenerator[Any]", events)) as open_events:
        async for event in open_events:
            if event["event"] == "on_chain_stream" and event["run_id"] == run_id:
                yield _item(event["data"]["chunk"], way)
            else:
                emit("events", event)


def _item(chunk: Any, way: Way) -> Item:
    return chunk if way.subgraphs else ((), *chunk)
