"""The subgraphs of a run as a tree (`langchain_protocol.AgentTreeNode`), from what its lifecycle events said."""

from collections.abc import Iterable
from typing import Any

import msgspec

from turnkeeper.contracts import Frame
from turnkeeper.lifecycle import RunStatus
from turnkeeper.services.protocol.late import LIFECYCLE
from turnkeeper.services.protocol.threads import graph_name
from turnkeeper.types import Run

WORDS: dict[RunStatus, str] = {
    "pending": "started",
    "running": "running",
    "success": "completed",
    "error": "failed",
    "timeout": "failed",
    "interrupted": "interrupted",
}


class Node(msgspec.Struct, omit_defaults=True):
    """A graph at work, and those it started."""

    namespace: tuple[str, ...]
    status: str
    graph_name: str
    children: list["Node"] = msgspec.field(default_factory=list["Node"])


class _Life(msgspec.Struct):
    event: str = "started"
    graph_name: str | None = None


def tree(run: Run, frames: Iterable[Frame]) -> Node:
    """The tree of a run; `frames` are events of its thread, oldest first."""
    root = Node((), WORDS[run.status], graph_name(run))
    nodes = {root.namespace: root}
    for frame in frames:
        if frame.event == LIFECYCLE and frame.run_id == run.run_id:
            _grow(nodes, frame)
    return root


def statuses(node: Node) -> list[dict[str, Any]]:
    """The status of each graph of a tree (`langchain_protocol.AgentStatusEntry`)."""
    below = [each for child in node.children for each in statuses(child)]
    return [{"namespace": node.namespace, "status": node.status}, *below]


def _grow(nodes: dict[tuple[str, ...], Node], frame: Frame) -> None:
    """Note what one lifecycle event says. The root's own is in the run's row, which is never late."""
    life = msgspec.json.decode(frame.data, type=_Life)
    if not frame.namespace:
        if life.event == "interrupted" and nodes[()].status == "completed":
            nodes[()].status = "interrupted"  # it waits for a human
        return
    node = nodes.get(frame.namespace)
    if node is None:
        name = frame.namespace[-1].partition(":")[0]
        node = nodes[frame.namespace] = Node(frame.namespace, life.event, life.graph_name or name)
        nodes[_parent(nodes, frame.namespace)].children.append(node)
    node.status = life.event


def _parent(nodes: dict[tuple[str, ...], Node], namespace: tuple[str, ...]) -> tuple[str, ...]:
    """The nearest graph around one that has told of itself."""
    return next(around for depth in range(len(namespace) - 1, -1, -1) if (around := namespace[:depth]) in nodes)
