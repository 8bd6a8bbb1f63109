"""What clusters stand on: one PostgreSQL, one Redis and one process of roads for the whole session."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.cluster.kit import BUSES, Cluster, PostgresServer, Services
from tests.cluster.roads import Roads
from tests.cluster.talk import Talk
from tests.conformance.redis_kit import RedisServer
from tests.nursery import Nursery
from tests.wire.live import DEADLINE

APP = Path(__file__).parent / "app" / "langgraph.json"
ENVIRON = {"TURNKEEPER_CANCEL_GRACE": "1", "TURNKEEPER_DRAIN_TIMEOUT": "0.2", "TURNKEEPER_MAX_ATTEMPTS": "100"}


@pytest.fixture(scope="session")
def services(nursery: Nursery) -> Iterator[Services]:
    with Roads() as roads:
        postgres, redis = PostgresServer(), RedisServer()
        redis.start()
        yield Services(nursery, roads, postgres, redis)
        redis.stop()
        postgres.close()


on_redis = pytest.mark.parametrize("running", BUSES[:1], indirect=True)
"""For what has nothing to do with how processes tell each other things."""


@pytest.fixture(scope="session", params=BUSES)
def running(
    request: pytest.FixtureRequest, services: Services, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp(f"cluster-{request.param}")
    with Cluster(services, folder, APP, bus=request.param, **ENVIRON) as cluster:
        yield cluster


@pytest.fixture
def cluster(running: Cluster) -> Iterator[Cluster]:
    """A cluster that is well before and after the test."""
    yield running
    running.restore()


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=DEADLINE) as client:
        yield client


NewTalk = Callable[[], Awaitable[Talk]]


@pytest.fixture
def new_talk(cluster: Cluster, http: httpx.AsyncClient) -> NewTalk:
    async def new_talk() -> Talk:
        thread_id = str(uuid4())
        answer = await http.post(f"{cluster.servers[-1].url}/threads", json={"thread_id": thread_id})
        assert answer.status_code == 200, answer.text
        return Talk(cluster, http, thread_id)

    return new_talk


@pytest.fixture
async def talk(new_talk: NewTalk) -> Talk:
    return await new_talk()
