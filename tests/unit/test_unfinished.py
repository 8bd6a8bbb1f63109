"""Work that was finished when its run was interrupted is in the state the next run starts from."""

import operator
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint
from langgraph.graph import START, StateGraph
from langgraph.types import Command, Send

from turnkeeper.errors import Fenced
from turnkeeper.graphs.unfinished import keep_finished_tasks

CONFIG: RunnableConfig = {"configurable": {"thread_id": "t"}}
INPUT: Any = {"steps": ["typed"]}


class Done(TypedDict):
    steps: Annotated[list[str], operator.add]


def node(*steps: str) -> Any:
    return lambda _: [Command(update={"steps": [step]}) for step in steps]


def told(state: Any) -> Any:
    """A node that leaves what it was sent."""
    return {"steps": [state]}


def chain() -> StateGraph[Done]:
    """a, then b and c at once, then d."""
    builder = StateGraph(Done)
    for name in "abcd":
        builder.add_node(name, node(name))
    builder.add_edge(START, "a")
    builder.add_edge("a", "b")
    builder.add_edge("a", "c")
    builder.add_edge(["b", "c"], "d")
    return builder


async def cut_after(builder: StateGraph[Done], checkpoints: int) -> Any:
    """A graph that ran, of whose checkpoints only the first so many were written; what their tasks did was."""
    graph: Any = builder.compile(checkpointer=InMemorySaver())
    await graph.ainvoke(INPUT, CONFIG)
    stored = graph.checkpointer.storage["t"][""]
    for late in sorted(stored)[checkpoints:]:
        del stored[late]
    return graph


async def steps(graph: Any) -> list[str]:
    """What the newest checkpoint itself holds."""
    async for state in graph.aget_state_history(CONFIG, limit=1):
        return state.values.get("steps", [])
    return []


async def test_a_step_all_of_whose_nodes_had_finished_is_kept() -> None:
    graph = await cut_after(chain(), 3)
    assert await steps(graph) == ["typed", "a"]
    await keep_finished_tasks(graph, CONFIG)
    assert await steps(graph) == ["typed", "a", "b", "c"]


async def test_a_step_of_one_node_that_had_finished_is_kept() -> None:
    graph = await cut_after(chain(), 2)
    await keep_finished_tasks(graph, CONFIG)
    assert await steps(graph) == ["typed", "a"]


async def test_it_is_kept_once() -> None:
    graph = await cut_after(chain(), 3)
    await keep_finished_tasks(graph, CONFIG)
    await keep_finished_tasks(graph, CONFIG)
    assert await steps(graph) == ["typed", "a", "b", "c"]


async def test_what_one_node_wrote_in_several_updates_is_kept_whole() -> None:
    builder = StateGraph(Done)
    builder.add_node("a", node("a1", "a2", "a3"))
    builder.add_edge(START, "a")
    graph = await cut_after(builder, 2)
    await keep_finished_tasks(graph, CONFIG)
    assert await steps(graph) == ["typed", "a1", "a2", "a3"]


async def test_what_nodes_that_were_sent_to_wrote_is_kept() -> None:
    builder = StateGraph(Done)
    builder.add_node("a", node("a"))
    builder.add_node("b", told)
    builder.add_edge(START, "a")
    builder.add_conditional_edges("a", lambda _: [Send("b", "b1"), Send("b", "b2")], ["b"])
    graph = await cut_after(builder, 3)
    await keep_finished_tasks(graph, CONFIG)
    assert await steps(graph) == ["typed", "a", "b1", "b2"]


async def test_the_input_is_not_taken_for_finished_work() -> None:
    graph = await cut_after(chain(), 1)
    assert (await graph.aget_state(CONFIG)).tasks[0].result == INPUT
    await keep_finished_tasks(graph, CONFIG)
    assert await steps(graph) == []


async def test_a_run_that_was_whole_is_left_alone() -> None:
    graph = await cut_after(chain(), 5)
    before = await graph.aget_state(CONFIG)
    await keep_finished_tasks(graph, CONFIG)
    assert await graph.aget_state(CONFIG) == before


async def test_a_function_that_had_finished_does_not_keep_the_next_run_from_starting() -> None:
    @entrypoint(checkpointer=InMemorySaver())
    async def workflow(given: Any, *, previous: Any = None) -> Any:
        return entrypoint.final(value=given, save=[*(previous or []), given])

    graph: Any = workflow
    await graph.ainvoke("A", CONFIG)
    stored = graph.checkpointer.storage["t"][""]
    del stored[max(stored)]
    await keep_finished_tasks(graph, CONFIG)
    assert await graph.ainvoke("B", CONFIG) == "B"


async def test_work_the_graph_does_not_take_back_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = await cut_after(chain(), 3)

    def refuse(error: Exception) -> None:
        async def update(*_: Any) -> None:
            raise error

        monkeypatch.setattr(graph, "abulk_update_state", update)

    refuse(ValueError("not like this"))
    await keep_finished_tasks(graph, CONFIG)
    refuse(Fenced("the run is another's"))
    with pytest.raises(Fenced):
        await keep_finished_tasks(graph, CONFIG)
