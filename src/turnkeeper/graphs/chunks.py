"""What a model says in content-block events, as the message chunks of a run's own stream."""

from collections.abc import Mapping
from typing import Any

from langchain_core.messages import AIMessageChunk


class Chunks:
    """Remembers which message each run of a model is at; its events do not repeat it."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}

    def chunk(self, event: Mapping[str, Any], metadata: Mapping[str, Any]) -> AIMessageChunk | None:
        """The chunk an event amounts to; `None` for one that only frames others."""
        run_id = str(metadata.get("run_id"))
        match event["event"]:
            case "message-start":
                self._ids[run_id] = str(event.get("id") or f"lc_run--{run_id}")
                return None
            case "message-finish":
                usage: Any = event.get("usage")
                message_id = self._ids.pop(run_id, None)
                return AIMessageChunk(content="", id=message_id, usage_metadata=usage, chunk_position="last")
            case "content-block-start":
                return self._of(run_id, _begun(event["content"], event["index"]))
            case "content-block-delta":
                return self._of(run_id, _added(event["delta"], event["index"]))
            case _:
                return None

    def _of(self, run_id: str, said: dict[str, Any] | None) -> AIMessageChunk | None:
        if said is None:
            return None
        fields: dict[str, Any] = {"content": "", **said, "id": self._ids.get(run_id)}
        return AIMessageChunk(**fields)


def _begun(block: Mapping[str, Any], index: int) -> dict[str, Any] | None:
    """A tool call says its name and id when it begins; other blocks say nothing yet."""
    if block["type"] != "tool_call_chunk":
        return None
    call = {"name": block.get("name"), "id": block.get("id"), "args": "", "index": index}
    return {"tool_call_chunks": [call]}


def _added(delta: Mapping[str, Any], index: int) -> dict[str, Any] | None:
    match delta["type"]:
        case "text-delta":
            return {"content": delta["text"]}
        case "reasoning-delta":
            return {"content": [{"type": "reasoning", "reasoning": delta["reasoning"], "index": index}]}
        case "tool-call-delta":
            return {"tool_call_chunks": [{"name": None, "id": None, "args": delta["args"], "index": index}]}
        case _:
            return None
