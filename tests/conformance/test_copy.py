"""The copy from SQLite to PostgreSQL: all of it, or nothing that anybody could see."""

import asyncio
import operator
import os
import signal
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, TypedDict, cast

import psycopg
import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt
from psycopg import sql

from tests.conformance.conftest import START as NOON
from tests.conformance.conftest import Kit, Sqlite, Time, assistant
from tests.conformance.copy_kit import new_database
from tests.conformance.postgres_kit import Postgres
from tests.conformance.test_crons import cron
from turnkeeper.codec import raw
from turnkeeper.contracts import Frame
from turnkeeper.errors import ConfigError
from turnkeeper.storage.copying import copy as copying
from turnkeeper.storage.copying.copy import Copied, copy
from turnkeeper.storage.copying.rules import RULES
from turnkeeper.storage.postgres.checkpoints import Saver
from turnkeeper.storage.postgres.storage import PostgresStorage
from turnkeeper.types import Limits, Outcome, Preconditions, Queueing, timestamp, uuid7

AS_THEY_ARE = [rule.source for rule in RULES if rule.target == rule.source and not rule.made]
BOOKKEEPING = {"turnkeeper_schema", "store_migrations", "turnkeeper_copies"}
"""Tables that say what was done to the database."""

HINTS = {"stream_told", "stream_readers", "stream_processes", "stream_life"}
"""Tables of what servers tell each other right now."""


@pytest.fixture
def target(postgres: Postgres) -> Iterator[str]:
    with new_database(postgres.uri) as uri:
        yield uri


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Kit]:
    kit = Kit(Sqlite(), tmp_path, Limits(named={"gpu": 1}))
    asyncio.run(kit.prepare())
    yield kit
    kit.close()


def copied(file: Kit, target: str, **options: Any) -> Copied:
    """Stop the server and copy."""
    file.close()
    return copy(path(file), target, options.get("progress", lambda *_: None))


def path(file: Kit) -> str:
    return str(file._place / "turnkeeper.db")


def rows_of(connection: Any, table: str, columns: Sequence[str]) -> list[Any]:
    names = ", ".join(columns)
    return sorted(map(tuple, connection.execute(f"select {names} from {table}").fetchall()), key=str)


def holdings(target: str) -> dict[str, int]:
    """The rows of each table that takes some."""
    with psycopg.connect(target) as connection:
        named = [rule.target for rule in RULES if rule.target]
        counts = {
            name: connection.execute(sql.SQL("select count(*) from {}").format(sql.Identifier(name))) for name in named
        }
        return {name: cast("Any", count.fetchone())[0] for name, count in counts.items()}


class State(MessagesState):
    steps: Annotated[list[str], operator.add]
    log: Annotated[
        list[str], DeltaChannel(lambda all_, new: [*all_, *(x for each in new for x in each)], snapshot_frequency=3)
    ]
    note: str
    plain: str
    far: float
    big: int
    table: dict[str, Any]


class Update(TypedDict, total=False):
    messages: list[Any]
    steps: list[str]
    log: list[str]
    note: str
    plain: str
    far: float
    big: int
    table: dict[str, Any]


def talk(state: State) -> Update:
    said = len(state["messages"])
    return {
        "messages": [AIMessage(f"answer {said}", id=f"a{said}"), AIMessage("more\0", id=f"m{said}")],
        "steps": [f"step {said}"],
        "log": [f"line {said}"],
        "note": f"two\nlines {said % 3}",
        "plain": f"note {said}",
        "far": float("inf"),
        "big": 2**63,
        "table": {"said": said, "by": ["nobody"] * 12},
    }


def ask(state: State) -> Update:
    if state["messages"][0].content == "ask":
        return {"steps": [interrupt("go on?")]}
    return {}


def converse(kit: Kit, thread_id: str, said: Sequence[str]) -> None:
    """Say something on a thread, one run each; what comes of it is stored as runs store it."""
    builder = StateGraph(State)
    builder.add_node("talk", talk)
    builder.add_node("ask", ask)
    builder.add_edge(START, "talk")
    builder.add_edge("talk", "ask")
    for words in said:
        run_id = uuid7()
        graph = builder.compile(checkpointer=kit.saver(run_id))
        config: RunnableConfig = {
            "configurable": {"thread_id": thread_id},
            "metadata": {"run_id": run_id, "said": words},
        }
        graph.invoke(cast("Any", {"messages": [HumanMessage(words, id=uuid7())]}), config)


def plain(found: CheckpointTuple) -> Any:
    """A checkpoint so that two can be compared."""
    return (found.config, found.checkpoint, found.metadata, found.parent_config, found.pending_writes)


def by_place(found: Iterator[CheckpointTuple]) -> list[Any]:
    return sorted(map(plain, found), key=lambda each: str(each[0]))


async def filled(kit: Kit) -> str:
    """A file in which something of everything is; the thread that waits in its queue."""
    storage = kit.storage
    await storage.assistants.create(assistant(uuid7(), name="nul\0ify", metadata=raw({"a": "b\0"})), exist_ok=False)
    done = await kit.thread(color="red")
    claimed = await kit.running(done, preconditions=Preconditions(idempotency_key="key", fingerprint="print"))
    kit.checkpoint(claimed, "hello")
    await storage.runs.finish(claimed.run_id, 1, Outcome("success", values=raw({"said": "hello"}), interrupts=raw({})))
    queue = await kit.thread()
    for number in range(5):
        wanted = Queueing(priority=number, fairness_key=f"tenant {number % 2}", concurrency_key="gpu")
        await kit.admit(queue, queueing=wanted)
        await kit.admit(await kit.thread(), queueing=wanted)
    await kit.admit(queue, due_at=NOON + 60)
    await kit.admit(await kit.thread(temporary=True))
    await storage.crons.create(cron(thread_id=queue, next_run_date=timestamp(NOON), metadata=raw({"a": "b\0"})))
    await storage.crons.create(cron(enabled=False, on_run_completed="keep", end_time=timestamp(NOON + 1)))
    storage.events.post([
        Frame(7, queue, "some-run", "values", b"{}"),
        Frame(8, queue, "some-run", "tasks", b"\0", ("a:1",), "node", protocol=True),
    ])  # fmt: skip
    await storage.items.aput(("users", "ann"), "cat", {"name": "Tom", "odd": "a\\u0000b"})
    kit.clock.now += 1
    await storage.items.aput(("users", "ann"), "dog", {"name": "Rex", "nul": "a\0b"}, ttl=1.5)
    kit.clock.now += 1
    await storage.items.aput(("users",), "x", {"list": [1, 2.5, None]})
    return queue


async def test_every_row_arrives_as_it_is(file: Kit, target: str) -> None:
    await filled(file)
    copied(file, target)
    with closing(sqlite3.connect(path(file))) as source, psycopg.connect(target) as there:
        for table in AS_THEY_ARE:
            columns = [name for _, name, *_ in source.execute(f"pragma table_info({table})")]
            expected = [
                tuple(value.replace("\0", "") if isinstance(value, str) else value for value in row)
                for row in rows_of(source, table, columns)
            ]
            assert expected, table
            assert rows_of(there, table, columns) == expected


def test_the_copied_state_reads_back_equal(file: Kit, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "BATCH", 7)
    converse(file, "long", [f"words {number}" for number in range(9)])
    converse(file, "asked", ["ask"])
    saver = file.saver()
    before = by_place(saver.list(None))
    wholes = [saver.get_delta_channel_history(config=each[0], channels=["log"]) for each in before]
    copied(file, target)
    storage = PostgresStorage(target, file.clock)
    storage.open()
    reading = Saver(storage._database)
    assert by_place(reading.list(None)) == before
    assert [reading.get_delta_channel_history(config=each[0], channels=["log"]) for each in before] == wholes
    with psycopg.connect(target) as connection:
        marks = "select count(*) from checkpoints where checkpoint -> 'channel_values' -> 'log' = 'true'"
        [(marked,)] = connection.execute(marks).fetchall()
    assert marked > 0
    storage.close()


def test_a_conversation_goes_on_where_it_was(file: Kit, target: str) -> None:
    converse(file, "long", ["one", "two"])
    copied(file, target)
    kit = Kit(_There(target), file._place)
    converse(kit, "long", ["three"])
    newest = kit.saver().get_tuple({"configurable": {"thread_id": "long"}})
    assert newest is not None
    values = newest.checkpoint["channel_values"]
    assert [m.content for m in values["messages"] if isinstance(m, HumanMessage)] == ["one", "two", "three"]
    assert len(values["steps"]) == 3
    kit.close()


async def test_items_are_found_again(file: Kit, target: str) -> None:
    await filled(file)
    before = await file.storage.items.asearch((), limit=100, refresh_ttl=False)
    copied(file, target)
    with psycopg.connect(target) as connection:
        expiring = "select extract(epoch from expires_at), ttl_minutes from store where key = 'dog'"
        assert connection.execute(expiring).fetchall() == [(NOON + 1 + 90, 2)]
    storage = PostgresStorage(target, file.clock)
    storage.open()
    found = await storage.items.asearch((), limit=100)
    assert [item.key for item in found] == ["x", "dog", "cat"]
    assert found[1].value == {"name": "Rex", "nul": "ab"}
    assert [found[0], found[2]] == [before[0], before[2]]
    storage.close()


async def test_the_queue_goes_on_in_its_order(file: Kit, target: str) -> None:
    queue = await filled(file)
    order = [run.run_id for run in await file.storage.runs.of_thread(queue, status="pending", limit=9, offset=0)]
    copied(file, target)
    storage = PostgresStorage(target, file.clock, limits=file.limits)
    storage.open()
    started: list[str] = []
    turns: list[int] = []
    while taken := (await storage.runs.claim(10)).taken:
        turns.append(len([run for run in taken if run.thread_id != queue]))
        started += [run.run_id for run in taken if run.thread_id == queue]
        for run in taken:
            await storage.runs.finish(run.run_id, run.attempt, Outcome("success"))
    assert started == order[:0:-1]
    assert max(turns) <= 2  # one on the GPU, and the stateless one, which needs none
    later = await file_run(storage, queue)
    assert later > order[0]
    storage.close()


async def file_run(storage: PostgresStorage, thread_id: str) -> str:
    """Admit one more run: what counts by itself goes on counting."""
    kit = Kit.__new__(Kit)
    kit.clock, kit.signals, kit.storage = Time(), _no_room(), cast("Any", storage)
    return (await kit.admit(thread_id)).run.run_id


async def test_runs_of_a_server_that_died_wait_again(file: Kit, target: str) -> None:
    thread = await file.thread()
    claimed = await file.running(thread)
    await file.admit(thread)
    assert copied(file, target).resumed == 1
    storage = PostgresStorage(target, file.clock)
    storage.open()
    [taken] = (await storage.runs.claim(10)).taken
    assert (taken.run_id, taken.attempt, taken.crashes) == (claimed.run_id, 2, 1)
    storage.close()


def test_nothing_in_either_database_is_without_a_rule(file: Kit, target: str) -> None:
    copied(file, target)
    with psycopg.connect(target) as connection:
        found = connection.execute("select tablename from pg_tables where schemaname = 'public'")
        assert {name for (name,) in found} == {rule.target for rule in RULES if rule.target} | BOOKKEEPING | HINTS


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("create table novel (page)", "novel of the file"),
        ("alter table runs add column colour", "runs.colour of the file"),
    ],
)
def test_what_has_no_rule_is_not_left_behind_unseen(file: Kit, target: str, change: str, named: str) -> None:
    file.close()
    with closing(sqlite3.connect(path(file))) as connection:
        connection.execute(change)
    with pytest.raises(ConfigError) as refused:
        copied(file, target)
    assert named in str(refused.value.cause)


async def test_a_column_that_only_the_database_has_is_not_left_empty_unseen(file: Kit, target: str) -> None:
    storage = PostgresStorage(target, file.clock)
    storage.open()
    storage.close()
    with psycopg.connect(target) as connection:
        connection.execute("alter table threads add column shape text")
    with pytest.raises(ConfigError) as refused:
        copied(file, target)
    assert "threads.shape of the database" in str(refused.value.cause)


def test_other_data_is_not_mixed_in(file: Kit, target: str) -> None:
    storage = PostgresStorage(target, file.clock)
    storage.open()
    storage.items.put(("somebody",), "else", {})
    storage.close()
    with pytest.raises(ConfigError) as refused:
        copied(file, target)
    assert "store" in str(refused.value.cause)
    assert holdings(target)["assistants"] == 0


async def test_a_database_on_which_a_server_has_only_started_takes_a_copy(file: Kit, target: str) -> None:
    storage = PostgresStorage(target, file.clock, limits=Limits(each=3))
    storage.open()
    await storage.assistants.create(assistant(uuid7(), metadata=raw({"created_by": "system"})), exist_ok=True)
    storage.close()
    copied(file, target)
    assert holdings(target)["assistants"] == 1


async def test_a_copied_cron_fires_when_it_is_due(file: Kit, target: str) -> None:
    thread = await file.thread()
    due = await file.storage.crons.create(cron(thread_id=thread, next_run_date=timestamp(NOON)))
    copied(file, target)
    kit = Kit(_There(target), file._place)
    assert await kit.storage.crons.due(NOON, 9) == [due]
    assert await kit.storage.crons.fire(due, None, kit.request(thread), kit.signals) is not None
    assert await kit.statuses(thread) == ["pending"]
    kit.close()


async def test_a_copy_that_is_there_is_not_made_again(file: Kit, target: str) -> None:
    await filled(file)
    assert copied(file, target).before is None
    there = holdings(target)
    assert copy(path(file), target, lambda *_: None).before is not None
    assert holdings(target) == there


async def test_a_file_served_from_since_it_was_copied_is_refused(file: Kit, target: str) -> None:
    copied(file, target)
    file.storage = file.backend.open(file._place, file.clock, file.limits)
    await file.thread()
    with pytest.raises(ConfigError):
        copied(file, target)


def test_a_file_a_server_has_open_is_refused(file: Kit, target: str) -> None:
    with pytest.raises(ConfigError) as refused:
        copy(path(file), target, lambda *_: None)
    assert "in use" in refused.value.problem
    assert "--db" not in str(refused.value.fix)


def test_only_a_file_of_ours_is_copied(tmp_path: Path, target: str) -> None:
    other, text = tmp_path / "other.db", tmp_path / "text"
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("create table t (a)")
    text.write_text("no database " * 100)
    for file in (other, text, tmp_path / "nothing", tmp_path):
        with pytest.raises(ConfigError):
            copy(str(file), target, lambda *_: None)
    with closing(sqlite3.connect(other)) as connection:
        assert connection.execute("select name from sqlite_schema").fetchall() == [("t",)]
    assert not (tmp_path / "nothing").exists()


def test_a_server_that_starts_during_a_copy_sees_all_of_it(file: Kit, target: str) -> None:
    converse(file, "long", ["one"])
    seen: list[Any] = []

    def serve() -> None:
        storage = PostgresStorage(target, file.clock)
        storage.open()
        seen.extend(Saver(storage._database).list(None))
        storage.close()

    server = threading.Thread(target=serve)

    def progress(table: str, *_: int) -> None:
        if table == "checkpoints":
            server.start()

    copied(file, target, progress=progress)
    server.join(20)
    assert len(seen) == 4


def killed_after(steps: int, file: str, target: str) -> bool:
    """Copy in a process that is killed after so many steps; whether it came so far."""
    child = os.fork()
    if child == 0:
        left = iter(range(steps))

        def progress(*_: Any) -> None:
            if next(left, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)

        code = 1
        try:
            copy(file, target, progress)
            code = 0
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL)
    return code != 0


async def test_a_copy_killed_at_any_moment_is_made_anew(
    file: Kit, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(file)
    converse(file, "long", ["one", "two"])
    expected = Kit.dump(file)
    file.close()
    monkeypatch.setattr(copying, "BATCH", 10)
    kills = 0
    while killed_after(3 * kills, path(file), target):
        kills += 1
        if kills > 1:  # the tables are made by the first
            assert set(holdings(target).values()) == {0}
    assert kills > 5
    there = holdings(target)
    assert copy(path(file), target, lambda *_: None).before is not None
    assert there["checkpoints"] == len(expected["checkpoints"])
    assert there["journal"] == len(expected["journal"])
    assert holdings(target) == there


class _There(Postgres):
    """A database as it is."""

    def _empty(self, connection: psycopg.Connection) -> None:
        pass


def _no_room() -> Any:
    from tests.conformance.conftest import NoRoom

    return NoRoom()
