"""A run's stream as events of the thread-centric protocol: method, namespace and data, as the SDKs' decoders expect.

The events of the whole run (`running` at its start, how it ended at its end) are not made here: they belong to those
who know when its end is on disk.
"""

from collections.abc import Callable, Collection
from typing import Any, cast

import structlog
from langgraph.types import Command, Interrupt

from turnkeeper import codec
from turnkeeper.graphs.frames import task
from turnkeeper.graphs.items import INTERRUPT, Item, Namespace
from turnkeeper.graphs.protocol.messages import SpokenMessages
from turnkeeper.graphs.protocol.tell import Tell, lifecycle_data
from turnkeeper.graphs.subgraphs import Change, Ending, Subgraphs

log = structlog.get_logger()


class ProtocolEvents:
    """Translates one run's stream, item by item. What cannot be translated is left out: nobody's run fails for it."""

    def __init__(self, tell: Tell, modes: Collection[str]) -> None:
        """`modes`: what LangGraph was asked to stream, which decides what can be told."""
        self._tell = tell
        self._paired = "checkpoints" in modes
        self._held: tuple[Namespace, Any] | None = None
        self._messages = SpokenMessages(tell)
        self._subgraphs = Subgraphs(self._changed, by_tasks="tasks" in modes)
        self._finished = False
        self._asked: dict[str, tuple[Namespace, Interrupt[Any]]] = {}
        self._take: dict[str, Callable[[Namespace, Any], None]] = {
            "values": self._values,
            "messages": lambda namespace, data: self._messages.take(namespace, *data),
            "tools": lambda namespace, data: tell("tools", namespace, _tool(data)),
            "tasks": lambda namespace, data: tell("tasks", namespace, task(data)),
            "checkpoints": lambda namespace, data: tell("checkpoints", namespace, _checkpoint(data)),
            "updates": lambda namespace, data: tell("updates", namespace, data),
            "custom": lambda namespace, data: tell("custom", namespace, data),
        }

    def take(self, item: Item) -> None:
        """Tell what an item says, if anybody wants to know."""
        if not self._tell.wanted():
            if item[1] == "messages":
                self._messages.miss(item[2][0])
            return
        try:
            self._follow(item)
        except Exception:
            log.exception("an item of a run's stream cannot be told", mode=item[1])

    def _follow(self, item: Item) -> None:
        namespace, mode, data = item
        held, self._held = self._held, None
        if held is not None and (namespace, "checkpoints") != (held[0], mode):
            self._tell("values", *held)
            held = None
        self._subgraphs.see(item)
        translate = self._take.get(mode)
        if translate is not None:
            translate(namespace, data)
        if held is not None:
            self._tell("values", *held)

    def finish(self, ending: Ending, error: BaseException | None = None) -> None:
        """The stream is over: close what it left open; once."""
        if self._finished:
            return
        self._finished = True
        try:
            self._close(ending, error)
        except Exception:
            log.exception("the end of a run's stream cannot be told")

    def _close(self, ending: Ending, error: BaseException | None) -> None:
        if self._held is not None:
            self._tell("values", *self._held)
        self._messages.close(finished=error is None)
        self._subgraphs.close(ending, error)
        if error is not None:
            self._asked.clear()

    def ask(self) -> None:
        """Ask the questions the run waits for; they may be answered from now on."""
        for namespace, question in self._asked.values():
            self._tell("input.requested", namespace, _question(question))

    def _values(self, namespace: Namespace, data: Any) -> None:
        """Values wait for the checkpoint that LangGraph streams right after them, to be told behind it."""
        if isinstance(data, dict) and INTERRUPT in data:
            values = cast("dict[str, Any]", data)
            for question in values[INTERRUPT]:
                self._asked.setdefault(question.id, (namespace, question))
            rest = {key: value for key, value in values.items() if key != INTERRUPT}
            if rest:
                self._tell("values", namespace, rest)
            return
        self._messages.end_step(namespace)
        if self._paired:
            self._held = (namespace, data)
        else:
            self._tell("values", namespace, data)

    def _changed(self, change: Change) -> None:
        data = lifecycle_data(
            change.event,
            graph_name=change.graph_name,
            error=change.error,
            namespace=list(change.namespace),
            trigger_call_id=change.trigger_call_id,
            cause=None if change.tool_call_id is None else {"type": "toolCall", "tool_call_id": change.tool_call_id},
        )
        self._tell("lifecycle", change.namespace, data)


def _question(question: Interrupt[Any]) -> dict[str, Any]:
    """An interrupt. The protocol says `payload`; the Python SDK reads `value`."""
    asked = {"interrupt_id": question.id, "payload": question.value, "value": question.value}
    schema = question.response_schema
    return asked if schema is None else {**asked, "response_schema": schema}


def _checkpoint(data: dict[str, Any]) -> dict[str, Any]:
    """Where a checkpoint stands in the thread's history."""
    parent: dict[str, Any] = data["parent_config"] or {}
    parent_id = parent.get("configurable", {}).get("checkpoint_id")
    metadata = data["metadata"]
    return {
        "id": data["config"]["configurable"]["checkpoint_id"],
        **({} if parent_id is None else {"parent_id": parent_id}),
        "step": metadata["step"],
        "source": metadata["source"],
    }


def _tool(data: dict[str, Any]) -> dict[str, Any]:
    """An event of a tool call. Deltas are text; a `Command` says what it is, so that clients find the answer in it."""
    if "delta" in data and not isinstance(data["delta"], str):
        return {**data, "delta": codec.text(data["delta"])}
    output = data.get("output")
    if isinstance(output, Command):
        command = cast("Command[Any]", output)
        return {**data, "output": {"lg_name": "Command", "update": command.update, "goto": command.goto}}
    return data
