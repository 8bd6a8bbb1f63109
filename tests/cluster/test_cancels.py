"""Cancels that are asked for where the run is not."""

import asyncio
import statistics
import time
from collections.abc import Iterator

import pytest

from tests.cluster.conftest import NewTalk, on_redis
from tests.cluster.kit import LEASE, Cluster
from tests.cluster.talk import Talk

TIMES = 7


async def seconds_to_cancel(talk: Talk, cluster: Cluster) -> float:
    """From the request at a server to the moment in which the node hears of it in a worker."""
    talk.hold("A.n1")
    run = await talk.say(cluster.servers[1], "A")
    await talk.executor("A.n1")
    asked = time.monotonic()
    await talk.cancel(cluster.servers[2], run)
    heard = await talk.noted("A.n1 was cancelled")
    await talk.end_of(cluster.servers[1], run)
    return heard - asked


async def test_a_cancel_acts_at_once_wherever_the_run_is(new_talk: NewTalk, cluster: Cluster) -> None:
    took = [await seconds_to_cancel(await new_talk(), cluster) for _ in range(TIMES)]
    told = f"median {statistics.median(took) * 1000:.1f} ms of {[round(each * 1000, 1) for each in took]}"
    print(told)
    assert statistics.median(took) < 1.0, told


@pytest.fixture
def without_redis(cluster: Cluster) -> Iterator[None]:
    cluster.services.redis.stop()
    yield
    cluster.services.redis.start()
    cluster.hear_each_other()


@on_redis
@pytest.mark.usefixtures("without_redis")
async def test_without_redis_runs_start_and_a_cancel_acts_with_the_next_sign_of_life(
    new_talk: NewTalk, cluster: Cluster
) -> None:
    talk = await new_talk()
    took = await asyncio.wait_for(seconds_to_cancel(talk, cluster), 15)
    assert took < LEASE + 2.0, f"{took:.3f} s"
