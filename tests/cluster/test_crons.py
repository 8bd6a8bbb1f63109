"""Crons of several processes, of which each would fire them all: every tick has one run, whoever is killed."""

import asyncio
from typing import Any

import httpx

from tests.cluster.conftest import on_redis
from tests.cluster.kit import Cluster, Member

pytestmark = on_redis

CRONS = 40
PAST = "2026-01-01T00:00:00.000000+00:00"
RUNS = "select runs.thread_id from runs join crons using (thread_id) where status = 'success'"


async def make(http: httpx.AsyncClient, server: Member) -> dict[str, str]:
    """Crons that seldom come: the thread of each."""

    async def make() -> tuple[str, str]:
        thread = (await http.post(f"{server.url}/threads", json={})).json()["thread_id"]
        body: dict[str, Any] = {"assistant_id": "steps", "schedule": "@yearly", "input": {"tag": "A"}}
        answer = await http.post(f"{server.url}/threads/{thread}/runs/crons", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()["cron_id"], thread

    return dict(await asyncio.gather(*(make() for _ in range(CRONS))))


async def test_a_tick_has_one_run_also_when_one_of_those_who_fire_is_killed(
    cluster: Cluster, http: httpx.AsyncClient
) -> None:
    [*_, asked] = cluster.servers
    assert asked.role == "api"
    crons = await make(http, asked)
    cluster.ask("update crons set next_run_date = %(past)s returning cron_id", past=PAST)
    cluster.until("select 1 from crons where next_run_date > %(past)s", past=PAST)
    cluster.kill(cluster.workers[0])

    await asyncio.to_thread(
        cluster.until, f"select 1 from ({RUNS}) as done having count(*) = %(count)s", count=len(crons)
    )
    for cron_id, thread in crons.items():
        runs = (await http.get(f"{asked.url}/threads/{thread}/runs")).json()
        assert [run["metadata"]["cron_id"] for run in runs] == [cron_id]
        await http.delete(f"{asked.url}/runs/crons/{cron_id}")
