"""Servers that are killed, starved and lied to. Each test has one of its own, unless it only breaks its runs."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from tests.nursery import Forked, Nursery
from tests.wire.live import DEADLINE, Live, free_port

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
async def client(server: Live) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=server.url, api_key=None) as client:
        yield client


@pytest.fixture(scope="session")
async def http(server: Live) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url, timeout=DEADLINE) as client:
        yield client
