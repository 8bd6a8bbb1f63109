"""One server for all tests here; each test has threads of its own."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from langgraph_sdk import get_client, get_sync_client
from langgraph_sdk.client import LangGraphClient, SyncLangGraphClient

from tests.wire.live import DEADLINE, Gates, Live
from tests.wire.talk import Talk


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A node that ignores its cancellation is waited for two seconds, not five."""
    with Live(tmp_path_factory.mktemp("server"), TURNKEEPER_CANCEL_GRACE="2") as live:
        yield live


@pytest.fixture
def gates(server: Live) -> Gates:
    return server.gates


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


@pytest.fixture
async def thread(client: LangGraphClient) -> str:
    """The id of a new thread."""
    return (await client.threads.create())["thread_id"]


@pytest.fixture
def talk(client: LangGraphClient, gates: Gates, thread: str) -> Talk:
    return Talk(client, gates, thread)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Show what the server said during a test that failed."""
    report = yield
    live = getattr(item, "funcargs", {}).get("server")
    if call.when == "call" and report.failed and isinstance(live, Live):
        report.sections.append(("server log", live.log.read_text()[-4000:]))
    return report
