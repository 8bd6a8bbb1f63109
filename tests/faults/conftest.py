"""Servers that are killed, starved and lied to. Each test has one of its own, unless it only breaks its runs."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from tests.conformance.listen_notify_kit import PostgresServer, forget_told, on_call
from tests.conformance.redis_kit import RedisServer
from tests.nursery import Forked, Nursery
from tests.wire.live import DEADLINE, Gates, Live, free_port
from tests.wire.talk import Talk

APP = Path(__file__).parent / "app" / "langgraph.json"


@pytest.fixture(scope="session")
def app() -> Path:
    return APP


@pytest.fixture(scope="session")
def server(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forked]:
    """One server for all tests that only break their own runs. It gives nodes half a second to stop."""
    environ = {"TURNKEEPER_CANCEL_GRACE": "0.5", "TURNKEEPER_DRAIN_TIMEOUT": "0.2"}
    with nursery.start(tmp_path_factory.mktemp("server"), free_port(), APP, **environ) as live:
        yield live
        live.kill()


@pytest.fixture(scope="session")
def redis_process() -> Iterator[RedisServer]:
    server = RedisServer()
    yield server
    server.stop()


@pytest.fixture
def redis_server(redis_process: RedisServer) -> Iterator[RedisServer]:
    """A Redis that is well before and after the test."""
    redis_process.start()
    yield redis_process
    redis_process.go_on()
    redis_process.start()


@pytest.fixture(scope="session")
def postgres_process() -> Iterator[PostgresServer]:
    with on_call() as server:
        yield server


@pytest.fixture
def database(postgres_process: PostgresServer) -> Iterator[PostgresServer]:
    """A PostgreSQL that is well before and after the test, with nothing told yet."""
    forget_told(postgres_process.uri)
    yield postgres_process
    postgres_process.start()


@pytest.fixture(scope="session")
async def client(server: Live) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=server.url, api_key=None) as client:
        yield client


@pytest.fixture
def talk(talk: Talk, gates: Gates) -> Iterator[Talk]:
    """A node that blocks the loop of the runs must not outlive its test, however that went."""
    yield talk
    gates.let_all(talk.thread_id)


@pytest.fixture(scope="session")
async def http(server: Live) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url, timeout=DEADLINE) as client:
        yield client
