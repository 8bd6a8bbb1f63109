"""Tool calls an interrupted run left open. Model providers refuse a conversation with a call nobody answered."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

import structlog
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.channels import BinaryOperatorAggregate, DeltaChannel
from langgraph.constants import START

from turnkeeper.errors import TurnkeeperError

if TYPE_CHECKING:
    from langgraph.pregel import Pregel

log = structlog.get_logger()

CHANNEL = "messages"
INTERRUPTED = "Interrupted before it finished."


async def answer_open_tool_calls(graph: "Pregel[Any, Any, Any, Any]", config: RunnableConfig, given: object) -> None:
    """Answer each open call of the newest state's last message that the input `given` does not answer itself.

    A no-op for graphs without a `messages` channel that adds. Answers the graph does not take are left out.
    """
    if not isinstance(graph.channels.get(CHANNEL), BinaryOperatorAggregate | DeltaChannel):
        return
    messages = _messages((await graph.aget_state(config)).values)
    answers = list(_answers(messages, answered=_answered_by(given)))
    if not answers:
        return
    try:
        await graph.aupdate_state(config, {CHANNEL: answers}, as_node=START)
    except TurnkeeperError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever the graph has against it
        log.warning("the open tool calls of an interrupted run are not answered", error=repr(error))


def _messages(values: object) -> list[Any]:
    messages = cast("Mapping[str, Any]", values).get(CHANNEL) if isinstance(values, Mapping) else None
    return cast("list[Any]", messages) if isinstance(messages, list) else []


def _answered_by(given: object) -> set[str]:
    """The calls an input brings the answers to: tools may also run at the client."""
    brought = (cast("dict[str, Any]", each) for each in _messages(given) if isinstance(each, dict))
    return {str(each["tool_call_id"]) for each in brought if each.get("tool_call_id")}


def _answers(messages: list[Any], *, answered: set[str]) -> Iterator[ToolMessage]:
    """One for each call since the last message of a model that has no answer after it."""
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
