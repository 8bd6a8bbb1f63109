"""Graphs whose state tells exactly what ran: every node appends `TAG.node` to `steps`."""

import asyncio
import operator
from typing import Annotated, Any, TypedDict

from gates import note, visit, visit_blocking
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph


class State(TypedDict):
    """`tag` names the input that is being worked on."""

    tag: str
    steps: Annotated[list[str], operator.add]


class Update(TypedDict):
    """What a node adds."""

    steps: list[str]


Node = Any
"""A node's function: LangGraph's own type for it also names the parameters, which `Callable` cannot."""


def step(name: str) -> Node:
    """A node that leaves its name."""

    async def node(state: State, config: RunnableConfig) -> Update:
        place = f"{state['tag']}.{name}"
        async with visit(config, place):
            return {"steps": [place]}

    return node


def chain(*names: str, **special: Node) -> StateGraph[State]:
    """Nodes one after the other; `special` replaces some."""
    builder = StateGraph(State)
    for name in names:
        builder.add_node(name, special.get(name) or step(name))
    for before, after in zip((START, *names), (*names, END), strict=True):
        builder.add_edge(before, after)
    return builder


async def boom(state: State, config: RunnableConfig) -> Update:
    """Fail, as code does; an input with the tag `fine` gets through."""
    if state["tag"] == "fine":
        return await step("boom")(state, config)
    async with visit(config, f"{state['tag']}.boom"):
        raise ValueError("boom!")


async def swallow(state: State, config: RunnableConfig) -> Update:
    """Ignore every cancellation until the test opens the gate `TAG.swallow`, then leave a result."""
    work = asyncio.ensure_future(step("swallow")(state, config))
    while not work.done():
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            note(config, f"{state['tag']}.swallow ignored its cancellation")
    return work.result()


async def tidy(state: State, config: RunnableConfig) -> Update:
    """Need a while to stop: the gate `TAG.cleanup` holds the node after its cancellation."""
    try:
        return await step("tidy")(state, config)
    finally:
        async with visit(config, f"{state['tag']}.cleanup"):
            pass


def block(state: State, config: RunnableConfig) -> Update:
    """A node that is no coroutine: nothing can cancel its thread."""
    place = f"{state['tag']}.block"
    visit_blocking(config, place)
    return {"steps": [place]}


def blocking_graph() -> StateGraph[State]:
    """n1, then a node in a thread."""
    builder = StateGraph(State)
    builder.add_node("n1", step("n1"))
    builder.add_node("block", block)
    builder.add_edge(START, "n1")
    builder.add_edge("n1", "block")
    return builder


def parallel_graph() -> StateGraph[State]:
    """Two branches at once, and what follows both."""
    builder = StateGraph(State)
    for name in ("fast", "slow", "join"):
        builder.add_node(name, step(name))
    builder.add_edge(START, "fast")
    builder.add_edge(START, "slow")
    builder.add_edge(["fast", "slow"], "join")
    return builder


def merged(old: list[str], new: list[str]) -> list[str]:
    """A child graph hands its whole state back: what its parent has already is not added again."""
    return old + [step for step in new if step not in old]


class Nested(TypedDict):
    """The state of a graph in a graph and of the one around it."""

    tag: str
    steps: Annotated[list[str], merged]


def nested_graph() -> StateGraph[Nested]:
    """before → child (c1 → c2) → after."""
    child = StateGraph(Nested)
    child.add_node("c1", step("c1"), input_schema=Nested)
    child.add_node("c2", step("c2"), input_schema=Nested)
    child.add_edge(START, "c1")
    child.add_edge("c1", "c2")
    builder = StateGraph(Nested)
    builder.add_node("before", step("before"), input_schema=Nested)
    builder.add_node("child", child.compile())
    builder.add_node("after", step("after"), input_schema=Nested)
    builder.add_edge(START, "before")
    builder.add_edge("before", "child")
    builder.add_edge("child", "after")
    return builder


steps = chain("n1", "n2", "n3").compile(name="steps")
fails = chain("n1", "boom", boom=boom).compile(name="fails")
stubborn = chain("n1", "swallow", "n2", swallow=swallow).compile(name="stubborn")
tidying = chain("n1", "tidy", "n2", tidy=tidy).compile(name="tidying")
blocking = blocking_graph().compile(name="blocking")
parallel = parallel_graph().compile(name="parallel")
subgraph = nested_graph().compile(name="subgraph")
