"""The backends under test. A test asks for `kit` or `storage` and runs once on each; it never names a backend."""

import asyncio
import functools
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, Protocol, cast

import msgspec
import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint

from turnkeeper.contracts import Signals, Storage
from turnkeeper.lifecycle import Strategy
from turnkeeper.storage.queries import load
from turnkeeper.storage.sqlite.checkpoints import SqliteSaver
from turnkeeper.storage.sqlite.storage import SqliteStorage
from turnkeeper.types import (
    EMPTY,
    NO_LIMITS,
    Admitted,
    Assistant,
    Claimed,
    Composed,
    Limits,
    NewThread,
    Preconditions,
    RunRequest,
    uuid7,
)

ASSISTANT = "0a000000-0000-4000-8000-000000000001"
GRAPH = "agent"
START = 1_800_000_000.0

Rows = dict[str, list[tuple[Any, ...]]]


class Time:
    """A clock that stands still until told otherwise."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


class NoRoom:
    """Signals of a process whose workers are all busy: every run waits in its queue until it is claimed."""

    def reserve(self) -> bool:
        return False

    def hand_over(self, claimed: Claimed | None) -> None:
        raise AssertionError("nothing was reserved")

    def wake(self) -> None:
        pass

    def cancel(self, run_ids: Sequence[str]) -> None:
        pass


class Backend(Protocol):
    """What a backend gives the suite besides the contract: a way to open it, and a look inside."""

    plans: bool
    """Whether it plans and counts its work so predictably that tests may look at it."""

    examples: int
    """How many sequences of moves are worth their time in every run of the tests."""
    most_writes: int | None
    """Statements that change something which a run of one node may take; `None` where they cost next to nothing."""

    def open(self, place: Path, clock: Time, limits: Limits = NO_LIMITS) -> Storage: ...

    def dump(self, storage: Storage) -> Rows:
        """Every row of every table."""
        ...

    def journal(self, storage: Storage) -> list[tuple[str, str]]:
        """Run and event of every row of the journal."""
        ...

    def kill(self, storage: Storage) -> None:
        """Let go of the database without any of the moves of an orderly end."""
        ...

    def count_writes(self) -> AbstractContextManager[list[str]]:
        """The statements that change something, sent while it lasts."""
        ...

    def saver(self, storage: Storage, run_id: str | None = None) -> BaseCheckpointSaver[str]:
        """A checkpointer that nothing fences; what it puts is the run's."""
        ...

    def plan(self, storage: Storage, topic: str, name: str) -> list[str]:
        """How the database would carry out a named statement."""
        ...

    def count_work(self, storage: Storage) -> Callable[[], int]:
        """Start to count what the writer does; what is returned stops and says how much it was."""
        ...


@functools.cache
def new_file() -> bytes:
    """A database in which nothing is yet: to make one takes longer than most tests."""
    with tempfile.TemporaryDirectory(prefix="turnkeeper-") as folder:
        path = Path(folder, "turnkeeper.db")
        storage = SqliteStorage(str(path))
        storage.open()
        storage.close()
        return path.read_bytes()


class Sqlite:
    """The suite's view of the SQLite backend."""

    plans = True
    examples = 12
    most_writes: int | None = None

    def count_writes(self) -> AbstractContextManager[list[str]]:
        raise NotImplementedError

    def open(self, place: Path, clock: Time, limits: Limits = NO_LIMITS) -> Storage:
        path = place / "turnkeeper.db"
        if not path.exists():
            path.write_bytes(new_file())
        storage = SqliteStorage(str(path), clock, limits=limits)
        storage.open()
        return cast("Storage", storage)

    def dump(self, storage: Storage) -> Rows:
        def job(connection: sqlite3.Connection) -> Rows:
            tables = connection.execute("select name from sqlite_schema where type = 'table' order by name").fetchall()
            return {name: connection.execute(f"select * from {name}").fetchall() for (name,) in tables}

        return self._inside(storage, job)

    def journal(self, storage: Storage) -> list[tuple[str, str]]:
        statement = "select run_id, event from journal order by seq"
        return self._inside(storage, lambda connection: connection.execute(statement).fetchall())

    def kill(self, storage: Storage) -> None:
        storage.close()

    def saver(self, storage: Storage, run_id: str | None = None) -> BaseCheckpointSaver[str]:
        return SqliteSaver(cast("SqliteStorage", storage)._database, run_id=run_id)

    def plan(self, storage: Storage, topic: str, name: str) -> list[str]:
        statement: str = getattr(load("sqlite", topic), name)

        def job(connection: sqlite3.Connection) -> list[str]:
            return [row[3] for row in connection.execute(f"explain query plan {statement}", _Anything())]

        return self._inside(storage, job)

    def count_work(self, storage: Storage) -> Callable[[], int]:
        steps: list[None] = []
        self._inside(storage, lambda connection: connection.set_progress_handler(lambda: steps.append(None), 1))

        def stop() -> int:
            self._inside(storage, lambda connection: connection.set_progress_handler(None, 1))
            return len(steps)

        return stop

    def _inside(self, storage: Storage, job: Callable[[sqlite3.Connection], Any]) -> Any:
        return cast("SqliteStorage", storage)._database.write_sync(job)


class _Anything(dict[str, Any]):
    """A value for every parameter of a statement."""

    def __missing__(self, _: str) -> None:
        return None


BACKENDS = ("sqlite", "postgres")


class Kit:
    """A storage under test, and the few words in which tests talk to it."""

    def __init__(self, backend: Backend, place: Path, limits: Limits = NO_LIMITS) -> None:
        self.backend = backend
        self.clock = Time()
        self.signals: Signals = NoRoom()
        self._place = place
        self.limits = limits
        self.storage = backend.open(place, self.clock, limits)

    def close(self) -> None:
        with suppress(Exception):
            self.storage.close()

    def crash(self) -> None:
        """The server dies and starts again on the same database."""
        self.backend.kill(self.storage)
        self.storage = self.backend.open(self._place, self.clock, self.limits)

    async def prepare(self) -> None:
        """Make the assistant that runs are asked of."""
        await self.storage.assistants.create(assistant(), exist_ok=True)

    async def thread(self, *, temporary: bool = False, **metadata: Any) -> str:
        """Make a thread."""
        thread_id = uuid7()
        await self.storage.threads.create(NewThread(thread_id, metadata, temporary=temporary), exist_ok=False)
        return thread_id

    async def admit(self, thread_id: str, strategy: Strategy = "enqueue", **fields: Any) -> Admitted:
        """Admit one run."""
        [admitted] = await self.admit_all([self.request(thread_id, strategy, **fields)])
        return admitted

    async def admit_all(self, requests: Sequence[RunRequest]) -> list[Admitted]:
        """Admit several runs in one go."""
        return await self.storage.runs.admit(requests, self.signals)

    def request(self, thread_id: str, strategy: Strategy = "enqueue", **fields: Any) -> RunRequest:
        """A run as asked for; `fields` replace what tests seldom care for."""
        usual: dict[str, Any] = {
            "run_id": uuid7(),
            "assistant_id": ASSISTANT,
            "compose": composed,
            "due_at": self.clock.now,
            "preconditions": Preconditions(max_queued=100_000),
        }
        return RunRequest(thread_id=thread_id, strategy=strategy, **{**usual, **fields})

    async def claim(self) -> Claimed:
        """Claim the only run there is to claim."""
        [claimed] = (await self.storage.runs.claim(10)).taken
        return claimed

    async def running(self, thread_id: str, strategy: Strategy = "enqueue", **fields: Any) -> Claimed:
        """Admit a run and claim it."""
        admitted = await self.admit(thread_id, strategy, **fields)
        claimed = await self.claim()
        assert claimed.run_id == admitted.run.run_id
        return claimed

    async def statuses(self, thread_id: str) -> list[str]:
        """The statuses of a thread's runs in admission order."""
        found = await self.storage.runs.of_thread(thread_id, status=None, limit=1000, offset=0)
        return [run.status for run in reversed(found)]

    def checkpoint(self, claimed: Claimed, value: str) -> None:
        """Store a checkpoint of a run on top of its thread's newest, and a write on it, as a graph's step does."""
        saver = self.storage.run_checkpointer(claimed, deferred=False)
        before: RunnableConfig = {"configurable": {"thread_id": claimed.thread_id, "checkpoint_ns": ""}}
        newest = saver.get_tuple(before)
        version = saver.get_next_version(str(newest.checkpoint["channel_versions"]["said"]) if newest else None, None)
        checkpoint = empty_checkpoint()
        checkpoint["channel_values"] = {"said": value}
        checkpoint["channel_versions"] = {"said": version}
        parent = newest.config if newest else before
        config = saver.put(parent, checkpoint, {"source": "loop", "run_id": claimed.run_id}, {"said": version})
        saver.put_writes(config, [("said", value)], "a-task")

    def saver(self, run_id: str | None = None) -> BaseCheckpointSaver[str]:
        """A checkpointer that nothing fences; what it puts is the run's."""
        return self.backend.saver(self.storage, run_id)

    def said(self, thread_id: str) -> str:
        """What a thread's newest checkpoint holds."""
        newest = self.storage.thread_checkpointer(thread_id).get_tuple(
            {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
        )
        assert newest is not None
        return newest.checkpoint["channel_values"]["said"]

    def dump(self) -> Rows:
        """Every row of every table."""
        return self.backend.dump(self.storage)

    def journal(self, run_id: str) -> list[str]:
        """What the journal says happened to a run."""
        return [event for run, event in self.backend.journal(self.storage) if run == run_id]

    async def work(self, doing: Awaitable[Any]) -> int:
        """How much the database does for something, in steps of its own."""
        stop = self.backend.count_work(self.storage)
        await doing
        return stop()

    def plan(self, topic: str, name: str) -> str:
        """How the database would carry out a named statement, as one text."""
        return "\n".join(self.backend.plan(self.storage, topic, name))


def assistant(assistant_id: str = ASSISTANT, **fields: Any) -> Assistant:
    """An assistant; `fields` replace what tests seldom care for."""
    usual: dict[str, Any] = {
        "graph_id": GRAPH,
        "name": "Untitled",
        "description": None,
        "config": EMPTY,
        "context": EMPTY,
        "metadata": EMPTY,
        "version": 1,
        "created_at": "",
        "updated_at": "",
    }
    return Assistant(assistant_id, **{**usual, **fields})


def composed(_: Assistant, thread_metadata: dict[str, Any], *, answers: bool) -> Composed:
    """A run's own metadata are its thread's."""
    kwargs = msgspec.json.encode({"answers": answers})
    return Composed(metadata=msgspec.Raw(msgspec.json.encode(thread_metadata)), kwargs=msgspec.Raw(kwargs))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Backend]:
    """A PostgreSQL server for the whole session; it is started by the first test that needs it."""
    from tests.conformance.postgres_kit import Postgres, server

    with server() as uri:
        yield Postgres(uri)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    """The parts of a backend that only the suite needs; each parameter is one backend."""
    return Sqlite() if request.param == "sqlite" else request.getfixturevalue(request.param)


@pytest.fixture
def kit(backend: Backend, tmp_path: Path) -> Iterator[Kit]:
    """A storage with one assistant, and what tests need around it."""
    kit = Kit(backend, tmp_path)
    asyncio.run(kit.prepare())
    yield kit
    kit.close()


@pytest.fixture
def storage(backend: Backend, tmp_path: Path) -> Iterator[Storage]:
    """An empty storage."""
    storage = backend.open(tmp_path, Time())
    yield storage
    storage.close()
