"""Checkpoint namespaces: where within a graph a state belongs (`node:task_id|node:task_id`, empty for the graph)."""

from typing import cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver

from turnkeeper.graphs.factories import Graph


async def own_address(graph: Graph, config: RunnableConfig) -> RunnableConfig:
    """`config` as an address within this graph.

    A `RemoteGraph` that is a node of another graph is asked for its state under that node's namespace, and sends it on.
    It means the root of its own thread then.
    """
    address = config.get("configurable", {})
    namespace = _own(graph, address["checkpoint_ns"])
    saver = cast("BaseCheckpointSaver[str]", graph.checkpointer)
    if namespace == address["checkpoint_ns"] or await saver.aget_tuple(config) is not None:
        return config
    return {**config, "configurable": {**address, "checkpoint_ns": namespace}}


def _own(graph: Graph, namespace: str) -> str:
    """The namespace from the first node on that the graph has."""
    parts = namespace.split("|")
    while parts and parts[0].partition(":")[0] not in graph.nodes:
        parts.pop(0)
    return "|".join(parts)
