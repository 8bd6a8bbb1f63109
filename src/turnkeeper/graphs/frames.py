"""What LangGraph streams, as the events of the wire: names and data as the SDKs' decoders expect them."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

from langchain_core.messages import AIMessageChunk, BaseMessage, BaseMessageChunk, message_chunk_to_message

from turnkeeper.types import StreamMode

Event = tuple[str, Any]

LANGGRAPH_MODES: dict[StreamMode, str | None] = {
    "values": "values",
    "updates": "updates",
    "messages": "messages",
    "messages-tuple": "messages",
    "custom": "custom",
    "tasks": "tasks",
    "checkpoints": "checkpoints",
    "debug": "debug",
    "tools": "tools",
    "events": None,
    "lifecycle": None,
}
"""The stream mode LangGraph knows for each of the wire's; `None`: made otherwise."""


def error_info(error: BaseException) -> dict[str, str]:
    """An exception as clients see it: its class and what it says. A group is its first member."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return {"error": type(error).__name__, "message": str(error)}


class Frames:
    """Translates one run's stream; keeps what legacy `messages` has accumulated."""

    def __init__(self, modes: Sequence[StreamMode], *, subgraphs: bool) -> None:
        """`modes` as asked for on the wire."""
        self._modes = frozenset(modes)
        self._wanted = {LANGGRAPH_MODES[mode] for mode in modes}
        self._subgraphs = subgraphs
        self._messages = Messages()
        self._translate: dict[str, Callable[[Any], Iterator[Event]]] = {
            "values": lambda data: iter([("values", data)]),
            "messages": self._of_messages,
            "tasks": lambda data: iter([("tasks", _task(data))]),
            "debug": lambda data: iter([("debug", _debug(data))]),
        }

    @property
    def langgraph_modes(self) -> list[str]:
        """What to ask LangGraph for; `values` always, because the last ones are the run's result."""
        return sorted(mode for mode in self._wanted | {"values"} if mode is not None)

    def events(self, namespace: tuple[str, ...], mode: str, data: Any) -> Iterator[Event]:
        """The wire's events for one item of LangGraph's stream."""
        if mode not in self._wanted:
            return
        suffix = "".join(f"|{part}" for part in namespace) if self._subgraphs else ""
        translate = self._translate.get(mode)
        if translate is None:
            yield mode + suffix, data
            return
        for name, translated in translate(data):
            yield name + suffix, translated

    def _of_messages(self, data: tuple[BaseMessage, dict[str, Any]]) -> Iterator[Event]:
        if "messages-tuple" in self._modes:
            yield "messages", data
        else:
            yield from self._messages.events(*data)


class Messages:
    """The legacy `messages` mode: each message whole, as far as it has come."""

    def __init__(self) -> None:
        self._partial: dict[str, BaseMessageChunk] = {}
        self._seen: set[str] = set()

    def events(self, message: BaseMessage, metadata: dict[str, Any]) -> Iterator[Event]:
        """`messages/metadata` once per message, then `messages/partial` as it grows or `messages/complete`."""
        message_id = message.id or ""
        if message_id not in self._seen:
            self._seen.add(message_id)
            yield "messages/metadata", {message_id: {"metadata": metadata}}
        if isinstance(message, BaseMessageChunk):
            known = self._partial.get(message_id)
            whole = message if known is None else cast("AIMessageChunk", known + cast("Any", message))
            self._partial[message_id] = whole
            yield "messages/partial", [message_chunk_to_message(whole)]
        else:
            self._partial.pop(message_id, None)
            yield "messages/complete", [message]


def _task(data: dict[str, Any]) -> dict[str, Any]:
    """A task's start or result; exceptions become class and message."""
    error = data.get("error")
    return {**data, "error": error_info(error)} if isinstance(error, BaseException) else data


def _debug(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "payload": _task(data["payload"])} if data.get("type") == "task_result" else data
