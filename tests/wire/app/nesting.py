"""Graphs in graphs, and graphs whose schemas and drawings have something to tell. No node waits for a gate.

Tests import this module, too, and compare what the server says with what the graph itself says.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from langchain_core.runnables import RunnableConfig
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt
from typing_extensions import TypedDict


@dataclass
class Manners:
    """The context of `deep`."""

    tone: Literal["polite", "curt"] = "polite"


def merged(old: list[str], new: list[str]) -> list[str]:
    """A child graph hands its whole state back: what its parent has already is not added again."""
    return old + [step for step in new if step not in old]


class Deep(TypedDict, total=False):
    """The state of `deep` and of the graphs in it."""

    tag: str
    steps: Annotated[list[str], merged]


class Answered(TypedDict):
    """What `deep` returns."""

    steps: Annotated[list[str], merged]


def leave(name: str) -> Any:
    """A node that leaves its name."""

    def node(state: Deep) -> Deep:
        get_stream_writer()({"at": name})
        return {"steps": [f"{state.get('tag')}.{name}"]}

    return node


def ask(state: Deep) -> Deep:
    """Ask if the tag is `ask`."""
    answer = interrupt("go on?") if state.get("tag") == "ask" else "unasked"
    return {"steps": [f"answer={answer}"]}


def line(builder: Any, **nodes: Any) -> Any:
    """Nodes one after the other."""
    for name, node in nodes.items():
        builder.add_node(name, node)
    for before, after in zip((START, *nodes), (*nodes, END), strict=True):
        builder.add_edge(before, after)
    return builder


def deep_graph() -> Any:
    """before → middle (enter → inner (ask)) → after."""
    inner = line(StateGraph(Deep), ask=ask).compile()
    middle = line(StateGraph(Deep), enter=leave("enter"), inner=inner).compile()
    builder: Any = StateGraph(Deep, output_schema=Answered, context_schema=Manners)
    return line(builder, before=leave("before"), middle=middle, after=leave("after"))


def hand_over(state: Deep) -> Command[Any]:
    """Leave the rest to the graph around this one."""
    update = {"steps": [f"{state.get('tag')}.handed_over"]}
    return Command(graph=Command.PARENT, goto="taken_over", update=update)


def configured(config: RunnableConfig) -> Any:
    """A graph of the nodes its assistant names."""
    names: list[str] = config.get("configurable", {})["nodes"]
    return line(StateGraph(Deep), **{name: leave(name) for name in names})


class Unspeakable:
    """A type JSON Schema has no word for."""


class Strange(TypedDict, total=False):
    """A state of which only a part can be described."""

    known: int
    unknown: Unspeakable


deep = deep_graph().compile(name="deep")
handing_over = line(StateGraph(Deep), enter=leave("enter"), hand_over=hand_over).compile(name="handing_over")
strange = line(StateGraph(Strange), nothing=lambda _: {}).compile(name="strange")
