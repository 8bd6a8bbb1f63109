"""Any graph, stopped at any moment: what is left is what an uninterrupted run had done by then, and then the next run.

After `interrupt` the state is P + H + R: P what a finished run left before, if there was one; H what some set of
finished nodes of the first run wrote, closed under "had to end before" (whole supersteps, of the one that was cut any
of its nodes that ended); R all that the second run does from there. After `rollback` it is P + R. What a run does is
asked of LangGraph in this process: where nodes wait for several others, it depends on which of these had ended.
"""

import asyncio
import importlib
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import PregelTask, StateSnapshot, StateUpdate

from tests.interleaving.driver import APP, Line, Said, assert_no_overlap, new_line
from tests.interleaving.sockets import Http
from tests.wire.live import DEADLINE, POLL, Live

Shape = list[dict[str, Any]]
Build = Callable[[Shape], Any]

KINDS = ["plain", "plain", "plain", "sub", "fork"]


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    """Graphs without cycles: each node may follow any of those before it."""
    shape: Shape = []
    for number in range(draw(st.integers(1, 7))):
        earlier = st.integers(0, max(0, number - 1))
        after = draw(st.lists(earlier, max_size=min(number, 3), unique=True))
        shape.append({"kind": draw(st.sampled_from(KINDS)), "after": sorted(after), "join": draw(st.booleans())})
    return shape


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Build:
    """The server's graphs, for runs in this process."""
    monkeypatch.syspath_prepend(str(APP.parent))
    monkeypatch.setattr(importlib.import_module("telling"), "GATES", tmp_path)
    return importlib.import_module("shapes").builder_of


@dataclass
class Oracle:
    """The same graph in this process, and the states an uninterrupted first run of it goes through."""

    graph: Any
    before: StateSnapshot
    states: list[StateSnapshot]

    async def from_state(self, state: StateSnapshot, finished: tuple[PregelTask, ...] = ()) -> list[str]:
        """All there is in the end when the second run starts from a state, some of whose nodes had ended."""
        config = state.config
        if finished:
            updates = [StateUpdate(task.result, task.name, task.id) for task in finished]
            config = await self.graph.abulk_update_state(config, [updates])
        return (await self.graph.ainvoke({"tag": "B"}, new_run(config)))["steps"]

    def cuts(self, steps: list[str]) -> Iterator[tuple[StateSnapshot, tuple[PregelTask, ...]]]:
        """Where the first run may have been cut, if these are the steps in the end."""
        for state in self.states:
            known = state.values.get("steps", [])
            ended = [task for task in state.tasks if task.result]
            for count in range(len(ended) + 1):
                for some in itertools.combinations(ended, count):
                    results = cast("list[dict[str, list[str]]]", [task.result for task in some])
                    begun = known + [step for result in results for step in result["steps"]]
                    if steps[: len(begun)] == begun and all(step.startswith("B.") for step in steps[len(begun) :]):
                        yield state, some


def new_run(config: Any) -> RunnableConfig:
    """A run of its own: LangGraph takes an input of the run that wrote the checkpoint for a resumption of it."""
    return {"configurable": {**config["configurable"], "run_id": str(uuid4())}}


async def oracle(build: Build, shape: Shape, *, past: bool) -> Oracle:
    """Run the graph in process: a past, if there is to be one, then the first run as a whole."""
    graph = build(shape).compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "oracle"}}
    if past:
        await graph.ainvoke({"tag": "P"}, new_run(config))
    before = await graph.aget_state(config if past else {"configurable": {"thread_id": "an empty one"}})
    await graph.ainvoke({"tag": "A"}, new_run(config))
    states = [state async for state in graph.aget_state_history(config)]
    own = [state for state in reversed(states) if state.metadata and state.metadata.get("source") == "loop"]
    return Oracle(graph, before, [state for state in own if state.values["tag"] == "A"])


async def after_lines(line: Line, lines: int, run_id: str) -> None:
    """Wait until the nodes wrote so many lines, or the run has ended."""
    async with asyncio.timeout(DEADLINE):
        while len(line.log) < lines and await line.status(run_id) in ("pending", "running"):
            await asyncio.sleep(POLL)


def prepare(line: Line, tag: str, strategy: str, shape: Shape) -> Said:
    config = {"configurable": {"shape": json.dumps(shape)}}
    return line.prepare(tag, strategy, graph="random", input={"tag": tag}, config=config)


async def one_example(server: Live, build: Build, shape: Shape, lines: int, strategy: str, *, past: bool) -> None:
    line = await new_line(Http(server.port), server)
    path = f"/threads/{line.thread_id}/runs"
    if past:
        await line.http.post(f"{path}/wait", prepare(line, "P", "enqueue", shape).body)
    first, second = prepare(line, "A", "enqueue", shape), prepare(line, "B", strategy, shape)
    lines += len(line.log)
    assert (await line.http.post(path, first.body)).status_code == 200
    await after_lines(line, lines, first.run_id)
    steps = (await line.http.post(f"{path}/wait", second.body)).json()["steps"]
    known = await oracle(build, shape, past=past)
    match await line.status(first.run_id):
        case "success":
            assert steps == await known.from_state(known.states[-1])
        case None:
            assert strategy == "rollback"
            assert steps == await known.from_state(known.before)
        case status:
            assert (strategy, status) == ("interrupt", "interrupted")
            whole = [await known.from_state(*cut) for cut in known.cuts(steps)]
            assert steps in whole, f"none of {whole}"
    assert_no_overlap(line.log)


@pytest.mark.timeout(200)
@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
def test_a_graph_stopped_anywhere_leaves_what_it_had_done_and_no_more(
    server: Live, build: Build, strategy: str
) -> None:
    @settings(
        max_examples=35,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
    )
    @given(shape=shapes(), lines=st.integers(0, 16), past=st.booleans())
    def check(shape: Shape, lines: int, past: bool) -> None:
        asyncio.run(one_example(server, build, shape, lines, strategy, past=past))

    check()
