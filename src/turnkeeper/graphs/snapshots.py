"""LangGraph's state snapshots as the wire's `ThreadState` (`langgraph_sdk.schema.ThreadState`)."""

from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.types import PregelTask, StateSnapshot

CHECKPOINT_KEYS = ("thread_id", "checkpoint_ns", "checkpoint_id", "checkpoint_map")


def thread_state(snapshot: StateSnapshot, *, addressed: bool = False) -> dict[str, Any]:
    """One state of a thread. A thread that never ran has `checkpoint: null` and empty values.

    With `addressed` it has a checkpoint without an id, and metadata: `RemoteGraph` looks into both.
    """
    ran = snapshot.metadata is not None
    checkpoint = address(snapshot.config) if ran or addressed else None
    if checkpoint is not None and not ran:
        checkpoint = {**checkpoint, "checkpoint_id": None}
    parent = address(snapshot.parent_config)
    return {
        "values": values(snapshot) if ran else {},
        "next": list(snapshot.next),
        "tasks": [_task(task) for task in snapshot.tasks],
        "metadata": checkpoint and {**(snapshot.metadata or {}), "thread_id": checkpoint.get("thread_id")},
        "created_at": snapshot.created_at,
        "checkpoint": checkpoint,
        "parent_checkpoint": parent,
        "interrupts": list(snapshot.interrupts),
        "checkpoint_id": checkpoint and checkpoint.get("checkpoint_id"),
        "parent_checkpoint_id": parent and parent.get("checkpoint_id"),
    }


def never_ran(thread_id: str) -> StateSnapshot:
    """The state of a thread no graph has seen."""
    nowhere: RunnableConfig = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
    return StateSnapshot({}, (), nowhere, None, None, None, (), ())


def values(snapshot: StateSnapshot) -> Any:
    """A state's values. A function that has not returned yet has none; clients look for keys in them."""
    return {} if snapshot.values is None else snapshot.values


def interrupts_by_task(snapshot: StateSnapshot) -> dict[str, list[Any]]:
    """The interrupts that wait for an answer, by the task that raised them."""
    return {task.id: list(task.interrupts) for task in snapshot.tasks if task.interrupts}


def address(config: RunnableConfig | None) -> dict[str, Any] | None:
    """The address of a checkpoint, without what else a config carries."""
    if config is None:
        return None
    configurable = config.get("configurable", {})
    return {"checkpoint_ns": "", **{key: configurable[key] for key in CHECKPOINT_KEYS if key in configurable}}


def _task(task: PregelTask) -> dict[str, Any]:
    """A task of a state; a subgraph's is either its address or, when asked for, its whole state."""
    nested = isinstance(task.state, StateSnapshot)
    return {
        "id": task.id,
        "name": task.name,
        "path": task.path,
        "error": task.error if isinstance(task.error, str | None) else repr(task.error),  # stored as text
        "interrupts": list(task.interrupts),
        "checkpoint": None if nested or task.state is None else address(cast("RunnableConfig", task.state)),
        "state": thread_state(cast("StateSnapshot", task.state), addressed=True) if nested else None,
        "result": task.result,
    }
