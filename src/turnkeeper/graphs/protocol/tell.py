"""The thread-centric event protocol: how events are handed on, and the data every side of it says in the same words."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

LifecycleEvent = Literal["started", "running", "completed", "failed", "interrupted"]


class Tell(Protocol):
    """Hands events of the protocol on to whoever reads the thread."""

    def wanted(self) -> bool:
        """Whether anybody would read them now. Asked once per item of a stream, so it has to be cheap."""
        ...

    def __call__(self, method: str, namespace: Sequence[str], data: Any, node: str | None = None) -> None:
        """Tell one event; `data` holds Python's and LangChain's objects, not yet JSON."""
        ...


def lifecycle_data(
    event: LifecycleEvent, *, graph_name: str | None = None, error: object = None, **more: Any
) -> dict[str, Any]:
    """The data of a `lifecycle` event; what is `None` is left out."""
    said = {"graph_name": graph_name, **more, "error": None if error is None else str(error)}
    return {"event": event, **{key: value for key, value in said.items() if value is not None}}
