"""How the end of a run reads in the streams of its thread."""

from typing import Any

import msgspec

from turnkeeper.contracts import RUN_DONE, Frame, Told
from turnkeeper.lifecycle import RunStatus
from turnkeeper.types import EMPTY, Ended

PROTOCOL_WORDS: dict[RunStatus, str] = {
    "success": "completed",
    "error": "failed",
    "timeout": "failed",
    "interrupted": "interrupted",
}


def end_told(ended: Ended, *, durable: bool, protocol: bool) -> tuple[Told, Told]:
    """What both dialects say of a run's end."""
    done = msgspec.json.encode({"status": RUN_DONE, "run_id": ended.run_id})
    return (
        Told(ended.thread_id, ended.run_id, RUN_DONE, done, durable=durable),
        Told(ended.thread_id, ended.run_id, "lifecycle", _lifecycle(ended), protocol=True, durable=protocol),
    )


def is_end(frame: Frame) -> bool:
    """Whether a frame says that its run has ended."""
    if frame.event == RUN_DONE:
        return True
    if frame.event != "lifecycle" or frame.namespace:
        return False
    said: dict[str, Any] = msgspec.json.decode(frame.data)
    return said.get("event") in PROTOCOL_WORDS.values()


def _lifecycle(ended: Ended) -> bytes:
    """The event protocol's data for the root; a run that waits for a human is `interrupted`, and so is one undone."""
    word = PROTOCOL_WORDS.get(ended.status, "interrupted") if ended.status is not None else "interrupted"
    waits = word == "completed" and ended.interrupts != EMPTY
    said: dict[str, Any] = {"event": "interrupted" if waits else word}
    if word == "failed" and ended.error is not None:
        said["error"] = msgspec.json.decode(ended.error).get("message", "")
    return msgspec.json.encode(said)
