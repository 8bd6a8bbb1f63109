"""The graphs of assistants as clients see them: drawn, and described by JSON schemas."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from langgraph.store.base import BaseStore

from turnkeeper.codec import decode
from turnkeeper.contracts import Storage
from turnkeeper.errors import Impossible, TurnkeeperError
from turnkeeper.graphs.factories import Graph
from turnkeeper.graphs.loader import Graphs
from turnkeeper.graphs.loop import LoopThread
from turnkeeper.graphs.schemas import drawing, schemas, subgraph_schemas
from turnkeeper.types import Assistant


class SchemaService:
    """What the HTTP handlers ask of graphs. They are the user's code, so they are used on a loop of their own.

    All raise `NotFound`, and `Impossible` when the graph fails.
    """

    def __init__(self, storage: Storage, graphs: Graphs, store: BaseStore, loop: LoopThread) -> None:
        self._storage = storage
        self._graphs = graphs
        self._store = store
        self._loop = loop

    async def drawing(self, assistant_id: str, *, xray: bool | int) -> dict[str, Any]:
        """Nodes and edges; with `xray` subgraphs are drawn out, down to as many levels if it is a number."""
        assistant = await self._storage.assistants.get(assistant_id)
        return await self._loop.run(self._drawing(assistant, xray=xray))

    async def schemas(self, assistant_id: str) -> dict[str, Any]:
        """The JSON schemas of input, output, state and configuration."""
        assistant = await self._storage.assistants.get(assistant_id)
        return await self._loop.run(self._schemas(assistant))

    async def subgraphs(self, assistant_id: str, namespace: str | None, *, recurse: bool) -> dict[str, Any]:
        """The same of the subgraphs by namespace (`parent|child`): of all, or only of the one at `namespace`."""
        assistant = await self._storage.assistants.get(assistant_id)
        return await self._loop.run(self._subgraphs(assistant, namespace, recurse=recurse))

    async def _drawing(self, assistant: Assistant, *, xray: bool | int) -> dict[str, Any]:
        async with self._open(assistant) as graph:
            return await drawing(graph, xray=xray)

    async def _schemas(self, assistant: Assistant) -> dict[str, Any]:
        async with self._open(assistant) as graph:
            return {"graph_id": assistant.graph_id, **schemas(graph)}

    async def _subgraphs(self, assistant: Assistant, namespace: str | None, *, recurse: bool) -> dict[str, Any]:
        async with self._open(assistant) as graph:
            return subgraph_schemas(graph, namespace, recurse=recurse)

    @asynccontextmanager
    async def _open(self, assistant: Assistant) -> AsyncGenerator[Graph]:
        """The assistant's graph. What it fails with is told to the caller: the configuration may be to blame."""
        config = decode(assistant.config)
        belongs = {"assistant_id": assistant.assistant_id, "graph_id": assistant.graph_id}
        config["configurable"] = {**(config.get("configurable") or {}), **belongs}
        try:
            async with self._graphs.open(
                assistant.graph_id,
                config=config,
                access="assistants.read",
                store=self._store,
                context=decode(assistant.context),
            ) as graph:
                yield graph
        except TurnkeeperError:
            raise
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            raise Impossible(f"Graph '{assistant.graph_id}' cannot be looked at: {said}") from error
