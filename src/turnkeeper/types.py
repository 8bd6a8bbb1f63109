"""The nouns of the wire and of the domain, ids and the clock.

Field names are the SDK's (`langgraph_sdk.schema`). JSON that only passes through (metadata, state values) stays
`msgspec.Raw`: it is stored as text and sent as it is, never parsed on the way.
"""

import os
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from turnkeeper.lifecycle import CancelAction, RestStatus, RunStatus, Strategy, ThreadStatus

Clock = Callable[[], float]
"""Seconds since the epoch. An argument wherever time matters, so that tests decide what time it is."""

EMPTY = msgspec.Raw(b"{}")
NULL = msgspec.Raw(b"null")

StreamMode = Literal[
    "values", "messages", "messages-tuple", "updates", "events", "tasks", "checkpoints", "debug", "custom",
    "tools", "lifecycle",
]  # fmt: skip

ASSISTANT_NAMESPACE = uuid.UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")
"""Namespace of the well-known ids of system assistants (CONTRACT of the SDKs' servers: uuid5 of the graph's name)."""


def uuid7(clock: Clock = time.time) -> str:
    """A new id that sorts by the time it was made (RFC 9562, version 7)."""
    stamp = int(clock() * 1000) & 0xFFFF_FFFF_FFFF
    noise = int.from_bytes(os.urandom(10), "big")
    high, low = noise >> 68, noise & 0x3FFF_FFFF_FFFF_FFFF
    digits = f"{stamp << 80 | 0x7 << 76 | high << 64 | 0x2 << 62 | low:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def system_assistant_id(graph_id: str) -> str:
    """The id of the assistant every graph has from the start."""
    return str(uuid.uuid5(ASSISTANT_NAMESPACE, graph_id))


def timestamp(seconds: float) -> str:
    """ISO 8601 in UTC with microseconds, as the SDKs parse it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")


class Assistant(msgspec.Struct, frozen=True):
    """A graph with a configuration of its own (`langgraph_sdk.schema.Assistant`)."""

    assistant_id: str
    graph_id: str
    name: str
    description: str | None
    config: msgspec.Raw
    context: msgspec.Raw
    metadata: msgspec.Raw
    version: int
    created_at: str
    updated_at: str


class AssistantVersion(msgspec.Struct, frozen=True):
    """What an assistant was at one of its versions (`langgraph_sdk.schema.AssistantVersion`)."""

    assistant_id: str
    graph_id: str
    name: str
    description: str | None
    config: msgspec.Raw
    context: msgspec.Raw
    metadata: msgspec.Raw
    version: int
    created_at: str


class Thread(msgspec.Struct, frozen=True):
    """A conversation (`langgraph_sdk.schema.Thread`); `status` is derived when it is read, never stored."""

    thread_id: str
    created_at: str
    updated_at: str
    state_updated_at: str
    metadata: msgspec.Raw
    status: ThreadStatus
    config: msgspec.Raw
    values: msgspec.Raw
    interrupts: msgspec.Raw
    error: msgspec.Raw


class Run(msgspec.Struct, frozen=True):
    """One turn of a thread (`langgraph_sdk.schema.Run`)."""

    run_id: str
    thread_id: str
    assistant_id: str
    created_at: str
    updated_at: str
    status: RunStatus
    metadata: msgspec.Raw
    kwargs: msgspec.Raw
    multitask_strategy: Strategy
    cancel_reason: str | None


class NewThread(msgspec.Struct, frozen=True):
    """What is needed to make a thread."""

    thread_id: str
    metadata: dict[str, Any]
    temporary: bool = False
    ttl: msgspec.Raw | None = None


class Carried(msgspec.Struct, frozen=True):
    """A superseded run whose input is to be put into the state ahead of its successor's."""

    run_id: str
    kwargs: msgspec.Raw


class Preconditions(msgspec.Struct, frozen=True):
    """What a run's admission depends on, besides its strategy."""

    if_thread_status: tuple[ThreadStatus, ...] = ()
    """The statuses the thread may have; empty: any."""
    if_waiting: Literal["continue", "reject", "resume"] = "continue"
    """A thread that waits for a human: drop the question, refuse the run, or take its input for the answer."""
    idempotency_key: str | None = None
    fingerprint: str = ""
    """What the body was, to tell a repetition from another request with the same key."""
    max_queued: int = 1000


class Supersession(msgspec.Struct, frozen=True):
    """What an interrupting run does to those before it."""

    keep_queued: bool = False
    """Leave waiting runs in the queue instead of cancelling them."""
    keep_inputs: bool = True
    """Carry the inputs of cancelled runs into the state."""


class Composed(msgspec.Struct, frozen=True):
    """A run's own metadata and arguments after its assistant's and its thread's were merged in, as JSON."""

    metadata: msgspec.Raw
    kwargs: msgspec.Raw


class Compose(Protocol):
    """Puts a run together in the transaction that admits it."""

    def __call__(self, assistant: "Assistant", thread_metadata: dict[str, Any], *, answers: bool) -> Composed:
        """Merge in what the assistant and the thread add; with `answers` the input is the answer to an interrupt."""
        ...


class Queueing(msgspec.Struct, frozen=True):
    """When a run's turn comes among those of other threads, once it is the next of its own."""

    priority: int = 0
    """-100 to 100; higher ones go first. A thread has the highest of its due runs."""
    fairness_key: str | None = None
    """Whose run it is: those of one key take turns with those of another. By default a thread stands for itself."""
    concurrency_key: str | None = None
    """What it needs a slot of, if it needs one: see `Limits`."""


class RunRequest(msgspec.Struct, frozen=True):
    """A run as asked for, before its assistant and thread are known."""

    run_id: str
    thread_id: str
    assistant_id: str
    strategy: Strategy
    compose: "Compose"
    due_at: float
    stateless: bool = False
    has_command: bool = False
    queueing: Queueing = Queueing()
    preconditions: Preconditions = Preconditions()
    supersession: Supersession = Supersession()
    new_thread: NewThread | None = None
    """Made in the same transaction when the thread does not exist; `None`: the thread must exist."""


class Stopped(msgspec.Struct, frozen=True):
    """What a cancel did: runs that had not started are at their end, those that run are told to stop."""

    ended: tuple["Ended", ...] = ()
    stopping: tuple[str, ...] = ()
    found: bool = True
    """Whether any of the runs named was active."""


class Cron(msgspec.Struct, frozen=True):
    """A run that comes again and again (`langgraph_sdk.schema.Cron`)."""

    cron_id: str
    assistant_id: str
    thread_id: str | None
    """`None`: each run has a thread of its own."""
    user_id: str | None
    schedule: str
    timezone: str | None
    end_time: str | None
    next_run_date: str | None
    """The tick that is next; `None` while there is none, as the cron has ended or is switched off."""
    enabled: bool
    on_run_completed: Literal["delete", "keep"] | None
    metadata: msgspec.Raw
    payload: msgspec.Raw
    """What is asked of each run, as the body of a run says it."""
    created_at: str
    updated_at: str


class Admitted(msgspec.Struct, frozen=True):
    """A run that is on disk, and the runs that stop for it; with a repeated idempotency key the run there was."""

    run: Run
    stopped: Stopped = Stopped()


class Claimed(msgspec.Struct, frozen=True):
    """A run that one attempt may now execute."""

    run_id: str
    thread_id: str
    assistant_id: str
    graph_id: str
    attempt: int
    kwargs: msgspec.Raw
    metadata: msgspec.Raw
    thread_metadata: msgspec.Raw
    temporary: bool
    carried: tuple[Carried, ...]
    fresh: bool
    """Whether nothing is stored of the thread's state yet."""
    after_interrupt: bool
    """Whether the run before was interrupted, so that its unfinished step may hold finished work."""
    cancel_action: CancelAction | None
    crashes: int = 0
    """How often a server went down with it, without having let go of it."""


class Claims(msgspec.Struct, frozen=True):
    """What a claim took, and when the next delayed run is due (seconds since the epoch)."""

    taken: list[Claimed]
    next_due: float | None


class Outcome(msgspec.Struct, frozen=True):
    """How an attempt ended and what it left behind."""

    status: Literal["success", "error", "timeout", "interrupted"]
    values: msgspec.Raw | None = None
    """The thread's values now, as JSON; `None` leaves what the thread had."""
    interrupts: msgspec.Raw = EMPTY
    rest: RestStatus = "idle"
    error: msgspec.Raw | None = None
    checkpoint_id: str | None = None
    reason: str | None = None
    """Why it ended before its time, if no cancel was asked for."""


class Ended(msgspec.Struct, frozen=True):
    """The end of a run as its listeners hear of it. `status` is `None` when the run was rolled back."""

    run_id: str
    thread_id: str
    status: RunStatus | None
    values: msgspec.Raw | None = None
    interrupts: msgspec.Raw = EMPTY
    error: msgspec.Raw | None = None
    reason: str | None = None
    checkpoint_id: str | None = None
    more: bool = False
    """Whether this one's end may let others start: of the thread, or of those that wait for its slot."""


class Limits(msgspec.Struct, frozen=True):
    """How many runs of one concurrency key are executed at once, over all servers."""

    each: int | None = None
    """Of every key that is not named; `None`: as many as there are."""
    named: dict[str, int] = {}


NO_LIMITS = Limits()


class Waiting(NamedTuple):
    """How many threads have a run that may start, and what it waits for; and how many have one under way."""

    for_worker: int
    """They would start at once if a worker had room."""
    for_slot: int
    """As many runs of their concurrency key as may be are executed already."""
    running: int


class Held(NamedTuple):
    """A run that still belongs to a worker."""

    attempt: int
    cancel: CancelAction | None
    """Whether it is to stop."""


class JournalEntry(msgspec.Struct, frozen=True):
    """One move of one run, as it was written down when it happened."""

    run_id: str
    event: Literal["created", "started", "superseded_by", "cancel_requested", "released", "ended", "tombstone"]
    attempt: int
    detail: str | None
    at: str


class Select(msgspec.Struct, frozen=True):
    """Which rows of a search, in what order."""

    limit: int = 10
    offset: int = 0
    sort_by: str = "created_at"
    descending: bool = True


class Page(msgspec.Struct, frozen=True):
    """One page of a search and how many rows match in all."""

    items: list[Any]
    total: int
