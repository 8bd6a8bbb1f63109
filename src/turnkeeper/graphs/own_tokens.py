"""What a model says while a node streams it on its own account (`model.astream`).

LangGraph's event streaming tells of such a message only when it is whole. Here its parts are put into the run's
stream as they come.
"""

from collections.abc import Collection
from typing import Any, NamedTuple, cast
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk
from langgraph.config import get_config
from langgraph.constants import TAG_NOSTREAM

from turnkeeper.graphs.items import Namespace


class Token(NamedTuple):
    """A part of a message, as an item of LangGraph's mode `messages`."""

    part: BaseMessage
    metadata: dict[str, Any]


class OwnTokens(BaseCallbackHandler):
    """Hears the models of one run."""

    run_inline = True  # in the node's own context, which knows the stream

    def __init__(self, modes: Collection[str]) -> None:
        """`modes`: what the run streams. A node may stream a graph for itself, which is none of our business."""
        self._modes = frozenset(modes)
        self._metadata: dict[UUID, dict[str, Any]] = {}

    def on_chat_model_start(  # noqa: D102 - LangChain's
        self,
        serialized: dict[str, Any],  # noqa: ARG002
        messages: list[list[BaseMessage]],  # noqa: ARG002
        *,
        run_id: UUID,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        if metadata and "langgraph_checkpoint_ns" in metadata and TAG_NOSTREAM not in (tags or ()):
            self._metadata[run_id] = metadata

    def on_llm_new_token(self, token: Any, *, chunk: Any = None, run_id: UUID, **_: Any) -> None:  # noqa: ARG002, D102
        metadata = self._metadata.get(run_id)
        if metadata is None or not isinstance(chunk, ChatGenerationChunk):
            return
        stream: Any = get_config().get("configurable", {}).get("__pregel_stream")
        if stream is not None and self._modes <= stream.modes:
            stream((_namespace(metadata), "messages", Token(chunk.message, metadata)))

    def on_llm_end(self, response: Any, *, run_id: UUID, **_: Any) -> None:  # noqa: ARG002, D102
        self._metadata.pop(run_id, None)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:  # noqa: ARG002, D102
        self._metadata.pop(run_id, None)


def _namespace(metadata: dict[str, Any]) -> Namespace:
    """The graph the model is called in: without the node's own part, nor those of functions it is called through."""
    parts = cast("str", metadata["langgraph_checkpoint_ns"]).split("|")
    path: Any = metadata.get("langgraph_path", ())
    own = 1
    while len(path) == 4 and path[0] == "__pregel_push" and path[3] is True:
        own, path = own + 1, path[1]
    return tuple(parts[:-own])
