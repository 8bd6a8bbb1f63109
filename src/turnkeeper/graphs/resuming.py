"""Answers to interrupts: one that answers nothing fails its run and leaves the thread as it was.

LangGraph checks answers that name their interrupt when it is told to be strict, and lets any other answer pass where
nothing waits, as a graph halted at a static breakpoint is resumed in the same way.
"""

from typing import TYPE_CHECKING, Any

from langchain_core.runnables import RunnableConfig
from langgraph.errors import UnknownInterruptError

if TYPE_CHECKING:
    from langgraph.pregel import Pregel


async def refuse_idle_resume(graph: "Pregel[Any, Any, Any, Any]", config: RunnableConfig) -> None:
    """Raise `UnknownInterruptError` when nothing waits on the thread at all."""
    snapshot = await graph.aget_state(config)
    if not snapshot.next:
        raise UnknownInterruptError("Nothing waits for an answer on this thread.", reason="not_pending")


def changed_nothing(error: BaseException) -> bool:
    """Whether a run failed before it did anything, so that its thread is what it was."""
    return isinstance(error, UnknownInterruptError)
