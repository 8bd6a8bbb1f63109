"""LangChain's own suite for checkpointers, and what a server of concurrent runs needs beyond it."""

import asyncio
import operator
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypedDict, cast

import anyio.lowlevel
import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import BaseCheckpointSaver, Checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import INTERRUPT, RESUME
from langgraph.graph import START, StateGraph

from turnkeeper.errors import Conflict, Fenced, Invalid
from turnkeeper.storage import queries
from turnkeeper.storage.sqlite.checkpoints import SqliteSaver
from turnkeeper.storage.sqlite.database import MEMORY, Database

TABLES = ("checkpoints", "checkpoint_channels", "checkpoint_elements", "checkpoint_writes")


@pytest.fixture
def checkpoint_database(tmp_path: Path) -> Iterator[Database]:
    database = Database(str(tmp_path / "turnkeeper.db"))
    database.open()
    yield database
    database.close()


def thread(thread_id: str, checkpoint_id: str | None = None) -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": "", "checkpoint_id": checkpoint_id}}


def rows(database: Database) -> dict[str, set[Any]]:
    """Everything stored, but for the numbers rows get by chance."""

    def read(connection: sqlite3.Connection) -> dict[str, set[Any]]:
        connection.row_factory = None
        found: dict[str, set[Any]] = {}
        for table in TABLES:
            names = [name for _, name, *_ in connection.execute(f"pragma table_info({table})") if name != "born"]
            found[table] = set(connection.execute(f"select {', '.join(names)} from {table}"))
        return found

    return database.read_sync(read)


def put(
    saver: SqliteSaver, parent: RunnableConfig, values: dict[str, Any], previous: Checkpoint | None = None
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


@pytest.mark.parametrize("kind", ["file", "memory"])
async def test_any_langgraph_graph_can_rely_on_the_checkpointer(kind: str, tmp_path: Path) -> None:
    @checkpointer_test(name=f"SqliteSaver {kind}")
    async def saver() -> AsyncIterator[BaseCheckpointSaver[str]]:
        database = Database(MEMORY if kind == "memory" else str(tmp_path / "turnkeeper.db"))
        database.open()
        yield SqliteSaver(database)
        database.close()

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


def delta_graph(saver: SqliteSaver) -> Any:
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
async def test_a_delta_channel_is_whole_after_a_restart(checkpoint_database: Database, durability: str) -> None:
    config = thread("t")
    for turn in range(12):
        graph = delta_graph(SqliteSaver(checkpoint_database, run_id=f"run {turn}"))
        live = await graph.ainvoke({"log": [f"turn {turn}"], "total": 0}, config, durability=durability)
        fresh = SqliteSaver(checkpoint_database)
        assert (await delta_graph(fresh).aget_state(config)).values == live
        stored = await fresh.aget_tuple(config)
        assert stored is not None
        ours = await fresh.aget_delta_channel_history(config=stored.config, channels=["log", "total"])
        theirs = await BaseCheckpointSaver.aget_delta_channel_history(
            fresh, config=stored.config, channels=["log", "total"]
        )
        assert ours == theirs


async def test_a_pruned_or_copied_thread_keeps_its_delta_channels(checkpoint_database: Database) -> None:
    saver = SqliteSaver(checkpoint_database)
    graph = delta_graph(saver)
    for turn in range(5):
        live = await graph.ainvoke({"log": [f"turn {turn}"], "total": 0}, thread("t"))
        await saver.adelete_thread("copy")
        await saver.acopy_thread("t", "copy")
        await saver.aprune(["copy"], strategy="keep_latest")
        state = await delta_graph(SqliteSaver(checkpoint_database)).aget_state(thread("copy"))
        assert state.values == live
    assert len([item async for item in saver.alist(thread("copy"))]) < len(
        [item async for item in saver.alist(thread("t"))]
    )


async def test_a_rolled_back_run_leaves_no_trace(checkpoint_database: Database) -> None:
    first = delta_graph(SqliteSaver(checkpoint_database, run_id="first"))
    live = await first.ainvoke({"log": ["a"] * 20, "total": 0}, thread("t"))
    before = rows(checkpoint_database)
    second = SqliteSaver(checkpoint_database, run_id="second")
    await delta_graph(second).ainvoke({"log": ["b"], "total": 5}, thread("t"))
    assert rows(checkpoint_database) != before
    await second.adelete_for_runs(["second"])
    assert rows(checkpoint_database) == before
    assert (await first.aget_state(thread("t"))).values == live


def test_what_a_rolled_back_resume_replaced_comes_back(checkpoint_database: Database) -> None:
    asked = SqliteSaver(checkpoint_database, run_id="asked")
    config, _ = put(asked, thread("t"), {"x": 1})
    asked.put_writes(config, [(INTERRUPT, "which?"), (RESUME, ["one"])], "task")
    asked.put_writes(config, [("x", "kept")], "other")
    resumed = SqliteSaver(checkpoint_database, run_id="resumed")
    resumed.put_writes(config, [(RESUME, ["two"])], "task")
    resumed.put_writes(config, [("x", "redone"), ("y", 1)], "other")

    def writes() -> list[Any]:
        found = asked.get_tuple(thread("t"))
        assert found is not None
        return found.pending_writes or []

    assert writes() == [
        ("other", "x", "redone"),
        ("other", "y", 1),
        ("task", RESUME, ["two"]),
        ("task", INTERRUPT, "which?"),
    ]
    asked.delete_for_runs(["resumed"])
    assert writes() == [("other", "x", "kept"), ("task", RESUME, ["one"]), ("task", INTERRUPT, "which?")]


def test_pending_writes_come_in_the_order_the_tasks_were_planned(checkpoint_database: Database) -> None:
    saver = SqliteSaver(checkpoint_database)
    config, _ = put(saver, thread("t"), {"x": 1})
    for task_id, path in (("a", "~2"), ("b", "~1"), ("c", "")):
        saver.put_writes(config, [("x", 1), ("x", 2)], task_id, path)
    found = saver.get_tuple(config)
    assert found is not None
    assert [(task, value) for task, _, value in found.pending_writes or []] == [
        (task, value) for task in "cba" for value in (1, 2)
    ]


def test_rolling_back_a_run_spares_the_branch_another_run_made_of_it(checkpoint_database: Database) -> None:
    old = SqliteSaver(checkpoint_database, run_id="old")
    config, state = put(old, thread("t"), {"log": [f"line {n}" for n in range(20)], "other": {"a": 1}})
    config, state = put(old, config, {"log": [*state["channel_values"]["log"], "old"]}, state)
    new = SqliteSaver(checkpoint_database, run_id="new")
    new.get_tuple(config)
    branch, grown = put(new, config, {"log": [*state["channel_values"]["log"], "new"]}, state)
    branch, same = put(new, branch, {"n": 1}, grown)
    new.delete_for_runs(["old"])
    found = SqliteSaver(checkpoint_database).get_tuple(branch)
    assert found is not None
    assert found.checkpoint["channel_values"] == same["channel_values"]
    new.delete_for_runs(["new"])
    assert not any(rows(checkpoint_database).values())


def test_a_run_that_lost_its_lease_writes_nothing_more(checkpoint_database: Database) -> None:
    def refuse(connection: sqlite3.Connection) -> None:
        raise Fenced("The run was taken over.")

    config, state = put(SqliteSaver(checkpoint_database), thread("t"), {"x": 1})
    before = rows(checkpoint_database)
    lost = SqliteSaver(checkpoint_database, guard=refuse)
    with pytest.raises(Fenced):
        put(lost, config, {"x": {"late": True}}, state)
    with pytest.raises(Fenced):
        lost.put_writes(config, [("x", 2)], "task")
    with pytest.raises(Fenced):
        lost.delete_thread("t")
    assert rows(checkpoint_database) == before


async def test_a_value_changed_while_it_is_being_stored_is_stored_as_it_was(checkpoint_database: Database) -> None:
    saver = SqliteSaver(checkpoint_database)
    value = {"items": [1]}
    checkpoint = Checkpoint(
        v=4,
        id=str(uuid6()),
        ts="",
        channel_values={"x": value},
        channel_versions={"x": "0000001.a"},
        versions_seen={},
        updated_channels=None,
    )
    putting = asyncio.create_task(saver.aput(thread("t"), checkpoint, {}, {"x": "0000001.a"}))
    await anyio.lowlevel.checkpoint()  # it runs up to its first await
    value["items"].append(2)
    await putting
    found = await saver.aget_tuple(thread("t"))
    assert found is not None
    assert found.checkpoint["channel_values"]["x"] == {"items": [1]}


def test_metadata_may_hold_what_json_cannot_say(checkpoint_database: Database) -> None:
    saver = SqliteSaver(checkpoint_database)
    odd = {
        "when": datetime(2026, 1, 2, tzinfo=UTC),
        "nul": "a\0b",
        "deep": {"nul": "a\0b", "half": "\ud800"},
        "big": 2**70,
    }
    _, checkpoint = put(saver, thread("t"), {"x": 1})
    saver.put(thread("t"), checkpoint, cast("Any", odd), {})
    found = saver.get_tuple(thread("t"))
    assert found is not None
    metadata = cast("dict[str, Any]", found.metadata)
    assert metadata["nul"] == "ab"
    assert metadata["deep"] == {"nul": "a\0b", "half": "?"}
    assert metadata["big"] == str(2**70)
    assert [item.checkpoint["id"] for item in saver.list(None, filter={"nul": "ab"})] == [checkpoint["id"]]
    assert list(saver.list(None, filter={"nul": "other"})) == []


def test_a_long_history_is_listed_newest_first_however_it_is_paged(checkpoint_database: Database) -> None:
    saver = SqliteSaver(checkpoint_database)
    config, ids = thread("t"), list[str]()
    for _ in range(40):
        config, checkpoint = put(saver, config, {"x": 1})
        ids.insert(0, checkpoint["id"])
    assert [item.checkpoint["id"] for item in saver.list(thread("t"))] == ids
    assert [item.checkpoint["id"] for item in saver.list(thread("t"), limit=20)] == ids[:20]
    before = thread("t", ids[9])
    assert [item.checkpoint["id"] for item in saver.list(thread("t"), before=before, limit=3)] == ids[10:13]
    assert list(saver.list(thread("t"), limit=0)) == []


def test_a_copy_outlives_the_rollback_of_the_run_it_was_copied_from(checkpoint_database: Database) -> None:
    saver = SqliteSaver(checkpoint_database, run_id="run")
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


@pytest.mark.parametrize("statement", ["checkpoints_of_runs", "delete_writes_of_runs", "delete_writes_at", "orphans"])
def test_a_rollback_does_not_read_other_threads(checkpoint_database: Database, statement: str) -> None:
    text = getattr(queries.load("sqlite", "checkpoints"), statement)
    values: dict[str, str] = dict.fromkeys(("run_ids", "seqs", "released", "thread_id", "checkpoint_ns"), "[]")
    plan = checkpoint_database.read_sync(lambda c: c.execute(f"explain query plan {text}", values).fetchall())
    scans = [step for *_, step in plan if step.startswith("SCAN") and "VIRTUAL TABLE" not in step]
    assert scans == []


def test_the_saver_langgraph_makes_for_a_graph_knows_what_the_first_one_read(checkpoint_database: Database) -> None:
    saver = SqliteSaver(checkpoint_database, serde=JsonPlusSerializer(allowed_msgpack_modules=None))
    config, state = put(saver, thread("t"), {"log": [f"line {n}" for n in range(50)]})
    graph_saver = saver.with_allowlist([("tests", "Thing")])
    assert graph_saver is not saver
    put(cast("SqliteSaver", graph_saver), config, {"log": [*state["channel_values"]["log"], "more"]}, state)
    assert len(rows(checkpoint_database)["checkpoint_elements"]) == 51


def test_an_unknown_prune_strategy_is_refused(checkpoint_database: Database) -> None:
    with pytest.raises(Invalid, match="keep_latest"):
        SqliteSaver(checkpoint_database).prune(["t"], strategy="everything")
