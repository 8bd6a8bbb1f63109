"""A graph for a busy server: every node tells in one log what it does, and its state tells what was kept of it."""

import asyncio
import operator
import os
import time
import zlib
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph

LONGEST = 12
"""Milliseconds a node may take: by its name and input, so that a run takes the same course every time."""


class State(TypedDict, total=False):
    """`inputs` has every input once, `steps` every step once, whatever happened meanwhile."""

    tag: str
    inputs: Annotated[list[str], operator.add]
    steps: Annotated[list[str], operator.add]


def tell(config: RunnableConfig, step: str, event: str) -> None:
    """One line in the log of all nodes; it outlives a kill of this process the moment it is written."""
    configurable, metadata = config.get("configurable", {}), config.get("metadata", {})
    words = (time.monotonic(), os.environ.get("BOOT", "0"), configurable["thread_id"], configurable["run_id"])
    line = " ".join(str(word) for word in (*words, metadata["run_attempt"], step, event))
    handle = os.open(Path(os.environ["GATES"]) / "nodes.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, f"{line}\n".encode())
    os.close(handle)


def pause(step: str) -> float:
    """How long a step takes, in seconds."""
    return zlib.crc32(step.encode()) % LONGEST / 1000


def coroutine_node(name: str) -> Any:
    """A node that is a coroutine."""

    async def node(state: State, config: RunnableConfig) -> State:
        step = f"{state.get('tag')}.{name}"
        tell(config, step, "began")
        await asyncio.sleep(pause(step))
        tell(config, step, "ended")
        return {"steps": [step]}

    return node


def thread_node(name: str) -> Any:
    """A node that is no coroutine."""

    def node(state: State, config: RunnableConfig) -> State:
        step = f"{state.get('tag')}.{name}"
        tell(config, step, "began")
        time.sleep(pause(step))
        tell(config, step, "ended")
        return {"steps": [step]}

    return node


def busy_graph() -> StateGraph[State]:
    """first → (left, right) → then → last."""
    builder = StateGraph(State)
    for name in ("first", "left", "right", "last"):
        builder.add_node(name, coroutine_node(name))
    builder.add_node("then", thread_node("then"))
    builder.add_edge(START, "first")
    builder.add_edge("first", "left")
    builder.add_edge("first", "right")
    builder.add_edge(["left", "right"], "then")
    builder.add_edge("then", "last")
    builder.add_edge("last", END)
    return builder


busy = busy_graph().compile(name="busy")
