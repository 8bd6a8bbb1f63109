"""A run that is being admitted, as a row."""

import msgspec

from turnkeeper.codec import decode, text
from turnkeeper.storage import preconditions
from turnkeeper.storage.rows import Columns, Head
from turnkeeper.types import Assistant, RunRequest, timestamp


def columns(request: RunRequest, assistant: Assistant, head: Head, now: float, *, busy: bool) -> Columns:
    """The run's columns, and `thread_metadata`: the thread's, which is told which graph and assistant it ran with last.

    `now`: seconds since the epoch; `busy`: whether anything of the thread stands between the run and its start.
    """
    metadata = decode(head.metadata)
    belongs = {"graph_id": assistant.graph_id, "assistant_id": assistant.assistant_id}
    composed = request.compose(assistant, metadata, answers=preconditions.answers(request, head, busy=busy))
    return {
        "run_id": request.run_id,
        "thread_id": request.thread_id,
        "thread_metadata": text({**metadata, **belongs}),
        "assistant_id": request.assistant_id,
        "graph_id": assistant.graph_id,
        "created_at": timestamp(now),
        "updated_at": timestamp(now),
        "status": "pending",
        "metadata": bytes(composed.metadata).decode(),
        "kwargs": bytes(composed.kwargs).decode(),
        "multitask_strategy": request.strategy,
        "cancel_reason": None,
        "due_at": request.due_at,
        "delayed": request.due_at > now,
        **msgspec.structs.asdict(request.queueing),
    }


def may_start_at_once(row: Columns) -> bool:
    """Whether nothing but its thread and the workers decides when a run starts: no delay and no slot to wait for."""
    return not row["delayed"] and row["concurrency_key"] is None
