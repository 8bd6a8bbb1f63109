"""Streams and waits at a server that knows nothing of the run."""

import asyncio
import contextlib
import json
import time
from typing import Any

import httpx
import pytest

from tests.cluster.conftest import NewTalk, on_redis
from tests.cluster.kit import Cluster, Member
from tests.cluster.talk import Talk
from tests.wire.live import DEADLINE
from tests.wire.talk import whole

TICKS = list(range(40))


class Listener:
    """Hears a run's ticks, and remembers where it was."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self.ticks: list[int] = []
        self.newest = ""
        self.heard = asyncio.Event()
        """Set once a quarter of all has come."""

    async def begin(self, at: Member, **options: Any) -> str:
        """Send an input and listen, until the connection breaks; the run's id."""
        body = {"assistant_id": "slow", "input": {"tag": "A"}, "stream_mode": ["custom"], **options}
        request = self.talk.http.stream("POST", f"{at.url}{self.talk.path}/runs/stream", json=body)
        async with request as answer:
            run_id = answer.headers["content-location"].rpartition("/")[2]
            with pytest.raises(httpx.TransportError):
                await self._hear(answer)
        return run_id

    async def go_on(self, at: Member, run_id: str) -> None:
        """Listen where it was left off, to the end."""
        path, headers = f"{self.talk.path}/runs/{run_id}/stream", {"last-event-id": self.newest}
        async with self.talk.http.stream("GET", f"{at.url}{path}", headers=headers) as answer:
            await self._hear(answer)

    async def _hear(self, answer: httpx.Response) -> None:
        event = ""
        async for line in answer.aiter_lines():
            name, _, value = line.partition(": ")
            if name == "event":
                event = value
            elif name == "id":
                self.newest = value
            elif name == "data" and event == "custom":
                self.ticks.append(json.loads(value)["tick"])
                if len(self.ticks) >= len(TICKS) / 4:
                    self.heard.set()


async def test_a_stream_goes_on_at_another_server_where_it_broke_off(new_talk: NewTalk, cluster: Cluster) -> None:
    here, there = cluster.servers[1:]
    listeners = [Listener(await new_talk()) for _ in range(4)]
    asked = [
        asyncio.create_task(listener.begin(here, stream_resumable=number % 2 == 0))
        for number, listener in enumerate(listeners)
    ]
    for listener in listeners:
        await asyncio.wait_for(listener.heard.wait(), DEADLINE)
    cluster.kill(here)
    runs = await asyncio.gather(*asked)
    await asyncio.gather(*(listener.go_on(there, run) for listener, run in zip(listeners, runs, strict=True)))
    for listener in listeners:
        assert listener.ticks == TICKS


async def test_whoever_waits_for_a_run_whose_worker_died_before_it_told_of_the_end_gets_the_answer(
    talk: Talk, cluster: Cluster
) -> None:
    here = cluster.servers[1]
    talk.hold("A.n3")
    run = await talk.say(here, "A")
    worker = await talk.executor("A.n3")
    waiting = asyncio.create_task(talk.end_of(here, run))
    listening = asyncio.create_task(talk.http.get(f"{here.url}{talk.path}/runs/{run}/stream"))
    await asyncio.sleep(0.2)  # both are there
    (worker.redis or worker.postgres).hold()
    talk.let("A.n3")
    if worker.redis is not None:
        query = "select 1 from runs where run_id = %(run)s and status = 'success'"
        await asyncio.to_thread(cluster.until, query, run=run)
    cluster.kill(worker)
    (worker.redis or worker.postgres).go_on()
    killed = time.monotonic()
    assert (await waiting)["steps"] == whole("A")
    answer = await listening
    assert answer.status_code == 200
    took = time.monotonic() - killed
    print(f"answered {took:.3f} s after the worker's death")
    assert took < 5.0, f"{took:.3f} s"


@on_redis
async def test_whoever_listens_to_a_thread_hears_of_an_end_that_its_worker_did_not_live_to_tell(
    talk: Talk, cluster: Cluster
) -> None:
    here = cluster.servers[1]
    talk.hold("A.n3")
    thread, channels = f"{here.url}{talk.path}/stream", {"channels": ["lifecycle"]}
    async with (
        talk.http.stream("GET", thread, params={"stream_modes": "run_modes"}) as runs,
        talk.http.stream("POST", f"{thread}/events", json=channels) as events,
    ):
        listening = [
            asyncio.create_task(_until(runs, '"run_done"')),
            asyncio.create_task(_until(events, '"completed"')),
        ]
        run = await talk.say(here, "A")
        worker = await talk.executor("A.n3")
        assert worker.redis is not None
        worker.redis.hold()
        talk.let("A.n3")
        query = "select 1 from runs where run_id = %(run)s and status = 'success'"
        await asyncio.to_thread(cluster.until, query, run=run)
        cluster.kill(worker)
        worker.redis.go_on()
        assert await asyncio.wait_for(asyncio.gather(*listening), DEADLINE) == [1, 1]


async def _until(answer: httpx.Response, word: str) -> int:
    """Hear of one end; how often it was told, also a moment later."""
    times, lines = 0, answer.aiter_lines()
    with contextlib.suppress(TimeoutError):
        while True:
            line = await asyncio.wait_for(anext(lines), 2.5 if times else None)
            times += word in line
    return times
