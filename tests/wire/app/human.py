"""Graphs that ask a person and wait for the answer."""

from gates import visit
from graphs import State, Update, step
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt


async def question(state: State, config: RunnableConfig) -> Update:
    """Ask; the answer becomes a step."""
    answer = interrupt({"question": "go on?", "tag": state["tag"]})
    place = f"{state['tag']}.ask"
    async with visit(config, place):
        return {"steps": [f"{place}={answer}"]}


def ask_graph() -> StateGraph[State]:
    """before → ask → after."""
    builder = StateGraph(State)
    builder.add_node("before", step("before"))
    builder.add_node("ask", question)
    builder.add_node("after", step("after"))
    builder.add_edge(START, "before")
    builder.add_edge("before", "ask")
    builder.add_edge("ask", "after")
    return builder


def left(state: State) -> Update:
    """The first of two questions asked at once."""
    return {"steps": [f"left={interrupt('left?')}"]}


def right(state: State) -> Update:
    """The second."""
    return {"steps": [f"right={interrupt('right?')}"]}


def two_questions_graph() -> StateGraph[State]:
    """Two questions at once, and what follows both answers."""
    builder = StateGraph(State)
    builder.add_node("left", left)
    builder.add_node("right", right)
    builder.add_node("after", step("after"))
    builder.add_edge(START, "left")
    builder.add_edge(START, "right")
    builder.add_edge(["left", "right"], "after")
    return builder


ask = ask_graph().compile(name="ask")
two_questions = two_questions_graph().compile(name="two_questions")
