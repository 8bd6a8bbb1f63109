"""What one run asks of the database."""

from typing import TypedDict

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph

from tests.conformance.conftest import Kit
from tests.conformance.test_runs import DONE, Places


class State(TypedDict):
    numbers: list[int]


def count(state: State) -> State:
    return {"numbers": [*state["numbers"], 1]}


@pytest.mark.parametrize("handed_over", [True, False], ids=["in one process", "claimed by another"])
async def test_a_run_of_one_node_changes_the_database_few_times(kit: Kit, handed_over: bool) -> None:
    most = kit.backend.most_writes
    if most is None:
        pytest.skip("statements of this backend make no round trips")
    graph = StateGraph(State)
    graph.add_node("count", count)
    graph.add_edge(START, "count")
    if handed_over:
        kit.signals = Places(1)
    thread_id = await kit.thread()
    config: RunnableConfig = {"configurable": {"thread_id": thread_id}}

    with kit.backend.count_writes() as sent:
        await kit.admit(thread_id)
        claimed = kit.signals.started[0] if isinstance(kit.signals, Places) else await kit.claim()
        compiled = graph.compile(checkpointer=kit.storage.run_checkpointer(claimed, deferred=True))
        await compiled.ainvoke({"numbers": []}, config, durability="exit")
        await kit.storage.runs.finish(claimed.run_id, claimed.attempt, DONE)

    assert 1 <= len(sent) <= most, sent
