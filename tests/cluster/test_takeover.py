"""Workers that die, pause or leave: their runs are finished by others, once."""

import asyncio
import time

import httpx

from tests.cluster.conftest import NewTalk, on_redis
from tests.cluster.kit import LEASE, Cluster
from tests.cluster.talk import Talk
from tests.wire.talk import whole
from turnkeeper.storage.stopping import LOST

pytestmark = on_redis

PROMPT = LEASE + 2.0
"""Seconds within which a run is taken up whose worker is silent: the lease, a look for it, and a busy machine."""


async def test_a_run_whose_worker_is_killed_is_finished_by_another_within_seconds(talk: Talk, cluster: Cluster) -> None:
    here, there = cluster.servers[1:]
    talk.hold("A.n2")
    run = await talk.say(here, "A", durability="sync")
    first = await talk.executor("A.n2")
    cluster.kill(first)
    killed = time.monotonic()
    taken = await talk.noted("A.n2 began", times=2)
    assert await talk.executor("A.n2", times=2) is not first
    talk.let("A.n2")
    assert taken - killed < PROMPT, f"taken up after {taken - killed:.3f} s"
    assert (await talk.end_of(there, run))["steps"] == whole("A")
    assert talk.visits() == ["A.n1", "A.n2", "A.n2", "A.n3"]
    assert talk.journal(run)[1:] == [
        ("started", 1, None),
        ("released", 1, LOST),
        ("started", 2, None),
        ("ended", 2, "success"),
    ]


async def test_a_worker_that_was_paused_for_longer_than_its_lease_stops_soon_and_has_no_say_any_more(
    talk: Talk, cluster: Cluster
) -> None:
    here = cluster.servers[1]
    run = await talk.say(here, "A", graph="slow")
    first = await talk.executor("A.n1")
    await talk.noted(f"A.tick in boot {first.boot}")
    with cluster.paused(first):
        taken = asyncio.create_task(talk.noted("A.tick in boot", times=0))
        query = "select 1 from journal where run_id = %(run_id)s and event = 'started' and attempt = 2"
        await asyncio.to_thread(cluster.until, query, run_id=run)
        await taken
        before = talk.log.count(f"A.tick in boot {first.boot}")
    assert (await talk.end_of(here, run))["steps"] == ["A.n1", "A.ticking"]
    late = talk.log.count(f"A.tick in boot {first.boot}") - before
    assert late < 20, f"it went on for {late} ticks, of which it has twenty per second"
    assert await talk.steps(here) == ["A.n1", "A.ticking"]
    assert [event for event, _, _ in talk.journal(run)] == ["created", "started", "released", "started", "ended"]


async def test_a_server_that_stops_hands_its_runs_to_others_at_once(talk: Talk, cluster: Cluster) -> None:
    talk.hold("A.n2")
    run = await talk.say(cluster.servers[1], "A")
    first = await talk.executor("A.n2")
    asked = time.monotonic()
    cluster.drain(first)
    taken = await talk.noted("A.n2 began", times=2)
    talk.let("A.n2")
    assert (await talk.end_of(cluster.servers[2], run))["steps"] == whole("A")
    assert ("released", 1, "server stopping") in talk.journal(run)
    assert taken - asked < PROMPT, f"taken up {taken - asked:.3f} s after the signal"


async def test_runs_of_a_dead_worker_are_taken_up_once_each_however_many_look_for_them(
    new_talk: NewTalk, cluster: Cluster
) -> None:
    talks = [await new_talk() for _ in range(30)]
    for talk in talks:
        talk.hold("A.n1")
    runs = await asyncio.gather(*(talk.say(cluster.servers[1], "A") for talk in talks))
    workers = [await talk.executor("A.n1") for talk in talks]
    dead = max(cluster.workers, key=workers.count)
    cluster.kill(dead)
    for talk, worker in zip(talks, workers, strict=True):
        if worker is dead:
            await talk.noted("A.n1 began", times=2)
    for talk, run in zip(talks, runs, strict=True):
        talk.let("A.n1")
        assert (await talk.end_of(cluster.servers[2], run))["steps"] == whole("A")
    for talk, run, worker in zip(talks, runs, workers, strict=True):
        lost = ["released", "started"] if worker is dead else []
        assert [event for event, _, _ in talk.journal(run)] == ["created", "started", *lost, "ended"]


async def test_a_run_goes_on_when_postgres_was_restarted(talk: Talk, cluster: Cluster) -> None:
    here, there = cluster.servers[1:]
    talk.hold("A.n2")
    run = await talk.say(here, "A")
    await talk.executor("A.n2")
    await asyncio.to_thread(cluster.services.postgres.restart)
    talk.let("A.n2")
    assert (await talk.end_of(there, run))["steps"] == whole("A")
    assert await talk.steps(here) == whole("A")


async def test_a_worker_answers_that_it_is_there_and_nothing_else(cluster: Cluster, http: httpx.AsyncClient) -> None:
    worker = cluster.named("worker-3")
    assert (await http.get(f"{worker.url}/ok")).status_code == 200
    for path in ("/threads", "/runs", "/runs/wait", "/assistants/search"):
        assert (await http.post(f"{worker.url}{path}", json={})).status_code == 404, path


async def test_nobody_is_refused_once_postgres_is_back(cluster: Cluster, http: httpx.AsyncClient) -> None:
    for server in cluster.servers:  # each has several connections now, which will be broken
        await asyncio.gather(*(http.post(f"{server.url}/threads/search", json={}) for _ in range(12)))
    await asyncio.to_thread(cluster.services.postgres.restart)
    for server in cluster.servers:
        asked = [http.post(f"{server.url}/threads/search", json={}) for _ in range(12)]
        assert [answer.status_code for answer in await asyncio.gather(*asked)] == [200] * 12
