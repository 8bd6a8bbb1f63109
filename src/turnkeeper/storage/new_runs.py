"""A run that is being admitted, as a row."""

from turnkeeper.codec import decode, text
from turnkeeper.storage import preconditions
from turnkeeper.storage.rows import Columns, Head
from turnkeeper.types import Assistant, RunRequest


def columns(request: RunRequest, assistant: Assistant, head: Head, now: str, *, busy: bool) -> Columns:
    """The run's columns, and `thread_metadata`: the thread's, which is told which graph and assistant it ran with last.

    `busy`: whether anything of the thread stands between the run and its start.
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
        "created_at": now,
        "updated_at": now,
        "status": "pending",
        "metadata": bytes(composed.metadata).decode(),
        "kwargs": bytes(composed.kwargs).decode(),
        "multitask_strategy": request.strategy,
        "cancel_reason": None,
        "due_at": request.due_at,
    }
