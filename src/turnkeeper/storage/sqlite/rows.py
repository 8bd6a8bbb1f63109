"""Database rows as wire types. JSON columns are handed on as text."""

from typing import Any

import msgspec

from turnkeeper.lifecycle import thread_status
from turnkeeper.types import EMPTY, NULL, Assistant, Claimed, Ended, Run, Thread

Row = tuple[Any, ...]


def raw(column: str | None) -> msgspec.Raw:
    """A JSON column; NULL is JSON's `null`."""
    return NULL if column is None else msgspec.Raw(column.encode())


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


def claimed(row: Row, thread_head: Row) -> Claimed:
    """A row of `claim_run` with its thread's `thread_head`."""
    run_id, thread_id, assistant_id, graph_id, attempt, kwargs, metadata, cancel_action = row
    thread_metadata, temporary, last_status, untouched = thread_head
    return Claimed(
        run_id=run_id,
        thread_id=thread_id,
        assistant_id=assistant_id,
        graph_id=graph_id,
        attempt=attempt,
        kwargs=raw(kwargs),
        metadata=raw(metadata),
        thread_metadata=raw(thread_metadata),
        temporary=bool(temporary),
        fresh=bool(untouched) and attempt == 1,
        after_interrupt=last_status == "interrupted",
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
