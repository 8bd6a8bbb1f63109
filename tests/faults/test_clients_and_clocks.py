"""Clients that leave in the middle, and clocks that jump."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from tests.nursery import Start
from tests.wire.live import DEADLINE
from tests.wire.talk import Talk, whole
from turnkeeper.contracts import Signals
from turnkeeper.storage.sqlite.storage import SqliteStorage
from turnkeeper.stream.signals import LocalSignals
from turnkeeper.types import Assistant, Composed, NewThread, Outcome, Preconditions, RunRequest, Supersession, uuid7


@asynccontextmanager
async def listening(http: httpx.AsyncClient, talk: Talk, **body: Any) -> AsyncGenerator[str]:
    """A client that streams a run and leaves when the block ends."""
    given = {"assistant_id": "steps", "input": {"tag": "A"}, **body}
    async with http.stream("POST", f"/threads/{talk.thread_id}/runs/stream", json=given) as response:
        yield response.headers["content-location"].rpartition("/")[2]


async def test_a_run_stops_at_once_when_its_client_leaves_and_wanted_that(talk: Talk, http: httpx.AsyncClient) -> None:
    talk.hold("A.n2")
    async with listening(http, talk, on_disconnect="cancel") as run:
        await talk.started("A.n2")
    await talk.noted("A.n2 was cancelled")
    await talk.end_of(run)
    assert await talk.status(run) == "interrupted"
    assert await talk.steps() == ["A.n1"]
    talk.let("A.n2")


@pytest.mark.parametrize("given", [{"on_disconnect": "continue"}, {}])
async def test_a_run_goes_on_when_its_client_leaves(talk: Talk, http: httpx.AsyncClient, given: Any) -> None:
    talk.hold("A.n2")
    async with listening(http, talk, **given) as run:
        await talk.started("A.n2")
    talk.let("A.n2")
    await talk.end_of(run)
    assert await talk.status(run) == "success"
    assert await talk.steps() == whole("A")


async def test_a_queued_run_whose_client_leaves_never_starts(talk: Talk, http: httpx.AsyncClient) -> None:
    talk.hold("Z.n1")
    first = await talk.say("Z")
    await talk.started("Z.n1")
    async with listening(http, talk, on_disconnect="cancel") as run:
        pass
    async with asyncio.timeout(DEADLINE):
        while await talk.status(run) == "pending":
            await http.get("/ok")
    talk.let("Z.n1")
    await talk.end_of(first)
    assert await talk.status(run) == "interrupted"
    assert await talk.steps() == whole("Z")


async def test_a_client_that_left_before_a_crash_wanted_its_run_stopped_after_it_too(start: Start) -> None:
    live = start()
    async with httpx.AsyncClient(base_url=live.url, timeout=DEADLINE) as http:
        thread = (await http.post("/threads", json={})).json()["thread_id"]
        live.gates.hold(thread, "A.n2")
        body = {"assistant_id": "steps", "input": {"tag": "A"}, "on_disconnect": "cancel"}
        async with http.stream("POST", f"/threads/{thread}/runs/stream", json=body):
            await live.gates.started(thread, "A.n2")
        await live.gates.noted(thread, "A.n2 was cancelled")
    live.kill()
    live.gates.let(thread, "A.n2")
    async with httpx.AsyncClient(base_url=start().url, timeout=DEADLINE) as http:
        [run] = (await http.get(f"/threads/{thread}/runs")).json()
        await http.get(f"/threads/{thread}/runs/{run['run_id']}/join")
        [run] = (await http.get(f"/threads/{thread}/runs")).json()
    assert run["status"] == "interrupted"
    assert live.gates.visits(thread) == ["A.n1", "A.n2"]


# --- Clocks -----------------------------------------------------------------------------------------------------------


class Jumping:
    """A clock the test sets."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Queue:
    """The queues of a storage whose clock jumps."""

    def __init__(self, folder: Path) -> None:
        self.clock = Jumping()
        self.storage = SqliteStorage(str(folder / "turnkeeper.db"), self.clock)
        self.storage.open()
        self.signals: Signals = LocalSignals()

    async def thread(self) -> str:
        thread_id = uuid7(self.clock)
        await self.storage.threads.create(NewThread(thread_id=thread_id, metadata={}), exist_ok=False)
        return thread_id

    async def admit(self, thread_id: str, delay: float = 0.0) -> str:
        def compose(*_: Any, **__: Any) -> Composed:
            return Composed(metadata=msgspec.Raw(b"{}"), kwargs=msgspec.Raw(b"{}"))

        request = RunRequest(
            run_id=uuid7(self.clock),
            thread_id=thread_id,
            assistant_id="a",
            strategy="enqueue",
            compose=compose,
            due_at=self.clock() + delay,
            stateless=False,
            has_command=False,
            preconditions=Preconditions(),
            supersession=Supersession(),
            new_thread=None,
        )
        [admitted] = await self.storage.runs.admit([request], self.signals)
        return admitted.run.run_id

    async def next(self) -> str | None:
        """Claim the next run and end it; `None` when none is due."""
        taken = (await self.storage.runs.claim(1)).taken
        for claimed in taken:
            await self.storage.runs.finish(claimed.run_id, claimed.attempt, Outcome(status="success"))
        return taken[0].run_id if taken else None


@pytest.fixture
async def queues(tmp_path: Path) -> AsyncIterator[Queue]:
    queues = Queue(tmp_path)
    nothing = msgspec.Raw(b"{}")
    assistant = Assistant(
        assistant_id="a",
        graph_id="g",
        name="a",
        description=None,
        config=nothing,
        context=nothing,
        metadata=nothing,
        version=1,
        created_at="",
        updated_at="",
    )
    await queues.storage.assistants.create(assistant, exist_ok=False)
    yield queues
    queues.storage.close()


async def test_runs_keep_their_order_when_the_clock_goes_back(queues: Queue) -> None:
    thread = await queues.thread()
    first = await queues.admit(thread)
    queues.clock.now -= 3600
    second = await queues.admit(thread)
    queues.clock.now += 7200
    third = await queues.admit(thread)
    assert [await queues.next() for _ in range(4)] == [first, second, third, None]


async def test_runs_that_wait_start_although_the_clock_went_back(queues: Queue) -> None:
    """Admitted at ten, the clock is set to nine: they must not wait for ten to come again."""
    thread = await queues.thread()
    first = await queues.admit(thread)
    queues.clock.now -= 3600
    assert await queues.next() == first


async def test_delayed_runs_start_when_the_clock_goes_forward(queues: Queue) -> None:
    delayed = await queues.admit(await queues.thread(), delay=3600)
    assert await queues.next() is None
    queues.clock.now += 3600
    assert await queues.next() == delayed
