"""Wherever a connection breaks, the stock clients yield what they would have: all of it, and nothing twice."""

import asyncio
import json
import os
import uuid
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest
from langgraph_sdk import get_client, get_sync_client
from langgraph_sdk.client import LangGraphClient

from tests.wire.live import DEADLINE, Gates, Live
from tests.wire.placeholders import filled
from tests.wire.scissors import HEADER, Scissors
from tests.wire.test_javascript import JS, missing

WEATHER: Any = {
    "messages": [
        {"role": "user", "content": "What is the weather in Oslo?", "id": "q1"},
        {"role": "tool", "content": "It is sunny in Oslo.", "id": "t1", "tool_call_id": "c1"},
    ]
}
MODES = ["values", "updates", "messages-tuple", "custom"]
STORIES: dict[str, tuple[str, Any]] = {
    "everything": ("everything", WEATHER),
    "failing": ("fails", {"tag": "A"}),
    "superseded": ("steps", {"tag": "A"}),
    "stateless": ("fails", {"tag": "A"}),
}
"""Graphs and their inputs. One is interrupted by another run at its second node; one's thread is gone at its end."""

LONG, SHORT = 18, 5
"""Events of the streams; the short ones are also cut again and again."""

Event = tuple[str, str, Any]
"""Id, name and data."""


class Job(NamedTuple):
    """A run to watch."""

    thread: str | None
    story: str
    resumable: bool
    cuts: tuple[int, ...] = ()

    @property
    def graph(self) -> str:
        """What runs."""
        return STORIES[self.story][0]

    @property
    def input(self) -> Any:
        """What it is given."""
        return STORIES[self.story][1]

    @property
    def cut(self) -> str:
        """What the proxy is told."""
        return "/".join([uuid.uuid4().hex, *map(str, self.cuts)])

    @property
    def options(self) -> dict[str, Any]:
        """How the Python clients are called."""
        return {
            "input": self.input,
            "stream_mode": MODES,
            "stream_subgraphs": True,
            "stream_resumable": self.resumable,
            "headers": {HEADER: self.cut},
        }


Play = Callable[[str, Sequence[Job]], Coroutine[Any, Any, list[list[Event]]]]
"""Watch all jobs at once through the proxy at a URL."""


@pytest.fixture(scope="module")
def scissors(server: Live) -> Iterator[Scissors]:
    with Scissors(server.port) as scissors:
        yield scissors


async def asynchronous(url: str, jobs: Sequence[Job]) -> list[list[Event]]:
    """The Python client for coroutines."""

    async def watch(client: LangGraphClient, job: Job) -> list[Event]:
        stream = client.runs.stream(job.thread, job.graph, **job.options)
        return [(part.id or "", part.event, part.data) async for part in stream]

    async with get_client(url=url, api_key=None) as client:
        return await asyncio.gather(*[watch(client, job) for job in jobs])


async def synchronous(url: str, jobs: Sequence[Job]) -> list[list[Event]]:
    """The Python client for threads."""
    with get_sync_client(url=url, api_key=None) as client, ThreadPoolExecutor(len(jobs)) as threads:

        def watch(job: Job) -> list[Event]:
            stream = client.runs.stream(job.thread, job.graph, **job.options)
            return [(part.id or "", part.event, part.data) for part in stream]

        loop = asyncio.get_running_loop()
        return await asyncio.gather(*[loop.run_in_executor(threads, watch, job) for job in jobs])


def javascript(sdk: str) -> Play:
    """The JavaScript client, in one process for all jobs."""

    async def play(url: str, jobs: Sequence[Job]) -> list[list[Event]]:
        told = [
            {**job._asdict(), "graph": job.graph, "input": job.input, "cut": job.cut, "modes": MODES} for job in jobs
        ]
        node = await asyncio.create_subprocess_exec(
            *("node", str(JS / "streams.mjs"), sdk, url),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        said, errors = await node.communicate(json.dumps(told).encode())
        assert node.returncode == 0, errors.decode()
        return [[tuple(event) for event in events] for events in json.loads(said)]

    return play


PLAYS: dict[str, Play] = {
    "async": asynchronous,
    "sync": synchronous,
    "js-1": javascript("langgraph-sdk-v1"),
    "js-2": javascript("langgraph-sdk-v2"),
}


class Stage:
    """Has jobs played: makes their threads, and interrupts what is to be interrupted."""

    def __init__(self, client: LangGraphClient, gates: Gates, scissors: Scissors, player: str) -> None:
        self.player = player
        self._client = client
        self._gates = gates
        self._scissors = scissors

    async def job(self, story: str, resumable: bool, *cuts: int) -> Job:
        """A run that is cut at these places."""
        if story == "stateless":
            return Job(None, story, resumable, cuts)
        thread = (await self._client.threads.create())["thread_id"]
        if story == "superseded":
            self._gates.hold(thread, "A.n2")
        return Job(thread, story, resumable, cuts)

    async def play(self, jobs: Sequence[Job]) -> list[list[Event]]:
        """What the client yields."""
        before = self._scissors.cuts
        interrupting = [self._interrupt(job.thread) for job in jobs if job.thread and job.story == "superseded"]
        async with asyncio.timeout(2 * DEADLINE):
            playing = asyncio.ensure_future(PLAYS[self.player](self._scissors.url, jobs))
            await asyncio.gather(playing, *interrupting)
        assert self._scissors.cuts - before == sum(len(job.cuts) for job in jobs)
        return await playing

    async def _interrupt(self, thread: str) -> None:
        await self._gates.started(thread, "A.n2")
        await self._client.runs.create(thread, "fails", input={"tag": "fine"}, multitask_strategy="interrupt")


@pytest.fixture(params=PLAYS)
def stage(request: pytest.FixtureRequest, client: LangGraphClient, gates: Gates, scissors: Scissors) -> Stage:
    if request.param.startswith("js") and (reason := missing()):
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    return Stage(client, gates, scissors, request.param)


def comparable(events: Sequence[Event]) -> list[str]:
    """What a run said without what differs from run to run; each event has an id, and they increase."""
    ids = [int(seq) for seq, *_ in events]
    assert ids == sorted(set(ids))
    return filled([f"{name} {json.dumps(data, sort_keys=True)}" for _, name, data in events])


def places(player: str, length: int) -> Iterator[tuple[bool, tuple[int, ...]]]:
    """Where to cut a stream of this length; whether the run is resumable.

    The JavaScript clients try every other place with each kind of run, and not the same ones.
    """
    for resumable in (True, False):
        for place in range(1, length + 1):
            if not player.startswith("js") or (place + resumable + (player == "js-2")) % 2:
                yield resumable, (place,)
        if player == "async" and length == SHORT:
            yield resumable, (1,) * 3


async def test_a_stream_is_the_same_wherever_it_is_cut(stage: Stage) -> None:
    whole = [await stage.job(story, False) for story in STORIES]
    expected = dict(zip(STORIES, map(comparable, await stage.play(whole)), strict=True))
    assert [len(expected[story]) for story in STORIES] == [LONG, SHORT, SHORT, SHORT]
    jobs = [
        await stage.job(story, resumable, *cuts)
        for story, events in expected.items()
        for resumable, cuts in places(stage.player, len(events))
    ]
    for job, events in zip(jobs, await stage.play(jobs), strict=True):
        assert comparable(events) == expected[job.story], job


async def test_who_joined_for_some_modes_still_gets_only_those(client: LangGraphClient, scissors: Scissors) -> None:
    """The Python client forgets what it asked for when it comes back."""
    thread = (await client.threads.create())["thread_id"]
    options: Any = {"input": WEATHER, "stream_mode": MODES, "stream_resumable": True}
    run = await client.runs.create(thread, "everything", **options)
    await client.runs.join(thread, run["run_id"])
    async with get_client(url=scissors.url, api_key=None) as cutting:

        async def watch(*cuts: int) -> list[Any]:
            headers = {HEADER: "/".join([uuid.uuid4().hex, *map(str, cuts)])}
            wanted: Any = {"stream_mode": "updates", "last_event_id": "-1", "headers": headers}
            return [part async for part in cutting.runs.join_stream(thread, run["run_id"], **wanted)]

        whole = await watch()
        assert [part.event for part in whole] == ["metadata", *["updates"] * 3]
        assert await asyncio.gather(*[watch(place) for place in range(1, 5)]) == [whole] * 4
