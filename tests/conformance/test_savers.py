"""Checkpointers of every backend: LangChain's own suite, and what turn-taking needs beyond it."""

import operator
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypedDict, cast

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import BaseCheckpointSaver, Checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.serde.types import INTERRUPT, RESUME
from langgraph.graph import START, StateGraph

from tests.conformance.conftest import Backend, Kit, Rows, Time
from turnkeeper.errors import Conflict, Fenced, Invalid

Saver = BaseCheckpointSaver[str]


def thread(thread_id: str, checkpoint_id: str | None = None) -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": "", "checkpoint_id": checkpoint_id}}


def put(
    saver: Saver, parent: RunnableConfig, values: dict[str, Any], previous: Checkpoint | None = None
) -> tuple[RunnableConfig, Checkpoint]:
    """A checkpoint after `previous` in which every channel of `values` has a new version."""
    versions = dict(previous["channel_versions"]) if previous else {}
    new = {channel: saver.get_next_version(cast("str | None", versions.get(channel)), None) for channel in values}
    checkpoint = Checkpoint(
        v=4,
        id=str(uuid6()),
        ts=datetime.now(UTC).isoformat(),
        channel_values={**(previous["channel_values"] if previous else {}), **values},
        channel_versions={**versions, **new},
        versions_seen={},
        updated_channels=None,
    )
    config = saver.put(parent, checkpoint, {"source": "loop", "step": 1, "parents": {}}, dict(new))
    return config, checkpoint


def rows(kit: Kit) -> Rows:
    """Every row of the tables a checkpointer writes."""
    return {name: found for name, found in kit.dump().items() if "checkpoint" in name or "writes" in name}


async def test_any_langgraph_graph_can_rely_on_the_checkpointer(backend: Backend, tmp_path: Path) -> None:
    opened = 0

    @checkpointer_test(name="Turnkeeper")
    async def saver() -> AsyncIterator[Saver]:
        nonlocal opened
        opened += 1
        place = tmp_path / str(opened)
        place.mkdir()
        storage = backend.open(place, Time())
        yield backend.saver(storage)
        storage.close()

    report = await validate(saver)
    failures = [failure for result in report.results.values() for failure in result.failures]
    assert failures == []
    assert [name for name, result in report.results.items() if not result.passed] == []
    assert len(report.results) == 8


def extend(state: list[str], writes: Sequence[list[str]]) -> list[str]:
    return [*state, *(item for write in writes for item in write)]


class DeltaState(TypedDict):
    log: Annotated[list[str], DeltaChannel(extend, snapshot_frequency=7)]
    total: Annotated[int, operator.add]


def delta_graph(saver: Saver) -> Any:
    def left(state: DeltaState) -> dict[str, Any]:
        return {"log": [f"left {len(state['log'])}"], "total": 1}

    def right(state: DeltaState) -> dict[str, Any]:
        return {"log": [f"right {len(state['log'])}"], "total": 1}

    graph = StateGraph(DeltaState)
    graph.add_node("left", left)
    graph.add_node("right", right)
    graph.add_edge(START, "left")
    graph.add_edge(START, "right")
    graph.add_edge("left", "right")
    return graph.compile(checkpointer=saver)


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_a_delta_channel_is_whole_after_a_restart(kit: Kit, durability: str) -> None:
    config = thread("t")
    for turn in range(8):
        graph = delta_graph(kit.saver(f"run {turn}"))
        live = await graph.ainvoke({"log": [f"turn {turn}"], "total": 0}, config, durability=durability)
        assert (await delta_graph(kit.saver()).aget_state(config)).values == live


async def test_a_rolled_back_run_leaves_no_trace(kit: Kit) -> None:
    first = delta_graph(kit.saver("first"))
    live = await first.ainvoke({"log": ["a"] * 20, "total": 0}, thread("t"))
    before = rows(kit)
    second = kit.saver("second")
    await delta_graph(second).ainvoke({"log": ["b"], "total": 5}, thread("t"))
    assert rows(kit) != before
    await second.adelete_for_runs(["second"])
    assert rows(kit) == before
    assert (await first.aget_state(thread("t"))).values == live


def test_what_a_rolled_back_resume_replaced_comes_back(kit: Kit) -> None:
    asked, resumed = kit.saver("asked"), kit.saver("resumed")
    config, _ = put(asked, thread("t"), {"x": 1})
    asked.put_writes(config, [(INTERRUPT, "which?"), (RESUME, ["one"])], "task")
    asked.put_writes(config, [("x", "kept")], "other")
    resumed.put_writes(config, [(RESUME, ["two"])], "task")
    resumed.put_writes(config, [("x", "redone"), ("y", 1)], "other")

    def writes() -> list[Any]:
        found = asked.get_tuple(thread("t"))
        assert found is not None
        return sorted(found.pending_writes or [], key=str)

    redone = [("other", "x", "redone"), ("other", "y", 1), ("task", INTERRUPT, "which?"), ("task", RESUME, ["two"])]
    assert writes() == sorted(redone, key=str)
    asked.delete_for_runs(["resumed"])
    assert writes() == sorted([("other", "x", "kept"), *redone[2:3], ("task", RESUME, ["one"])], key=str)


def test_within_one_run_the_last_resume_value_counts_and_the_first_write(kit: Kit) -> None:
    saver = kit.saver("run")
    config, _ = put(saver, thread("t"), {"x": 1})
    for value in "ab":
        saver.put_writes(config, [(RESUME, value), ("x", value)], "task")
        saver.put_writes(config, [("x", value)], "other")
    found = saver.get_tuple(config)
    assert found is not None
    assert sorted(found.pending_writes or []) == sorted(
        [("task", RESUME, "b"), ("task", "x", "a"), ("other", "x", "a")]
    )


def test_rolling_back_a_run_spares_the_branch_another_run_made_of_it(kit: Kit) -> None:
    old, new = kit.saver("old"), kit.saver("new")
    config, state = put(old, thread("t"), {"log": [f"line {n}" for n in range(20)], "other": {"a": 1}})
    config, state = put(old, config, {"log": [*state["channel_values"]["log"], "old"]}, state)
    new.get_tuple(config)
    branch, grown = put(new, config, {"log": [*state["channel_values"]["log"], "new"]}, state)
    branch, same = put(new, branch, {"n": 1}, grown)
    new.delete_for_runs(["old"])
    found = kit.saver().get_tuple(branch)
    assert found is not None
    assert found.checkpoint["channel_values"] == same["channel_values"]
    new.delete_for_runs(["new"])
    assert not any(rows(kit).values())


async def test_an_attempt_that_lost_its_run_can_change_nothing(kit: Kit) -> None:
    thread_id = await kit.thread()
    claimed = await kit.running(thread_id)
    kit.checkpoint(claimed, "said")
    lost = kit.storage.run_checkpointer(claimed, deferred=False)
    newest = lost.get_tuple(thread(thread_id))
    assert newest is not None
    await kit.storage.runs.seal(claimed.run_id, claimed.attempt)
    before = rows(kit)
    with pytest.raises(Fenced):
        put(lost, newest.config, {"x": {"late": True}}, newest.checkpoint)
    with pytest.raises(Fenced):
        lost.put_writes(newest.config, [("x", 2)], "task")
    with pytest.raises(Fenced):
        lost.delete_thread(thread_id)
    assert rows(kit) == before


async def test_every_value_comes_back_as_it_was(kit: Kit) -> None:
    odd: dict[str, Any] = {
        "nul": "a\0b",
        "infinite": float("inf"),
        "lines": "a\nb",
        "long": "x" * 100_000,
        "none": None,
        "true": True,
        "float": 0.1,
        "bytes": b"\x00\xff",
    }
    saver = kit.saver()
    config, checkpoint = put(saver, thread("t"), odd)
    _, grown = put(saver, config, {"new": 1}, checkpoint)
    for stored, expected in ((config, checkpoint), (thread("t"), grown)):
        found = kit.saver().get_tuple(stored)
        assert found is not None
        assert found.checkpoint["channel_values"] == expected["channel_values"]


def test_metadata_may_hold_what_json_cannot_say(kit: Kit) -> None:
    saver = kit.saver()
    odd = {
        "when": datetime(2026, 1, 2, tzinfo=UTC),
        "nul": "a\0b",
        "deep": {"half": "\ud800", "nul": "\\\0"},
        "big": 2**70,
    }
    _, checkpoint = put(saver, thread("t"), {"x": 1})
    saver.put(thread("t"), checkpoint, cast("Any", odd), {})
    found = saver.get_tuple(thread("t"))
    assert found is not None
    assert cast("dict[str, Any]", found.metadata)["nul"] == "ab"
    assert [item.checkpoint["id"] for item in saver.list(None, filter={"nul": "ab"})] == [checkpoint["id"]]
    assert list(saver.list(None, filter={"nul": "other"})) == []


async def test_a_long_history_is_listed_newest_first_however_it_is_paged(kit: Kit) -> None:
    saver = kit.saver()
    config, ids = thread("t"), list[str]()
    for _ in range(40):
        config, checkpoint = put(saver, config, {"x": 1})
        ids.insert(0, checkpoint["id"])
    assert [item.checkpoint["id"] for item in saver.list(thread("t"))] == ids
    assert [item.checkpoint["id"] async for item in saver.alist(thread("t"), limit=20)] == ids[:20]
    before = thread("t", ids[9])
    assert [item.checkpoint["id"] for item in saver.list(thread("t"), before=before, limit=3)] == ids[10:13]
    assert list(saver.list(thread("t"), limit=0)) == []
    assert list(saver.list(thread("t"), before=thread("t", cast("Any", 0)))) == []  # clients send what they like


def test_a_copy_outlives_the_rollback_of_the_run_it_was_copied_from(kit: Kit) -> None:
    saver = kit.saver("run")
    config, _ = put(saver, thread("t"), {"log": [f"line {n}" for n in range(20)]})
    saver.put_writes(config, [("x", 1)], "task")
    saver.copy_thread("t", "copy")
    saver.delete_for_runs(["run"])
    assert saver.get_tuple(thread("t")) is None
    found = saver.get_tuple(thread("copy"))
    assert found is not None
    assert len(found.checkpoint["channel_values"]["log"]) == 20
    assert found.pending_writes == [("task", "x", 1)]
    with pytest.raises(Conflict):
        saver.copy_thread("t", "copy")


def test_an_unknown_prune_strategy_is_refused(kit: Kit) -> None:
    with pytest.raises(Invalid, match="keep_latest"):
        kit.saver().prune(["t"], strategy="everything")
