"""What a long thread costs, and that the thrift by which it costs little never changes what is read back."""

import copy
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from turnkeeper.storage.sqlite.checkpoints import SqliteSaver
from turnkeeper.storage.sqlite.database import MEMORY, Database

ADDRESS = {"thread_id": "t", "checkpoint_ns": ""}
THREAD: RunnableConfig = {"configurable": ADDRESS}
serde = JsonPlusSerializer()


def message(number: int) -> BaseMessage:
    if number % 2:
        return HumanMessage(f"question {number} " * 20, id=f"id-{number:06}")
    usage = {"input_tokens": number, "output_tokens": 2, "total_tokens": number + 2}
    return AIMessage(f"answer {number} " * 20, id=f"id-{number:06}", response_metadata={"usage": usage})


def put(saver: SqliteSaver, parent: RunnableConfig, value: object, version: str | None) -> tuple[RunnableConfig, str]:
    new = saver.get_next_version(version, None)
    checkpoint = Checkpoint(
        v=4,
        id=str(uuid6()),
        ts="",
        channel_values={"messages": value},
        channel_versions={"messages": new},
        versions_seen={},
        updated_channels=None,
    )
    return saver.put(parent, checkpoint, {"source": "loop", "step": 1, "parents": {}}, {"messages": new}), new


def stored_bytes(database: Database) -> int:
    def count(connection: sqlite3.Connection) -> int:
        return sum(
            connection.execute(statement).fetchone()[0] or 0
            for statement in (
                "select sum(length(body) + length(metadata) + length(versions)) from checkpoints",
                "select sum(length(value)) from checkpoint_channels",
                "select sum(length(value)) from checkpoint_elements",
            )
        )

    return database.read_sync(count)


@pytest.fixture
def growing_database(tmp_path: Path) -> Iterator[Database]:
    database = Database(str(tmp_path / "turnkeeper.db"))
    database.open()
    yield database
    database.close()


def growth(database: Database, length: int, *, restart: bool) -> float:
    """The bytes stored per step by ten steps that each append a message."""
    saver = SqliteSaver(database)
    messages = [message(number) for number in range(length)]
    config, version = put(saver, THREAD, messages, None)
    before = stored_bytes(database)
    for number in range(length, length + 10):
        if restart:
            saver = SqliteSaver(database)
            found = saver.get_tuple(THREAD)
            assert found is not None
            messages = found.checkpoint["channel_values"]["messages"]
        messages = [*messages, message(number)]
        config, version = put(saver, config, messages, version)
    grown = stored_bytes(database) - before
    saver.delete_thread("t")
    return grown / 10


@pytest.mark.parametrize("restart", [False, True])
def test_a_step_of_a_long_thread_stores_no_more_than_one_of_a_short_thread(
    growing_database: Database, *, restart: bool
) -> None:
    short = growth(growing_database, 100, restart=restart)
    long = growth(growing_database, 2000, restart=restart)
    assert long < 1.1 * short
    assert long < 2.5 * len(serde.dumps_typed(message(2000))[1])


def test_a_window_that_slides_over_a_long_thread_stores_only_what_is_new(growing_database: Database) -> None:
    saver = SqliteSaver(growing_database)
    messages = [message(number) for number in range(500)]
    config, version = put(saver, THREAD, messages, None)
    before = stored_bytes(growing_database)
    for number in range(500, 520):
        messages = [*messages[1:], message(number)]
        config, version = put(saver, config, messages, version)
    assert (stored_bytes(growing_database) - before) / 20 < 2.5 * len(serde.dumps_typed(messages[-1])[1])


def test_a_message_changed_in_place_is_stored_as_it_has_become(growing_database: Database) -> None:
    saver = SqliteSaver(growing_database)
    messages = [message(number) for number in range(30)]
    config, version = put(saver, THREAD, messages, None)
    messages[4].response_metadata["usage"]["input_tokens"] = 999
    messages[5].additional_kwargs["new"] = [1]
    messages[6].content = [{"type": "text", "text": "blocks"}]
    put(saver, config, messages, version)
    found = SqliteSaver(growing_database).get_tuple(THREAD)
    assert found is not None
    assert found.checkpoint["channel_values"]["messages"] == messages


def test_a_list_whose_base_was_pruned_meanwhile_is_still_stored_whole(growing_database: Database) -> None:
    saver, other = SqliteSaver(growing_database), SqliteSaver(growing_database)
    messages = [message(number) for number in range(30)]
    config, version = put(saver, THREAD, messages, None)
    put(other, config, ["elsewhere"], version)
    other.prune(["t"])
    put(saver, config, [*messages, message(30)], version)
    found = other.get_tuple(THREAD)
    assert found is not None
    assert len(found.checkpoint["channel_values"]["messages"]) == 31


elements = st.one_of(
    st.none(),
    st.integers(-3, 3),
    st.booleans(),
    st.floats(allow_nan=False),
    st.text(max_size=8),
    st.binary(max_size=4),
    st.lists(st.integers(0, 2), max_size=3),
    st.dictionaries(st.text(max_size=3), st.lists(st.integers(0, 9), max_size=2), max_size=2),
    st.tuples(st.integers(0, 2), st.text(max_size=2)),
    st.builds(message, st.integers(0, 5)),
)


class ListEdits(RuleBasedStateMachine):
    """Edits, forks, rollbacks and restarts, beside a plain serialiser that stores every list whole."""

    def __init__(self) -> None:
        super().__init__()
        self.database = Database(MEMORY)
        self.database.open()
        self.plain: dict[str, tuple[str, bytes]] = {}
        self.runs: dict[str, str] = {}

    def teardown(self) -> None:
        self.database.close()

    @initialize(first=st.lists(elements, min_size=5, max_size=20))
    def begin(self, first: list[Any]) -> None:
        self.run, self.config, self.version, self.value = "run 0", THREAD, None, first
        self.saver = SqliteSaver(self.database, run_id=self.run)
        self.put()

    def put(self) -> None:
        self.config, self.version = put(self.saver, self.config, self.value, self.version)
        checkpoint_id = self.config.get("configurable", {})["checkpoint_id"]
        self.plain[checkpoint_id] = serde.dumps_typed(serde.loads_typed(serde.dumps_typed(self.value)))
        self.runs[checkpoint_id] = self.run

    @rule(more=st.lists(elements, max_size=4))
    def append(self, more: list[Any]) -> None:
        self.value = [*self.value, *more]
        self.put()

    @rule(start=st.integers(0, 20), stop=st.integers(0, 20), more=st.lists(elements, max_size=3))
    def replace(self, start: int, stop: int, more: list[Any]) -> None:
        self.value = [*self.value[:start], *more, *self.value[max(start, stop) :]]
        self.put()

    @rule(more=st.lists(elements, min_size=9, max_size=12))
    def double(self, more: list[Any]) -> None:
        self.value = [*more, *self.value, *copy.deepcopy(self.value[:10])]
        self.put()

    @rule(index=st.integers(0, 30))
    def change_in_place(self, index: int) -> None:
        if not self.value:
            return
        element = self.value[index % len(self.value)]
        if isinstance(element, list):
            element.append(len(element))
        elif isinstance(element, dict):
            element["more"] = [index]
        elif isinstance(element, AIMessage):
            element.response_metadata["usage"]["input_tokens"] = index
        elif isinstance(element, HumanMessage):
            element.additional_kwargs.setdefault("list", []).append(index)
        self.put()

    @rule(which=st.integers(0, 100), restart=st.booleans())
    def fork(self, which: int, *, restart: bool) -> None:
        checkpoint_id = sorted(self.plain)[which % len(self.plain)]
        if restart:
            self.run = f"run {len(self.runs)}"
            self.saver = SqliteSaver(self.database, run_id=self.run)
        found = self.saver.get_tuple({"configurable": {**ADDRESS, "checkpoint_id": checkpoint_id}})
        assert found is not None
        self.config = found.config
        self.value = found.checkpoint["channel_values"]["messages"]
        self.version = cast("str", found.checkpoint["channel_versions"]["messages"])

    @precondition(lambda self: len(set(self.runs.values())) > 1)
    @rule(which=st.integers(0, 100))
    def roll_back(self, which: int) -> None:
        runs = sorted(set(self.runs.values()) - {self.run})
        if not runs or self.run not in self.runs.values():
            return
        gone = runs[which % len(runs)]
        self.saver.delete_for_runs([gone])
        for checkpoint_id in [key for key, run in self.runs.items() if run == gone]:
            del self.runs[checkpoint_id], self.plain[checkpoint_id]

    @rule()
    def prune(self) -> None:
        self.saver.prune(["t"])
        newest = max(self.plain)
        self.plain, self.runs = {newest: self.plain[newest]}, {newest: self.runs[newest]}

    @invariant()
    def everything_reads_back_as_put(self) -> None:
        found = {
            item.checkpoint["id"]: item.checkpoint["channel_values"]["messages"]
            for item in SqliteSaver(self.database).list(THREAD)
        }
        assert found.keys() == self.plain.keys()
        for checkpoint_id, value in found.items():
            assert serde.dumps_typed(value) == self.plain[checkpoint_id]

    @invariant()
    def nothing_is_kept_that_no_checkpoint_needs(self) -> None:
        def count(connection: sqlite3.Connection) -> tuple[int, int]:
            (channels,) = connection.execute("select count(*) from checkpoint_channels").fetchone()
            (named,) = connection.execute(
                "select count(distinct value) from checkpoints, json_each(versions) where inline = '[]'"
            ).fetchone()
            return channels, named

        channels, named = self.database.read_sync(count)
        assert channels == named


ListEdits.TestCase.settings = settings(max_examples=25, stateful_step_count=25)
test_whatever_is_done_to_a_list_it_reads_back_as_it_was_put = ListEdits.TestCase
