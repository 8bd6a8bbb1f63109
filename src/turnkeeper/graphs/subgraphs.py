"""When the graphs within a graph start and end, as far as a run's stream shows it."""

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from turnkeeper.graphs.items import INTERRUPT, Item, Namespace

Ending = Literal["completed", "failed", "interrupted"]


class Change(msgspec.Struct, frozen=True):
    """One graph within the run's that started or ended."""

    namespace: Namespace
    event: Literal["started", "completed", "failed", "interrupted"]
    graph_name: str
    trigger_call_id: str | None = None
    """The task that runs it."""
    tool_call_id: str | None = None
    """The tool call that started it, when an agent was called as a tool."""
    error: Any = None


class Subgraphs:
    """Follows one run. A subgraph starts with its first task and ends with the task that runs it.

    Where tasks are not streamed, it starts with its first item and ends with the step of the graph around it.
    """

    def __init__(self, changed: Callable[[Change], None], *, by_tasks: bool) -> None:
        self._changed = changed
        self._by_tasks = by_tasks
        self._open: dict[Namespace, str] = {}
        self._seen: set[Namespace] = set()
        self._tool_calls: dict[str, str] = {}

    def see(self, item: Item) -> None:
        """Note what an item shows."""
        namespace, mode, data = item
        if mode == "tasks":
            self._task(namespace, data)
        elif not self._by_tasks:
            self._start(namespace, None)
            if mode == "values" and self._open and not (isinstance(data, dict) and INTERRUPT in data):
                self._end([each for each in self._within(namespace) if each != namespace], "completed", None)

    def close(self, ending: Ending, error: object = None) -> None:
        """The run is over, and with it all that is still open, innermost first."""
        self._end(self._within(()), ending, error)

    def _task(self, namespace: Namespace, data: dict[str, Any]) -> None:
        if "result" not in data:
            self._note_tool_call(data)
            metadata: dict[str, Any] = data.get("metadata") or {}
            self._start(namespace, metadata.get("lc_agent_name"))
            return
        error = data.get("error")
        ending: Ending = "interrupted" if data.get("interrupts") else "completed" if error is None else "failed"
        self._end(self._within((*namespace, f"{data['name']}:{data['id']}")), ending, error)

    def _start(self, namespace: Namespace, agent: str | None) -> None:
        if not namespace or namespace in self._seen:
            return
        self._seen.add(namespace)
        task = next((part for part in reversed(namespace) if ":" in part), namespace[-1])
        node, _, task_id = task.partition(":")  # a task's second graph and those after it have a number behind it
        name = self._open[namespace] = agent or node
        tool_call_id = None if agent is None else self._tool_calls.get(task_id)
        self._changed(Change(namespace, "started", name, task_id or None, tool_call_id))

    def _within(self, around: Namespace) -> list[Namespace]:
        """What is open of a subgraph and those in it."""
        return [namespace for namespace in self._open if namespace[: len(around)] == around]

    def _end(self, namespaces: list[Namespace], ending: Ending, error: object) -> None:
        for namespace in sorted(namespaces, key=len, reverse=True):
            name = self._open.pop(namespace)
            self._changed(Change(namespace, ending, name, error=error if ending == "failed" else None))

    def _note_tool_call(self, data: dict[str, Any]) -> None:
        """Which tool call a task carries out: its input is the call and what belongs to it, or a list of calls."""
        tool_call_id = _tool_call(data.get("input"))
        if tool_call_id is not None:
            self._tool_calls[data["id"]] = tool_call_id


def _tool_call(given: Any) -> str | None:
    match given:
        case {"tool_call": {"id": str(tool_call_id)}}:
            return tool_call_id
        case [{"id": str(tool_call_id)}, *_]:
            return tool_call_id
        case _:
            return None
