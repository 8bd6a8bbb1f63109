"""A graph whose stream has something of everything, and is the same each time but for ids and times."""

from typing import Annotated, Any, TypedDict

from agent import ScriptedModel
from langchain_core.messages import AnyMessage, message_chunk_to_message
from langchain_core.runnables import RunnableConfig
from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import interrupt


class Everything(TypedDict, total=False):
    """A conversation, and the answer to a question."""

    messages: Annotated[list[AnyMessage], add_messages]
    answer: str


async def model(state: Everything, config: RunnableConfig) -> dict[str, Any]:
    """Say something token by token."""
    whole: Any = None
    async for chunk in ScriptedModel().astream(state.get("messages", []), config):
        whole = chunk if whole is None else whole + chunk
    return {"messages": [message_chunk_to_message(whole)]}


def work(_: Everything) -> dict[str, Any]:
    """Tell of the progress."""
    tell = get_stream_writer()
    tell({"progress": 0.5})
    tell({"progress": 1})
    return {}


def ask(_: Everything) -> dict[str, Any]:
    """Wait for a person."""
    return {"answer": interrupt({"question": "Shall I?"})}


def everything_graph() -> StateGraph[Everything]:
    """work → child (model) → ask."""
    child: Any = StateGraph(Everything)
    child.add_node("model", model)
    child.add_edge(START, "model")
    builder: Any = StateGraph(Everything)
    builder.add_node("work", work)
    builder.add_node("child", child.compile())
    builder.add_node("ask", ask)
    builder.add_edge(START, "work")
    builder.add_edge("work", "child")
    builder.add_edge("child", "ask")
    return builder


everything = everything_graph().compile(name="everything")
