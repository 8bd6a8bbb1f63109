"""What the server needs of its database. Every method that changes something returns only once it is on disk."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from turnkeeper.contracts.events import EventStore
from turnkeeper.contracts.signals import Signals
from turnkeeper.lifecycle import CancelAction
from turnkeeper.types import (
    Admitted,
    Assistant,
    AssistantVersion,
    Claimed,
    Claims,
    Clock,
    Cron,
    Ended,
    Held,
    JournalEntry,
    NewThread,
    Outcome,
    Page,
    Run,
    RunRequest,
    Select,
    Stopped,
    Thread,
    Waiting,
)

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver
    from langgraph.store.base import BaseStore


class RunStore(Protocol):
    """The moves of `lifecycle` as guarded statements: an illegal move changes nothing."""

    async def admit(self, requests: Sequence[RunRequest], signals: Signals) -> list[Admitted]:
        """Put runs in their threads' queues, all or none, and stop what has to stop for them.

        A run that could start at once may be claimed in the same transaction, for a worker that `signals` knows to have
        room; otherwise, and for the rest, workers are woken.

        Raises `NotFound` for an unknown thread or assistant, `Conflict` when the strategy is `reject` and the thread
        is busy.
        """
        ...

    async def claim(self, limit: int) -> Claims:
        """Take up to `limit` due runs, at most one per thread and none of a thread that has a running run (I1, I2).

        Threads take turns: higher priorities first, then one run per fairness key and round. A run whose concurrency
        key is at its limit is not there to be taken.
        """
        ...

    async def finish(self, run_id: str, attempt: int, outcome: Outcome) -> Ended:
        """End an attempt and write its thread's newest state. A cancel accepted meanwhile decides how it ends.

        Raises `Fenced` when the attempt no longer owns the run (I7), and whatever a deferred checkpoint failed with:
        the run is as it was then, and may be finished again.
        """
        ...

    async def release(self, run_id: str, attempt: int, reason: str = "server stopping") -> None:
        """Put a run back in the queue, to go on from its last checkpoint. Raises `Fenced`."""
        ...

    async def seal(self, run_id: str, attempt: int) -> int:
        """Refuse whatever this attempt still writes; returns the attempt that may end the run. Raises `Fenced`."""
        ...

    async def recover(self) -> int:
        """After a crash: put every running run back in the queue; returns how many (I6).

        Only for who is alone on the storage: several have `Leases`.
        """
        ...

    async def cancel(self, thread_id: str, run_ids: Sequence[str], action: CancelAction, reason: str) -> Stopped:
        """Stop runs of a thread: those that wait at once, those that run once their attempt lets go."""
        ...

    async def cancel_by_status(self, status: str, action: CancelAction, reason: str) -> Stopped:
        """Stop the active runs of all threads: `pending`, `running` or `all`."""
        ...

    async def cancel_thread(self, thread_id: str, action: CancelAction, reason: str) -> Stopped:
        """Stop every active run of a thread."""
        ...

    async def get(self, thread_id: str, run_id: str) -> Run:
        """One run. Raises `NotFound`."""
        ...

    async def of_thread(self, thread_id: str, *, status: str | None, limit: int, offset: int) -> list[Run]:
        """The runs of a thread, newest first."""
        ...

    async def end(self, thread_id: str, run_id: str) -> Ended | None:
        """How a run ended, `None` while it is active. Raises `NotFound`."""
        ...

    async def inactive(self, run_ids: Sequence[str]) -> list[str]:
        """Those of the runs that are not active any more, or gone."""
        ...

    async def waiting(self) -> Waiting:
        """How many threads wait for a worker, and for a slot."""
        ...

    async def delete(self, thread_id: str, run_id: str) -> None:
        """Remove a run's row. Raises `NotFound`."""
        ...


class Leases(Protocol):
    """A running run is its worker's for as long as the worker is heard of. Who is silent for too long loses it."""

    @property
    def seconds(self) -> float:
        """How long a worker may be silent."""
        ...

    async def renew(self) -> dict[str, Held]:
        """Say that this process is alive; which runs it has, by id.

        A run it executes that is not among them is somebody else's by now, or has ended. Raises `Unavailable`.
        """
        ...

    async def expire(self) -> int:
        """Put the runs of workers that were silent for too long back in the queue; how many. Raises `Unavailable`."""
        ...


class ThreadStore(Protocol):
    """Threads and their newest state as clients see it."""

    async def create(self, thread: NewThread, *, exist_ok: bool) -> Thread:
        """Make a thread. Raises `Conflict` when the id is taken; with `exist_ok` the old one is returned as it is."""
        ...

    async def get(self, thread_id: str) -> Thread:
        """One thread. Raises `NotFound`."""
        ...

    async def update(self, thread_id: str, metadata: dict[str, Any], ttl: msgspec.Raw | None) -> Thread:
        """Merge metadata, shallow. Raises `NotFound`."""
        ...

    async def publish_state(self, thread_id: str, outcome: Outcome) -> None:
        """Show clients a state that was read outside a run, if it still is the newest. Raises `NotFound`."""
        ...

    async def delete(self, thread_id: str) -> Stopped:
        """Remove a thread with its checkpoints and its runs; those still active are at their end. Raises `NotFound`."""
        ...

    async def copy(self, thread_id: str, copy_id: str) -> Thread:
        """A new thread with the same state and history. Raises `NotFound`."""
        ...

    async def journal(self, thread_id: str) -> list[JournalEntry]:
        """Every move of the thread's runs, oldest first. Raises `NotFound`."""
        ...

    async def search(self, filters: dict[str, Any], select: Select) -> Page:
        """Threads that match every filter: `ids`, `metadata`, `values` (JSON texts, subset) and `status`."""
        ...

    async def count(self, filters: dict[str, Any]) -> int:
        """How many threads match."""
        ...


class AssistantStore(Protocol):
    """Assistants and their versions."""

    async def create(self, assistant: Assistant, *, exist_ok: bool) -> Assistant:
        """Make an assistant. Raises `Conflict` when the id is taken; with `exist_ok` the old one is returned."""
        ...

    async def get(self, assistant_id: str) -> Assistant:
        """One assistant. Raises `NotFound`."""
        ...

    async def update(self, assistant_id: str, changes: dict[str, Any]) -> Assistant:
        """A new version with `changes` over the old one; `metadata` is merged. Raises `NotFound`."""
        ...

    async def versions(
        self, assistant_id: str, *, metadata: str | None, limit: int, offset: int
    ) -> list[AssistantVersion]:
        """What the assistant was, newest version first; `metadata` is a JSON text, subset. Raises `NotFound`."""
        ...

    async def restore(self, assistant_id: str, version: int) -> Assistant:
        """Make the assistant what it was at `version`, its graph included. Raises `NotFound`."""
        ...

    async def delete(self, assistant_id: str) -> None:
        """Remove an assistant. Raises `NotFound`."""
        ...

    async def threads(self, assistant_id: str) -> list[str]:
        """The threads whose metadata name the assistant."""
        ...

    async def search(self, filters: dict[str, Any], select: Select) -> Page:
        """Assistants that match every filter: `graph_id`, `name` (substring) and `metadata` (JSON text, subset)."""
        ...

    async def count(self, filters: dict[str, Any]) -> int:
        """How many assistants match."""
        ...


class CronStore(Protocol):
    """Crons, and what happens when one is due."""

    async def create(self, cron: Cron) -> Cron:
        """Make a cron. Raises `NotFound` for an unknown assistant or thread; it goes with either of them."""
        ...

    async def get(self, cron_id: str) -> Cron:
        """One cron. Raises `NotFound`."""
        ...

    async def update(self, cron_id: str, change: Callable[[Cron], Cron]) -> Cron:
        """Make a cron what `change` makes of it, which may be called more than once, and refuse. Raises `NotFound`."""
        ...

    async def delete(self, cron_id: str) -> None:
        """Remove a cron; its runs stay. Raises `NotFound`."""
        ...

    async def search(self, filters: dict[str, Any], select: Select) -> Page:
        """Crons that match every filter: `assistant_id`, `thread_id`, `enabled` and `metadata` (JSON text, subset)."""
        ...

    async def count(self, filters: dict[str, Any]) -> int:
        """How many crons match."""
        ...

    async def due(self, now: float, limit: int) -> list[Cron]:
        """The first crons whose tick has come at `now` (seconds since the epoch)."""
        ...

    async def next_due(self) -> str | None:
        """The earliest tick of all crons."""
        ...

    async def fire(self, cron: Cron, upcoming: str | None, request: RunRequest, signals: Signals) -> Admitted | None:
        """Admit the run of a cron's tick, and name the next one, in one transaction: a tick has one run, or none.

        `None` when the cron is not as it was any more: somebody else was first, or it was changed, or removed. Raises
        as `RunStore.admit`.
        """
        ...

    async def skip(self, cron: Cron, upcoming: str | None) -> bool:
        """Name the next tick without a run for this one; False when the cron is not as it was any more."""
        ...


class Storage(Protocol):
    """The truth. Its stores share one database, so that a move is one transaction."""

    @property
    def runs(self) -> RunStore:
        """The queues of all threads."""
        ...

    @property
    def leases(self) -> Leases | None:
        """Who executes what, where workers of several processes share the storage."""
        ...

    @property
    def clock(self) -> Clock:
        """The time that all who share the storage go by."""
        ...

    @property
    def threads(self) -> ThreadStore:
        """Threads."""
        ...

    @property
    def assistants(self) -> AssistantStore:
        """Assistants."""
        ...

    @property
    def crons(self) -> CronStore:
        """Crons."""
        ...

    @property
    def events(self) -> EventStore:
        """Events kept for later."""
        ...

    @property
    def items(self) -> "BaseStore":
        """LangGraph's store: what graphs remember across threads."""
        ...

    def run_checkpointer(
        self, claimed: Claimed, *, deferred: bool, author: str | None = None
    ) -> "BaseCheckpointSaver[str]":
        """Checkpoints written by one attempt; once it no longer owns its run, its writes raise `Fenced` (I7).

        They belong to the run `author`, by default the attempt's own: whose they are decides what a rollback removes.

        With `deferred` the puts are not waited for; one that fails makes the run's `finish` raise.
        """
        ...

    def thread_checkpointer(self, thread_id: str) -> "BaseCheckpointSaver[str]":
        """Checkpoints read or edited from outside a run; writes raise `Conflict` while the thread is busy."""
        ...

    async def purge(self, now: float) -> int:
        """Remove what was kept long enough at `now` (seconds since the epoch), bit by bit; how many rows that were.

        That is idempotency keys, what the journal tells of threads that are gone, and expired items.
        """
        ...

    def open(self) -> None:
        """Make ready; raises `ConfigError`."""
        ...

    def close(self) -> None:
        """Let every write finish."""
        ...
