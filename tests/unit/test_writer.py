"""The one thread that writes: jobs share transactions, but neither failures nor fates."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from turnkeeper.errors import Unavailable
from turnkeeper.storage.sqlite import writer as module
from turnkeeper.storage.sqlite.writer import Writer

Job = Callable[[sqlite3.Connection], Any]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Traced:
    """A writer of a real file, and every statement it was seen to run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.statements: list[str] = []
        self.writer = Writer(self._connect)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None)
        connection.execute("pragma journal_mode = wal")
        connection.execute("create table if not exists said (word text unique)")
        connection.set_trace_callback(self.statements.append)
        return connection

    def commits(self) -> int:
        return sum(statement.lower() == "commit" for statement in self.statements)

    def said(self) -> list[str]:
        """What another connection sees."""
        connection = sqlite3.connect(self.path)
        try:
            return [word for (word,) in connection.execute("select word from said order by rowid")]
        finally:
            connection.close()


class Gate:
    """A job that keeps the writer busy until it is told to go on."""

    def __init__(self) -> None:
        self.reached, self.open = threading.Event(), threading.Event()

    def __call__(self, _: sqlite3.Connection) -> None:
        self.reached.set()
        assert self.open.wait(30)

    async def hold(self, writer: Writer) -> "asyncio.Task[None]":
        holding = asyncio.create_task(writer.run(self))
        await asyncio.to_thread(self.reached.wait, 30)
        return holding


@pytest.fixture
def traced(tmp_path: Path) -> Iterator[Traced]:
    traced = Traced(tmp_path / "said.db")
    traced.writer.start()
    yield traced
    traced.writer.close()


def say(word: str) -> Job:
    def job(connection: sqlite3.Connection) -> str:
        connection.execute("insert into said values (?)", (word,))
        return word

    return job


def fail_after(word: str, error: BaseException) -> Job:
    def job(connection: sqlite3.Connection) -> None:
        connection.execute("insert into said values (?)", (word,))
        raise error

    return job


async def together(traced: Traced, *jobs: Job) -> list[Any]:
    """Run jobs so that they wait together."""
    gate = Gate()
    holding = await gate.hold(traced.writer)
    waiting = [asyncio.create_task(traced.writer.run(job)) for job in jobs]
    await asyncio.sleep(0)  # each has been handed over now
    gate.open.set()
    await holding
    return await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_result_comes_back_once_it_is_on_disk(traced: Traced) -> None:
    assert await traced.writer.run(say("a")) == "a"
    assert traced.said() == ["a"]


def test_a_thread_may_wait_for_its_job(traced: Traced) -> None:
    assert traced.writer.call(say("a")) == "a"
    with pytest.raises(ZeroDivisionError):
        traced.writer.call(fail_after("b", ZeroDivisionError()))
    assert traced.said() == ["a"]


async def test_jobs_that_wait_together_share_a_commit(traced: Traced) -> None:
    before = traced.commits()

    words = await together(traced, *[say(str(number)) for number in range(100)])

    assert words == traced.said() == [str(number) for number in range(100)]
    assert traced.commits() - before == 2  # one for the job that held the writer


async def test_a_group_is_not_larger_than_its_limit(traced: Traced, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_GROUP", 10)
    before = traced.commits()

    await together(traced, *[say(str(number)) for number in range(95)])

    assert traced.commits() - before == 11


@pytest.mark.parametrize(
    "error",
    [ZeroDivisionError(), sqlite3.IntegrityError(), KeyError("k"), asyncio.CancelledError()],
    ids=lambda error: type(error).__name__,
)
async def test_a_failing_job_is_undone_alone(traced: Traced, error: BaseException) -> None:
    first, failed, last = await together(traced, say("a"), fail_after("b", error), say("c"))

    assert (first, last) == ("a", "c")
    assert type(failed) is type(error)
    assert traced.said() == ["a", "c"]


async def test_a_broken_constraint_is_its_own_jobs_trouble(traced: Traced) -> None:
    first, failed, last = await together(traced, say("a"), say("a"), say("c"))

    assert (first, last) == ("a", "c")
    assert isinstance(failed, sqlite3.IntegrityError)
    assert traced.said() == ["a", "c"]


async def test_a_wrong_statement_is_its_own_jobs_trouble(traced: Traced) -> None:
    def wrong(connection: sqlite3.Connection) -> None:
        connection.execute("insert into said values ('b')")
        connection.execute("select json('no json')")

    first, failed, last = await together(traced, say("a"), wrong, say("c"))

    assert (first, last) == ("a", "c")
    assert isinstance(failed, sqlite3.OperationalError)
    assert traced.said() == ["a", "c"]


async def test_when_the_disk_is_full_nobody_is_told_otherwise(traced: Traced) -> None:
    def fill(connection: sqlite3.Connection) -> None:
        (pages,) = connection.execute("pragma page_count").fetchone()
        connection.execute(f"pragma max_page_count = {pages}")
        connection.execute("insert into said values (?)", ("x" * 100_000,))

    answers = await together(traced, say("a"), fill, say("c"))

    assert [type(answer) for answer in answers] == [Unavailable] * 3
    assert traced.said() == []
    await traced.writer.run(lambda connection: connection.execute("pragma max_page_count = 1000000").fetchone())
    assert await traced.writer.run(say("d")) == "d"


async def test_jobs_run_in_the_order_they_were_handed_over(traced: Traced) -> None:
    order: list[int] = []

    await together(traced, *[lambda _, number=number: order.append(number) for number in range(50)])

    assert order == list(range(50))


async def test_closing_finishes_what_was_handed_over(traced: Traced) -> None:
    gate = Gate()
    holding = await gate.hold(traced.writer)
    waiting = [asyncio.create_task(traced.writer.run(say(str(number)))) for number in range(600)]
    await asyncio.sleep(0)
    closing = asyncio.create_task(asyncio.to_thread(traced.writer.close))
    gate.open.set()

    assert await asyncio.gather(*waiting) == [str(number) for number in range(600)]
    await asyncio.gather(holding, closing)
    assert len(traced.said()) == 600


async def test_a_closed_writer_takes_nothing_more(traced: Traced) -> None:
    traced.writer.close()
    traced.writer.close()

    with pytest.raises(Unavailable):
        await traced.writer.run(say("a"))
    with pytest.raises(Unavailable):
        traced.writer.call(say("a"))


def test_nobody_waits_for_a_writer_that_closed_meanwhile(tmp_path: Path) -> None:
    """Every job is either carried out or refused, however close the calls come."""
    answers: list[object] = []

    def hand_over(traced: Traced, start: threading.Barrier) -> None:
        start.wait()
        try:
            answers.append(traced.writer.call(say(threading.current_thread().name)))
        except Unavailable as error:
            answers.append(error)

    for attempt in range(20):
        traced, start = Traced(tmp_path / f"{attempt}.db"), threading.Barrier(5)
        traced.writer.start()
        threads = [threading.Thread(target=hand_over, args=(traced, start), daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        start.wait()
        traced.writer.close()
        for thread in threads:
            thread.join(10)
    assert len(answers) == 80


async def test_a_caller_that_gives_up_does_not_stop_its_job(traced: Traced) -> None:
    gate = Gate()
    holding = await gate.hold(traced.writer)
    waiting = asyncio.create_task(traced.writer.run(say("a")))
    await asyncio.sleep(0)
    waiting.cancel()
    gate.open.set()
    await holding

    assert await traced.writer.run(say("b")) == "b"
    assert traced.said() == ["a", "b"]


async def test_whoever_is_told_first_is_told_of_what_is_on_disk(traced: Traced) -> None:
    told: list[tuple[Any, list[str]]] = []

    await traced.writer.run(say("a"), lambda result: told.append((result, traced.said())))
    with pytest.raises(sqlite3.IntegrityError):
        await traced.writer.run(say("a"), lambda result: told.append((result, traced.said())))

    assert told == [("a", ["a"]), (None, ["a"])]


async def test_a_listener_that_fails_does_not_stop_the_writer(traced: Traced) -> None:
    def broken(_: object) -> None:
        raise RuntimeError

    waiting = asyncio.create_task(traced.writer.run(say("a"), broken))

    assert await traced.writer.run(say("b")) == "b"
    assert await waiting == "a"


async def test_what_nobody_waits_for_is_written_too(traced: Traced) -> None:
    failures: list[BaseException] = []
    before = traced.commits()

    traced.writer.post(say("a"), failures.append)
    traced.writer.post(fail_after("b", ZeroDivisionError()), failures.append)
    await traced.writer.run(say("c"))

    assert traced.said() == ["a", "c"]
    assert [type(failure) for failure in failures] == [ZeroDivisionError]
    assert traced.commits() - before <= 2


def test_a_file_that_cannot_be_opened_is_told_to_whoever_starts(tmp_path: Path) -> None:
    writer = Writer(lambda: sqlite3.connect(tmp_path / "missing" / "said.db"))

    with pytest.raises(sqlite3.OperationalError):
        writer.start()
    writer.close()
