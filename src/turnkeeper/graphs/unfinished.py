"""A step that was cut short: what its finished parallel tasks did is kept for the run that comes next.

LangGraph stores the writes of a finished task beside the checkpoint of its step and uses them when the step is
resumed, but drops them when a new input arrives first. Here they become part of the state before that input.
"""

from typing import TYPE_CHECKING, Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.pregel.debug import is_multiple_channel_write
from langgraph.types import Command, PregelTask, StateUpdate

if TYPE_CHECKING:
    from langgraph.pregel import Pregel


async def keep_finished_tasks(graph: "Pregel[Any, Any, Any, Any]", config: RunnableConfig) -> None:
    """Write the results of the finished tasks of an unfinished step into the state; a no-op where there are none."""
    snapshot = await graph.aget_state(config)
    finished = [task for task in snapshot.tasks if task.result is not None and task.error is None]
    if finished and len(finished) < len(snapshot.tasks):
        await graph.abulk_update_state(config, [[_update(task) for task in finished]])


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
