"""Inputs of superseded runs: what a person typed is put into the state although its run never got to start."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from langchain_core.runnables import RunnableConfig

from turnkeeper.errors import TurnkeeperError
from turnkeeper.types import Carried

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver
    from langgraph.pregel import Pregel

log = structlog.get_logger()

SaverFor = Callable[[str], "BaseCheckpointSaver[Any]"]
"""A checkpointer whose checkpoints belong to the named run: rolling back its successor leaves them alone."""


class _Given(msgspec.Struct, frozen=True):
    """The part of a run's arguments that says what it was given."""

    input: Any = None
    command: Any = None
    checkpoint: Any = None


async def carry_inputs(
    graph: "Pregel[Any, Any, Any, Any]", thread_id: str, carried: Iterable[Carried], saver_for: SaverFor
) -> None:
    """Apply each input to the thread's newest state as if its run had just begun, in order.

    A run that answered an interrupt or went on from an older checkpoint gave no input to the newest state. An input
    the graph does not take (another graph's, or one without a state of channels) is left out: its run would have
    failed on it.
    """
    for each in carried:
        given = msgspec.json.decode(each.kwargs, type=_Given)
        if given.input is None or given.command is not None or given.checkpoint is not None:
            continue
        config: RunnableConfig = {
            "metadata": {"run_id": each.run_id},
            "configurable": {
                "thread_id": thread_id,
                "checkpoint_ns": "",
                "__pregel_checkpointer": saver_for(each.run_id),
            },
        }
        try:
            await graph.aupdate_state(config, given.input, as_node="__start__")
        except TurnkeeperError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever the graph has against it
            log.warning("the input of a superseded run is left out", run_id=each.run_id, error=repr(error))
