"""Graphs whose state tells what was said to them and what they did about it."""

import asyncio
import operator
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import interrupt
from telling import hold_here, visit

Node = Any


def collect(old: list[str], new: list[str]) -> list[str]:
    """Add what was said. `TAG@THREAD` may be held while it is being added."""
    for each in new:
        tag, _, thread_id = each.partition("@")
        if thread_id:
            hold_here(thread_id, f"{tag}.said")
    return old + [each.partition("@")[0] for each in new]


class Talk(TypedDict):
    """`tag` names the newest input, `said` collects them all; `steps` is what was done."""

    tag: str
    pace: float
    ask: bool
    said: Annotated[list[str], collect]
    steps: Annotated[list[str], operator.add]


def step(name: str) -> Node:
    """A node that leaves its name."""

    async def node(state: Talk, config: RunnableConfig) -> dict[str, Any]:
        place = f"{state['tag']}.{name}"
        async with visit(config, place, state.get("pace", 0.0)):
            return {"steps": [place]}

    return node


async def question(state: Talk, config: RunnableConfig) -> dict[str, Any]:
    """Ask a person, if the input wants it."""
    place = f"{state['tag']}.n2"
    async with visit(config, place, state.get("pace", 0.0)):
        answer = f"={interrupt(state['tag'])}" if state.get("ask") else ""
        return {"steps": [f"{place}{answer}"]}


def talk_graph() -> StateGraph[Talk]:
    """n1 → n2, which may ask → n3."""
    builder = StateGraph(Talk)
    builder.add_node("n1", step("n1"))
    builder.add_node("n2", question)
    builder.add_node("n3", step("n3"))
    builder.add_edge(START, "n1")
    builder.add_edge("n1", "n2")
    builder.add_edge("n2", "n3")
    builder.add_edge("n3", END)
    return builder


async def reply(state: MessagesState, config: RunnableConfig) -> dict[str, list[AIMessage]]:
    """Answer the newest message."""
    newest = state["messages"][-1]
    async with visit(config, f"{newest.text}.reply", newest.additional_kwargs.get("pace", 0.0)):
        return {"messages": [AIMessage(f"re {newest.text}")]}


def chat_graph() -> StateGraph[MessagesState]:
    """One turn of a chat."""
    builder = StateGraph(MessagesState)
    builder.add_node("reply", reply)
    builder.add_edge(START, "reply")
    return builder


async def ignore(state: Talk, config: RunnableConfig) -> dict[str, Any]:
    """Go on when cancelled until the gate is opened, and tell that somebody asked."""
    work = asyncio.ensure_future(step("stubborn")(state, config))
    while not work.done():
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            async with visit(config, f"{state['tag']}.asked"):
                pass
    return work.result()


def stubborn_graph() -> StateGraph[Talk]:
    """One node that cannot be cancelled."""
    builder = StateGraph(Talk)
    builder.add_node("stubborn", ignore)
    builder.add_edge(START, "stubborn")
    return builder


stubborn = stubborn_graph().compile(name="stubborn")
talk = talk_graph().compile(name="talk")
chat = chat_graph().compile(name="chat")
