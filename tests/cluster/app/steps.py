"""Graphs whose nodes tell in which process they are; otherwise as in `tests/wire/app`."""

import asyncio
import operator
import os
from typing import Annotated, Any, TypedDict

from gates import note, visit  # pyright: ignore[reportMissingImports] - of `tests/wire/app`
from langchain_core.runnables import RunnableConfig
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from skew import wrong as clock

TICKS, PACE = 40, 0.05

assert clock  # what the module is imported for has happened by now


class State(TypedDict):
    """`tag` names the input that is being worked on."""

    tag: str
    steps: Annotated[list[str], operator.add]


def step(name: str) -> Any:
    """A node that leaves its name."""

    async def node(state: State, config: RunnableConfig) -> dict[str, list[str]]:
        place = f"{state['tag']}.{name}"
        note(config, f"{place} in boot {os.environ['BOOT']}")
        async with visit(config, place):
            return {"steps": [place]}

    return node


async def ticking(state: State, config: RunnableConfig) -> dict[str, list[str]]:
    """A node that tells what it is about, twenty times a second, and goes on for two seconds."""
    write = get_stream_writer()
    for number in range(TICKS):
        note(config, f"{state['tag']}.tick in boot {os.environ['BOOT']}")
        write({"tick": number})
        await asyncio.sleep(PACE)
    return {"steps": [f"{state['tag']}.ticking"]}


def chain(**nodes: Any) -> StateGraph[State]:
    """Nodes one after the other."""
    builder = StateGraph(State)
    for name, node in nodes.items():
        builder.add_node(name, node)
    for before, after in zip((START, *nodes), (*nodes, END), strict=True):
        builder.add_edge(before, after)
    return builder


steps = chain(n1=step("n1"), n2=step("n2"), n3=step("n3")).compile(name="steps")
slow = chain(n1=step("n1"), ticking=ticking).compile(name="slow")
