"""What LangGraph streams, as the events of the wire: names and data as the SDKs' decoders expect them."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

from langchain_core.messages import AIMessageChunk, BaseMessage, BaseMessageChunk, message_chunk_to_message

from turnkeeper.graphs.chunks import Chunks
from turnkeeper.graphs.items import Namespace
from turnkeeper.graphs.snapshots import address
from turnkeeper.graphs.subgraphs import Change, Ending, Subgraphs
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
    """Translates one run's stream; keeps what legacy `messages` has accumulated and which tools are at work."""

    def __init__(self, modes: Sequence[StreamMode], *, subgraphs: bool) -> None:
        """`modes` as asked for on the wire."""
        self._modes = frozenset(modes)
        self._wanted = {LANGGRAPH_MODES[mode] for mode in modes}
        self._subgraphs = subgraphs
        self._follows = "lifecycle" in modes
        self._changes: list[Event] = []
        self._lives = Subgraphs(lambda change: self._changes.append(_life(change)), by_tasks=True)
        self._messages = Messages()
        self._chunks = Chunks()
        self._tools = Tools()
        self._translate: dict[str, Callable[[Any], Iterator[Event]]] = {
            "values": lambda data: iter([("values", data)]),
            "messages": self._of_messages,
            "tasks": lambda data: iter([("tasks", task(data))]),
            "debug": lambda data: iter([("debug", _debug(data))]),
            "tools": lambda data: iter([("tools", self._tools.event(data))]),
        }

    @property
    def langgraph_modes(self) -> list[str]:
        """What to ask LangGraph for; `values` always, because the last ones are the run's result."""
        needed = {"values", "tasks"} if self._follows else {"values"}
        return sorted(mode for mode in self._wanted | needed if mode is not None)

    @property
    def langgraph_subgraphs(self) -> bool:
        """Whether to ask LangGraph for the subgraphs' items too: their lives are told also without them."""
        return self._subgraphs or self._follows

    def events(self, namespace: Namespace, mode: str, data: Any) -> Iterator[Event]:
        """The wire's events for one item of LangGraph's stream."""
        if self._follows:
            self._lives.see((namespace, mode, data))
            yield from self._taken()
        if mode not in self._wanted or (namespace and not self._subgraphs):
            return
        suffix = "".join(f"|{part}" for part in namespace)
        translate = self._translate.get(mode)
        if translate is None:
            yield mode + suffix, data
            return
        for name, translated in translate(data):
            yield name + suffix, translated

    def begin(self, graph_name: str) -> Iterator[Event]:
        """What the mode `lifecycle` says when the run starts."""
        if self._follows:
            yield "lifecycle", {"event": "running", "namespace": [], "graph_name": graph_name}

    def end(self, ending: Ending, graph_name: str, error: BaseException | None = None) -> Iterator[Event]:
        """What it says when the run ends; once, whoever asks first."""
        if self._follows:
            self._follows = False
            self._lives.close(ending, error)
            yield from self._taken()
            yield _life(Change((), ending, graph_name, error=error))

    def _taken(self) -> list[Event]:
        changes, self._changes = self._changes, []
        return changes

    def _of_messages(self, data: tuple[Any, dict[str, Any]]) -> Iterator[Event]:
        message, metadata = data
        if not isinstance(message, BaseMessage):
            message = self._chunks.chunk(message, metadata)
        if message is None:
            return
        if "messages-tuple" in self._modes:
            yield "messages", (message, metadata)
        else:
            yield from self._messages.events(message, metadata)


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


TOOL_EVENTS = {
    "tool-started": ("on_tool_start", {"input": "input"}),
    "tool-output-delta": ("on_tool_event", {"delta": "data"}),
    "tool-finished": ("on_tool_end", {"output": "output"}),
    "tool-error": ("on_tool_error", {"message": "error"}),
}
"""What the SDKs call LangGraph's events of a tool call, and the field that says more."""


class Tools:
    """The `tools` mode: each event names its tool, which LangGraph does only at the start."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def event(self, data: dict[str, Any]) -> dict[str, Any]:
        """One event of a tool call in the SDKs' words."""
        if data["event"] not in TOOL_EVENTS:
            return data
        call_id = data["tool_call_id"]
        name = self._names.setdefault(call_id, data.get("tool_name", ""))
        event, fields = TOOL_EVENTS[data["event"]]
        if event in ("on_tool_end", "on_tool_error"):
            self._names.pop(call_id, None)
        said = {theirs: data[ours] for ours, theirs in fields.items() if ours in data}
        return {"event": event, "toolCallId": call_id, "name": name, **said}


def task(data: dict[str, Any]) -> dict[str, Any]:
    """A task's start or result; exceptions become class and message."""
    error = data.get("error")
    return {**data, "error": error_info(error)} if isinstance(error, BaseException) else data


def _debug(data: dict[str, Any]) -> dict[str, Any]:
    """What `debug` wraps: a task, its result, or a checkpoint, which also says where it and its parent are."""
    payload: dict[str, Any] = data["payload"]
    if data["type"] == "checkpoint":
        addresses = {"checkpoint": address(payload["config"]), "parent_checkpoint": address(payload["parent_config"])}
        return {**data, "payload": {**payload, **addresses}}
    return {**data, "payload": task(payload)}


def _life(change: Change) -> Event:
    """The start or end of a graph within the run's, or of the run's own, as the SDKs' `lifecycle` mode has it."""
    said = {
        "namespace": list(change.namespace),
        "graph_name": change.graph_name,
        "trigger_call_id": change.trigger_call_id,
        "tool_call_id": change.tool_call_id,
        "error": error_info(change.error) if isinstance(change.error, BaseException) else change.error,
    }
    data = {"event": change.event, **{key: value for key, value in said.items() if value is not None}}
    return "".join(("lifecycle", *(f"|{part}" for part in change.namespace))), data
