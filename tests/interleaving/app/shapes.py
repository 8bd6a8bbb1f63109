"""Graphs of random shape: what the input's `config.configurable.shape` describes is built for the run.

A shape is a list of nodes, each of which may follow any earlier ones (`after`, their numbers); one that follows none
follows the start. With `join` it waits for all of them, else it runs whenever one of them has ended. A node's `kind` is
`plain`, `sub` (a graph of two steps) or `fork` (which of the nodes after it comes next is chosen by a condition).
"""

import json
import operator
from typing import Annotated, Any, TypedDict, cast

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from telling import visit

Node = Any
Shape = list[dict[str, Any]]


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
    names = [f"n{number}" for number in range(len(shape))]
    choices: dict[str, list[str]] = {}
    for name, node in zip(names, shape, strict=True):
        builder.add_node(name, child(name) if node["kind"] == "sub" else step(name))
        before = [names[number] for number in node["after"]] or [START]
        if node["join"] and len(before) > 1:
            builder.add_edge(before, name)
            continue
        for each in before:
            if each != START and shape[names.index(each)]["kind"] == "fork":
                choices.setdefault(each, []).append(name)
            else:
                builder.add_edge(each, name)
    for name, targets in choices.items():
        builder.add_conditional_edges(name, lambda _, target=targets[-1]: target, cast("Any", targets))
    return builder


def make(config: RunnableConfig) -> StateGraph[Done]:
    """The graph for a run or a look at its state."""
    shape = config.get("configurable", {}).get("shape") or '[{"kind": "plain", "after": [], "join": false}]'
    return builder_of(json.loads(shape))
