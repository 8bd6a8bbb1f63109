"""One server for all tests here; each test has threads of its own."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from langgraph_sdk import get_client, get_sync_client
from langgraph_sdk.client import LangGraphClient, SyncLangGraphClient

from tests.wire.live import APP, DEADLINE, Live


@pytest.fixture(scope="session")
def app() -> Path:
    return APP


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A node that ignores its cancellation is waited for a second, not five."""
    with Live(tmp_path_factory.mktemp("server"), TURNKEEPER_CANCEL_GRACE="1") as live:
        yield live


@pytest.fixture(scope="session")
async def client(server: Live) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=server.url, api_key=None) as client:
        yield client


@pytest.fixture(scope="session")
def sync_client(server: Live) -> Iterator[SyncLangGraphClient]:
    with get_sync_client(url=server.url, api_key=None) as client:
        yield client


@pytest.fixture(scope="session")
async def http(server: Live) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url, timeout=DEADLINE) as client:
        yield client
