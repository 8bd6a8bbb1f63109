"""Any graph, stopped at any moment: what is left is what an uninterrupted run had done by then, and then the next run.

After `interrupt` the state is H + R: H what some set of finished nodes of the first run wrote, closed under "had to end
before" (a whole prefix of layers, of the layer that was cut any of its nodes that ended), R all that the second run
does alone. After `rollback` it is R. Within a layer LangGraph's order of writes is compared with an in-process run.
"""

import asyncio
import importlib
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver

from tests.interleaving.driver import APP, Line, Said, assert_no_overlap, new_line
from tests.interleaving.sockets import Http
from tests.wire.live import DEADLINE, POLL, Live

Shape = list[list[str]]
Build = Callable[[Shape], Any]

nodes = st.sampled_from(["plain", "plain", "sub", "fork"])
shapes = st.lists(st.lists(nodes, min_size=1, max_size=3), min_size=1, max_size=4)


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Build:
    """The server's graphs, for runs in this process."""
    monkeypatch.syspath_prepend(str(APP.parent))
    monkeypatch.setattr(importlib.import_module("telling"), "GATES", tmp_path)
    return importlib.import_module("shapes").builder_of


async def alone(build: Build, shape: Shape, tag: str) -> list[list[str]]:
    """What each superstep of an uninterrupted run writes, in process."""
    graph = build(shape).compile(checkpointer=InMemorySaver())
    config: RunnableConfig = {"configurable": {"thread_id": "oracle", "run_id": "oracle"}}
    await graph.ainvoke(cast("Any", {"tag": tag}), config)
    pasts = [state.values.get("steps", []) async for state in graph.aget_state_history(config)]
    pasts.reverse()
    return [later[len(earlier) :] for earlier, later in itertools.pairwise(pasts) if later != earlier]


def fits(steps: list[str], history: list[list[str]]) -> bool:
    """Whether the steps are whole layers, then part of one, each in LangGraph's order."""
    for layer in history:
        if steps[: len(layer)] == layer:
            steps = steps[len(layer) :]
            continue
        rest = iter(layer)
        return all(each in rest for each in steps)
    return not steps


async def after_lines(line: Line, lines: int, run_id: str) -> None:
    """Wait until the nodes wrote so many lines, or the run has ended."""
    async with asyncio.timeout(DEADLINE):
        while len(line.log) < lines and await line.status(run_id) in ("pending", "running"):
            await asyncio.sleep(POLL)


def prepare(line: Line, tag: str, strategy: str, shape: Shape) -> Said:
    config = {"configurable": {"shape": json.dumps(shape)}}
    return line.prepare(tag, strategy, graph="random", input={"tag": tag}, config=config)


async def one_example(server: Live, build: Build, shape: Shape, lines: int, strategy: str) -> None:
    line = await new_line(Http(server.port), server)
    path = f"/threads/{line.thread_id}/runs"
    first, second = prepare(line, "A", "enqueue", shape), prepare(line, "B", strategy, shape)
    assert (await line.http.post(path, first.body)).status_code == 200
    await after_lines(line, lines, first.run_id)
    result = (await line.http.post(f"{path}/wait", second.body)).json()
    history, whole = await alone(build, shape, "A"), await alone(build, shape, "B")
    again = [step for layer in whole for step in layer]
    status, steps = await line.status(first.run_id), result["steps"]
    kept = steps[: len(steps) - len(again)]
    assert steps[len(kept) :] == again
    if status == "success":
        assert kept == [step for layer in history for step in layer]
    elif status is None:
        assert kept == []
    else:
        assert fits(kept, history), f"{kept} is no part of {history}"
    assert_no_overlap(line.log)


@pytest.mark.timeout(200)
@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
def test_a_graph_stopped_anywhere_leaves_what_it_had_done_and_no_more(
    server: Live, build: Build, strategy: str
) -> None:
    @settings(
        max_examples=40,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        phases=[Phase.generate],
    )
    @given(shape=shapes, lines=st.integers(0, 14))
    def check(shape: Shape, lines: int) -> None:
        asyncio.run(one_example(server, build, shape, lines, strategy))

    check()
