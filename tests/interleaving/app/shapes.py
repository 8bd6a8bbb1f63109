"""Graphs of random shape: what the input's `config.configurable.shape` describes is built for the run.

A shape is a list of layers. A layer is a list of nodes that run at once; the next layer follows when all have ended.
A node is `plain`, `sub` (a graph of two steps) or `fork` (its way on is chosen by a condition).
"""

import json
import operator
from typing import Annotated, Any, TypedDict, cast

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from telling import visit

Node = Any
Shape = list[list[str]]


class Done(TypedDict):
    """`steps` is what was done, of every input."""

    tag: str
    steps: Annotated[list[str], operator.add]


class Inside(TypedDict):
    """The state within a subgraph: `within` is handed to nobody."""

    tag: str
    within: Annotated[list[str], operator.add]


def step(name: str) -> Node:
    """A node that leaves its name."""

    async def node(state: Done, config: RunnableConfig) -> dict[str, Any]:
        place = f"{state['tag']}.{name}"
        async with visit(config, place):
            return {"steps": [place]}

    return node


def inner(name: str) -> Node:
    """A step of a subgraph."""

    async def node(state: Inside, config: RunnableConfig) -> dict[str, Any]:
        place = f"{state['tag']}.{name}"
        async with visit(config, place):
            return {"within": [place]}

    return node


def child(name: str) -> Node:
    """A node that runs a graph of two steps of its own and tells what these did."""
    builder = StateGraph(Inside)
    builder.add_node("a", inner(f"{name}a"))
    builder.add_node("b", inner(f"{name}b"))
    builder.add_edge(START, "a")
    builder.add_edge("a", "b")
    graph: Any = builder.compile()

    async def node(state: Done, config: RunnableConfig) -> dict[str, Any]:
        result: Any = await graph.ainvoke({"tag": state["tag"]}, config)
        return {"steps": result["within"]}

    return node


def builder_of(shape: Shape) -> StateGraph[Done]:
    """The graph that a shape describes."""
    builder: StateGraph[Done] = StateGraph(Done)
    before: list[str] = []
    for number, layer in enumerate(shape):
        names = [f"l{number}{'abcdef'[place]}" for place in range(len(layer))]
        for name, kind in zip(names, layer, strict=True):
            builder.add_node(name, child(name) if kind == "sub" else step(name))
        _connect(builder, before, names, forks=bool(before) and shape[number - 1] == ["fork"])
        before = names
    return builder


def _connect(builder: StateGraph[Done], before: list[str], names: list[str], *, forks: bool) -> None:
    """From a layer to the next; a fork on its own chooses the last of the nodes that follow."""
    if forks:
        builder.add_conditional_edges(before[0], lambda _, target=names[-1]: target, cast("Any", names))
        return
    for name in names:
        if not before:
            builder.add_edge(START, name)
        else:
            builder.add_edge(before if len(before) > 1 else before[0], name)


def make(config: RunnableConfig) -> StateGraph[Done]:
    """The graph for a run or a look at its state."""
    shape = config.get("configurable", {}).get("shape") or '[["plain"]]'
    return builder_of(json.loads(shape))
