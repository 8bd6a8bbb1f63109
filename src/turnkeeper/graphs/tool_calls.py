"""Tool calls an interrupted run left open. Most model providers refuse a conversation with a call nobody answered."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.runnables import RunnableConfig

if TYPE_CHECKING:
    from langgraph.pregel import Pregel

INTERRUPTED = "Interrupted before it finished."


async def answer_open_tool_calls(graph: "Pregel[Any, Any, Any, Any]", config: RunnableConfig) -> None:
    """Answer each open call of the newest state's last message; a no-op for graphs without `messages`."""
    values: Any = (await graph.aget_state(config)).values
    messages = cast("dict[str, Any]", values).get("messages") if isinstance(values, dict) else None
    answers = list(_answers(cast("list[Any]", messages))) if isinstance(messages, list) else []
    if answers:
        await graph.aupdate_state(config, {"messages": answers}, as_node="__start__")


def _answers(messages: list[Any]) -> Iterator[ToolMessage]:
    """One for each call since the last message of a model that has no answer after it."""
    answered: set[str] = set()
    for message in reversed(messages):
        if isinstance(message, ToolMessage):
            answered.add(message.tool_call_id)
        elif isinstance(message, AIMessage):
            for call in message.tool_calls:
                if call["id"] and call["id"] not in answered:
                    yield ToolMessage(INTERRUPTED, tool_call_id=call["id"], name=call["name"], status="error")
            return
        else:
            return
