"""Database rows as wire types. JSON columns are handed on as text."""

from typing import Any, NamedTuple

import msgspec

from turnkeeper.lifecycle import RestStatus, RunStatus, thread_status
from turnkeeper.types import EMPTY, NULL, Assistant, AssistantVersion, Carried, Claimed, Cron, Ended, Run, Thread

Row = tuple[Any, ...]
Columns = dict[str, Any]

RUN = (
    "run_id", "thread_id", "assistant_id", "created_at", "updated_at", "status", "metadata", "kwargs",
    "multitask_strategy", "cancel_reason",
)  # fmt: skip
"""The columns of a run as clients see it, in the order of `get_run`."""

CLAIM = ("run_id", "thread_id", "assistant_id", "graph_id", "attempt", "kwargs", "metadata", "cancel_action")
"""The columns of a claim, in the order of `claim_run`."""


def raw(column: str | None) -> msgspec.Raw:
    """A JSON column; NULL is JSON's `null`."""
    return NULL if column is None else msgspec.Raw(column.encode())


def text(value: msgspec.Raw | None) -> str | None:
    """A value for a JSON column."""
    return None if value is None else bytes(value).decode()


def thread(row: Row) -> Thread:
    """A row of `get_thread` or `search_threads`."""
    thread_id, created, updated, state_updated, metadata, rest, config, values, interrupts, error, busy = row[:11]
    return Thread(
        thread_id=thread_id,
        created_at=created,
        updated_at=updated,
        state_updated_at=state_updated,
        metadata=raw(metadata),
        status=thread_status(busy=bool(busy), rest=rest),
        config=raw(config),
        values=raw(values),
        interrupts=raw(interrupts),
        error=raw(error),
    )


def run(row: Row) -> Run:
    """A row of `get_run` or `list_runs`."""
    run_id, thread_id, assistant_id, created, updated, status, metadata, kwargs, strategy, reason = row
    return Run(
        run_id=run_id,
        thread_id=thread_id,
        assistant_id=assistant_id,
        created_at=created,
        updated_at=updated,
        status=status,
        metadata=raw(metadata),
        kwargs=raw(kwargs),
        multitask_strategy=strategy,
        cancel_reason=reason,
    )


def assistant(row: Row) -> Assistant:
    """A row of `get_assistant` or `search_assistants`."""
    assistant_id, graph_id, name, description, config, context, metadata, version, created, updated = row[:10]
    return Assistant(
        assistant_id=assistant_id,
        graph_id=graph_id,
        name=name,
        description=description,
        config=raw(config),
        context=raw(context),
        metadata=raw(metadata),
        version=version,
        created_at=created,
        updated_at=updated,
    )


def assistant_version(row: Row) -> AssistantVersion:
    """A row of `list_versions`."""
    assistant_id, graph_id, name, description, config, context, metadata, version, created = row
    return AssistantVersion(
        assistant_id=assistant_id,
        graph_id=graph_id,
        name=name,
        description=description,
        config=raw(config),
        context=raw(context),
        metadata=raw(metadata),
        version=version,
        created_at=created,
    )


CRON = (
    "cron_id", "assistant_id", "thread_id", "user_id", "schedule", "timezone", "end_time", "next_run_date", "enabled",
    "on_run_completed", "metadata", "payload", "created_at", "updated_at",
)  # fmt: skip
"""The columns of a cron, in the order of `get_cron`."""


def cron(row: Row) -> Cron:
    """A row of `get_cron`, `search_crons` or `due_crons`."""
    found: dict[str, Any] = dict(zip(CRON, row, strict=False))  # that of a search has the total, too
    found["enabled"] = bool(found["enabled"])
    for name in ("metadata", "payload"):
        found[name] = raw(found[name])
    return Cron(**found)


def cron_columns(cron: Cron) -> Columns:
    """A cron's row."""
    return {**msgspec.structs.asdict(cron), "metadata": text(cron.metadata), "payload": text(cron.payload)}


class Head(NamedTuple):
    """A row of `thread_head`."""

    metadata: str
    temporary: bool
    last_status: RunStatus | None = None
    untouched: bool = True
    rest: RestStatus = "idle"
    asks: bool = False
    carries: bool = False


def claimed(row: Row, head: Head, carried: tuple[Carried, ...]) -> Claimed:
    """A row of `claim_run` with its thread's head and the inputs it has to carry."""
    run_id, thread_id, assistant_id, graph_id, attempt, kwargs, metadata, cancel_action = row
    return Claimed(
        run_id=run_id,
        thread_id=thread_id,
        assistant_id=assistant_id,
        graph_id=graph_id,
        attempt=attempt,
        kwargs=raw(kwargs),
        metadata=raw(metadata),
        thread_metadata=raw(head.metadata),
        temporary=bool(head.temporary),
        carried=carried,
        fresh=bool(head.untouched) and attempt == 1 and not carried,
        after_interrupt=head.last_status == "interrupted",
        cancel_action=cancel_action,
    )


def end(row: Row) -> Ended:
    """A row of `run_end`: values and interrupts only where the run is its thread's newest."""
    run_id, thread_id, status, reason, checkpoint_id, values, interrupts, error = row
    return Ended(
        run_id=run_id,
        thread_id=thread_id,
        status=status,
        values=None if values is None else raw(values),
        interrupts=EMPTY if interrupts is None else raw(interrupts),
        error=None if error is None else raw(error),
        reason=reason,
        checkpoint_id=checkpoint_id,
    )
