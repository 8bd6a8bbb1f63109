"""A step that was cut short: what its finished tasks did is kept for the run that comes next.

LangGraph stores the writes of a finished task beside the checkpoint of its step and uses them when the step is
resumed, but drops them when a new input arrives first. Here they become part of the state before that input.
"""

from typing import TYPE_CHECKING, Any, cast

import structlog
from langchain_core.runnables import RunnableConfig
from langgraph.constants import START
from langgraph.pregel.debug import is_multiple_channel_write
from langgraph.types import Command, PregelTask, StateUpdate

from turnkeeper.errors import TurnkeeperError

if TYPE_CHECKING:
    from langgraph.pregel import Pregel

log = structlog.get_logger()


async def keep_finished_tasks(graph: "Pregel[Any, Any, Any, Any]", config: RunnableConfig) -> None:
    """Write the results of the finished tasks of an unfinished step into the state; a no-op where there are none.

    What the graph does not take back is left out: the next run must not fail on it.
    """
    snapshot = await graph.aget_state(config)
    finished = [task for task in snapshot.tasks if _has_result(task)]
    if not finished:
        return
    try:
        await graph.abulk_update_state(config, [[_update(task) for task in finished]])
    except TurnkeeperError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever the graph has against it
        log.warning("the finished work of an interrupted run is left out", error=repr(error))


def _has_result(task: PregelTask) -> bool:
    """What `__start__` wrote is the run's input; whether that is kept is decided elsewhere (`carried`)."""
    return task.name != START and task.result is not None and task.error is None


def _update(task: PregelTask) -> StateUpdate:
    return StateUpdate(values=_unfold(task.result), as_node=task.name, task_id=task.id)


def _unfold(result: Any) -> Any:
    """A task that wrote a channel several times has its writes folded under `$writes`."""
    if not isinstance(result, dict):
        return result
    written = cast("dict[str, Any]", result)
    folded = {key: value["$writes"] for key, value in written.items() if is_multiple_channel_write(value)}
    if not folded:
        return written
    plain = {key: value for key, value in written.items() if key not in folded}
    return [Command(update=plain)] + [
        Command(update={key: write}) for key, writes in folded.items() for write in writes
    ]
