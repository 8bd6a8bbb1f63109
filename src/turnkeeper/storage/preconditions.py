"""What must hold before a run is admitted: decided from what a backend found in the transaction that admits it."""

from turnkeeper.errors import Conflict, TooMany
from turnkeeper.lifecycle import thread_status
from turnkeeper.storage.rows import Head
from turnkeeper.types import Run, RunRequest

BUSY = "Thread is already running a task. Wait for it to finish or choose a different multitask strategy."


def scope(request: RunRequest) -> str:
    """Within what an idempotency key stands for one request: its thread, or all stateless runs."""
    return "" if request.stateless else request.thread_id


def repetition(request: RunRequest, known: tuple[str, str], run: Run | None) -> Run:
    """The run that was made with the same idempotency key; `known` are its id and the fingerprint of its body.

    Raises `Conflict` when the key was for something else, or the run is gone.
    """
    key, (run_id, fingerprint) = request.preconditions.idempotency_key, known
    if fingerprint != request.preconditions.fingerprint:
        raise Conflict(f"Idempotency-Key '{key}' was used before with another body.")
    if run is None:
        raise Conflict(f"Idempotency-Key '{key}' was used for run {run_id}, which no longer exists.")
    return run


def check(request: RunRequest, head: Head, *, busy: bool, taken: bool) -> None:
    """Raise `Conflict` where something stands against the run; `taken` is whether there is a run of its id."""
    wanted = request.preconditions
    status = thread_status(busy=busy, rest=head.rest)
    if wanted.if_thread_status and status not in wanted.if_thread_status:
        raise Conflict(f"The thread is {status}; if_thread_status allows {', '.join(wanted.if_thread_status)}.")
    if wanted.if_waiting == "reject" and answers(request, head, busy=busy, policy="reject"):
        raise Conflict("The thread waits for an answer (if_waiting=reject): send it as command.resume.")
    if taken:
        raise Conflict(f"Run with ID {request.run_id} already exists")


def check_room(request: RunRequest, waiting: int) -> None:
    """Raise `TooMany` where the queue that a run joins is full. A run that empties the queue finds room in any case."""
    most = request.preconditions.max_queued
    if waiting >= most:
        raise TooMany(f"{most} runs wait on this thread already (setting max_queued_per_thread).")


def answers(request: RunRequest, head: Head, *, busy: bool, policy: str = "resume") -> bool:
    """Whether the thread waits for a human and the request has the given policy for that."""
    asks = head.rest == "interrupted" and bool(head.asks) and not busy
    return asks and request.preconditions.if_waiting == policy and not request.has_command
