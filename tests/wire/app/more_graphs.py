"""Graphs that show what reached them, and graphs that return what JSON cannot say."""

import operator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.config import get_stream_writer
from langgraph.func import entrypoint
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import interrupt


class Seen(TypedDict, total=False):
    """`seen` is what the node was given besides its state."""

    said: Any
    seen: Any


@dataclass
class Who:
    """The context of `echo`."""

    user: str = "nobody"
    model: str = "small"


def look(state: Seen, config: RunnableConfig, runtime: Runtime[Who]) -> Seen:
    """Tell what there is to be seen, also on the custom stream."""
    get_stream_writer()({"said": state.get("said")})
    configurable = config.get("configurable", {})
    context: Any = runtime.context
    return {
        "seen": {
            "configurable": {key: value for key, value in configurable.items() if not key.startswith("__")},
            "context": context if context is None or isinstance(context, dict) else vars(context),
            "metadata": config.get("metadata"),
            "tags": config.get("tags"),
            "recursion_limit": config.get("recursion_limit"),
        }
    }


def echo_graph(context_schema: type[Any] | None) -> StateGraph[Any, Any]:
    """One node that looks around."""
    builder: Any = StateGraph(Seen, context_schema=context_schema)
    builder.add_node("look", look)
    builder.add_edge(START, "look")
    return builder


class Opaque:
    """An object nobody can write down."""

    def __reduce__(self) -> Any:
        raise TypeError("this cannot be stored")


class Hostile:
    """An object that resists every look at it."""

    def __repr__(self) -> str:
        raise RuntimeError("no")

    def model_dump(self) -> Any:
        raise RuntimeError("no")


def endless_list() -> list[Any]:
    """A list that contains itself."""
    itself: list[Any] = []
    itself.append(itself)
    return itself


ODD: dict[str, Any] = {
    "wide": 2**70,
    "negative": -(2**70),
    "nan": float("nan"),
    "infinity": float("inf"),
    "bytes": b"\x00\xff",
    "set": {1, 2},
    "surrogate": "a\ud800b",
    "surrogate_key": {"\ud800": 1},
    "nul": "a\x00b",
    "date": datetime(2026, 1, 2, tzinfo=UTC),
    "keys": {1: "one", (2, 3): "pair", None: "none"},
    "wide_key": {2**70: 1},
    "opaque": Opaque(),
    "function": lambda: None,
    "class": Opaque,
    "error": ValueError("kept, not raised"),
    "complex": 1j,
    "endless": endless_list(),
    "hostile": Hostile(),
}


class OddState(TypedDict, total=False):
    """`kind` names an entry of `ODD`."""

    kind: str
    odd: Any
    metadata: Any


def odd_node(state: OddState) -> OddState:
    """Return something JSON has no word for."""
    return {"odd": ODD[state.get("kind", "")]}


def odd_graph() -> StateGraph[OddState]:
    """One node that returns something odd, and one after it."""
    builder: Any = StateGraph(OddState)
    builder.add_node("make", odd_node)
    builder.add_node("after", lambda _: {})
    builder.add_edge(START, "make")
    builder.add_edge("make", "after")
    return builder


def divide(left: float, right: float) -> float:
    """A reducer that does not take every value."""
    return left + 1 / right


class Strict(TypedDict, total=False):
    """Channels whose reducers refuse some values, each in its own way."""

    total: Annotated[int, operator.add]
    ratio: Annotated[float, divide]
    known: Annotated[dict[str, str], lambda old, new: {**old, new["key"]: new["value"]}]


def strict_graph() -> StateGraph[Strict]:
    """Add one, again and again."""
    builder: Any = StateGraph(Strict)
    builder.add_node("add", lambda _: {"total": 1})
    builder.add_node("again", lambda _: {"total": 10})
    builder.add_edge(START, "add")
    builder.add_edge("add", "again")
    return builder


def endless_graph() -> StateGraph[Strict]:
    """A loop that only the recursion limit ends."""
    builder: Any = StateGraph(Strict)
    builder.add_node("add", lambda _: {"total": 1})
    builder.add_edge(START, "add")
    builder.add_edge("add", "add")
    return builder


@entrypoint()
async def function(given: Any) -> Any:
    """A graph that is a function: it has no values until it returns, and they need not be an object."""
    return [given, interrupt("go on?")]


echo = echo_graph(Who).compile(name="echo")
plain = echo_graph(None).compile(name="plain")
odd = odd_graph().compile(name="odd")
strict = strict_graph().compile(name="strict")
endless = endless_graph().compile(name="endless")
