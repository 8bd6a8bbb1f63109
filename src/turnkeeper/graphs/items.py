"""What LangGraph streams, whichever way it is run: where it happened, the stream mode, and what it says."""

from typing import Any

Namespace = tuple[str, ...]
"""The subgraphs an item comes from, outermost first, as `node:task_id`; empty for the graph itself."""

Item = tuple[Namespace, str, Any]

INTERRUPT = "__interrupt__"
"""Where `values` and `updates` carry the interrupts of a step."""
