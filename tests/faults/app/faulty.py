"""Graphs that do what no graph should. The tag of the input says what; every other input gets through."""

import asyncio
import operator
import os
import signal
from pathlib import Path
from typing import Annotated, Any, TypedDict

from gates import note, visit, visit_blocking  # pyright: ignore[reportMissingImports] - of tests/wire/app
from graphs import State, Update, chain, step  # pyright: ignore[reportMissingImports]
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.config import get_stream_writer
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode

FLOOD, WATER = 64, "~" * 1_000_000

RAISED: dict[str, type[BaseException]] = {
    "SystemExit": SystemExit,
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "CancelledError": asyncio.CancelledError,
    "StopIteration": StopIteration,
    "MemoryError": MemoryError,
    "RecursionError": RecursionError,
    "ValueError": ValueError,
}


def chosen(tag: str) -> type[BaseException] | None:
    """What an input asks a node to raise: `SystemExit`, or `sync-SystemExit` for the node in a thread."""
    return RAISED.get(tag.removeprefix("sync-"))


async def raise_async(state: State, config: RunnableConfig) -> Update:
    """Raise what was asked for on the loop."""
    error = chosen(state["tag"])
    if error is not None and not state["tag"].startswith("sync-"):
        raise error("asked for")
    return await step("boom")(state, config)


def raise_sync(state: State, config: RunnableConfig) -> Update:
    """Raise what was asked for in a thread."""
    error = chosen(state["tag"])
    if error is not None:
        raise error("asked for")
    return {"steps": [f"{state['tag']}.thread"]}


@tool
async def fatal(name: str) -> str:
    """Raise the error of that name."""
    raise RAISED[name]("asked for")


def calls_fatal(state: MessagesState) -> dict[str, list[AIMessage]]:
    """A model that calls the tool with what the person said."""
    said = str(state["messages"][-1].content)
    return {"messages": [AIMessage("", tool_calls=[{"name": "fatal", "args": {"name": said}, "id": "1"}])]}


def tool_graph() -> StateGraph[MessagesState]:
    """model → tools."""
    builder = StateGraph(MessagesState)
    builder.add_node("model", calls_fatal)
    builder.add_node("tools", ToolNode([fatal]))
    builder.add_edge(START, "model")
    builder.add_edge("model", "tools")
    return builder


def child_graph() -> StateGraph[State]:
    """n1 → a graph of its own that raises."""
    builder = StateGraph(State)
    builder.add_node("n1", step("n1"))
    builder.add_node("child", chain("c1", "boom", boom=raise_async).compile())
    builder.add_edge(START, "n1")
    builder.add_edge("n1", "child")
    return builder


async def kill(state: State, config: RunnableConfig) -> Update:
    """Take the whole server down, as a crash in native code does."""
    note(config, f"{state['tag']}.kill began")
    if state["tag"] == "fatal":
        os.kill(os.getpid(), signal.SIGKILL)
    return {"steps": [f"{state['tag']}.kill"]}


async def hog(state: State, config: RunnableConfig) -> Update:
    """Block the loop, as a forgotten `requests.get` does."""
    place = f"{state['tag']}.hog"
    visit_blocking(config, place)
    return {"steps": [place]}


async def spin(state: State, config: RunnableConfig) -> Update:
    """Never end, and take no cancellation: only the test's gate ends it."""
    place = f"{state['tag']}.spin"
    note(config, f"{place} began")
    held = Path(os.environ["GATES"]) / config.get("configurable", {})["thread_id"] / f"{place}.hold"
    while held.exists():
        try:
            await asyncio.sleep(0.001)
        except asyncio.CancelledError:
            note(config, f"{place} ignored its cancellation")
    note(config, f"{place} ended")
    return {"steps": [place]}


async def hang(state: State, config: RunnableConfig) -> Update:
    """Wait for what never comes."""
    async with visit(config, f"{state['tag']}.hang"):
        if state["tag"] == "forever":
            await asyncio.Event().wait()
        return {"steps": [f"{state['tag']}.hang"]}


class Heavy(TypedDict, total=False):
    """`blob` is as big as `size` says."""

    tag: str
    size: int
    blob: str
    steps: Annotated[list[str], operator.add]


def weigh(state: Heavy) -> Heavy:
    """Return a lot."""
    return {"blob": "x" * state.get("size", 0), "steps": [f"{state.get('tag')}.weigh"]}


def lighten(state: Heavy) -> Heavy:
    """Give it up again, if the tag is `light`."""
    return {"blob": ""} if state.get("tag") == "light" else {}


def heavy_graph() -> StateGraph[Heavy]:
    """weigh → rest."""
    builder = StateGraph(Heavy)
    builder.add_node("weigh", weigh)
    builder.add_node("rest", lighten)
    builder.add_edge(START, "weigh")
    builder.add_edge("weigh", "rest")
    return builder


async def flood(state: State, config: RunnableConfig) -> Update:
    """Tell more than any buffer takes, at a pace at which a reader who reads keeps up."""
    async with visit(config, f"{state['tag']}.flood"):
        for number in range(FLOOD):
            get_stream_writer()({"number": number, "water": WATER})
            await asyncio.sleep(0.02)
    return {"steps": [f"{state['tag']}.flood"]}


class Sealed:
    """An object nobody can write down."""

    def __reduce__(self) -> Any:
        raise TypeError("this cannot be stored")


def sealed(state: Heavy) -> dict[str, Any]:
    """Return what cannot be stored, unless the tag is `fine`."""
    return {"blob": "fine" if state.get("tag") == "fine" else Sealed(), "steps": [f"{state.get('tag')}.sealed"]}


def opaque_graph() -> StateGraph[Heavy]:
    """One node."""
    builder = StateGraph(Heavy)
    builder.add_node("sealed", sealed)
    builder.add_edge(START, "sealed")
    return builder


raising = chain("n1", "boom", "thread", boom=raise_async, thread=raise_sync).compile(name="raising")
raising_tool = tool_graph().compile(name="raising_tool")
raising_child = child_graph().compile(name="raising_child")
killing = chain("n1", "kill", "n2", kill=kill).compile(name="killing")
hogging = chain("n1", "hog", "n2", hog=hog).compile(name="hogging")
spinning = chain("n1", "spin", "n2", spin=spin).compile(name="spinning")
endless = chain("n1", "hang", "n2", hang=hang).compile(name="endless")
flooding = chain("n1", "flood", "n2", flood=flood).compile(name="flooding")
heavy = heavy_graph().compile(name="heavy")
opaque = opaque_graph().compile(name="opaque")
