"""Servers that are killed, starved and lied to. Each test has one of its own, unless it only breaks its runs."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from tests.faults.nursery import Forked, Nursery
from tests.wire.live import DEADLINE, Gates, Live, free_port
from tests.wire.talk import Talk

Start = Callable[..., Forked]
"""Start a server, or start it again: `start(TURNKEEPER_CANCEL_GRACE="1")`. It is ready when this returns."""


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    with Nursery() as nursery:
        yield nursery


@pytest.fixture
def start(nursery: Nursery, tmp_path: Path) -> Iterator[Start]:
    """All servers a test starts share a database, a port and gates, one after another."""
    (tmp_path / "gates").mkdir()
    port = free_port()
    started: list[Forked] = []

    def start(**environ: str) -> Forked:
        started.append(nursery.start(tmp_path, port, **environ))
        return started[-1].__enter__()

    yield start
    for live in started:
        live.kill()


@pytest.fixture(scope="session")
def server(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forked]:
    """One server for all tests that only break their own runs. It gives nodes half a second to stop."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "gates").mkdir()
    with nursery.start(folder, free_port(), TURNKEEPER_CANCEL_GRACE="0.5", TURNKEEPER_DRAIN_TIMEOUT="0.2") as live:
        yield live
        live.kill()


@pytest.fixture
def gates(server: Live) -> Gates:
    return server.gates


@pytest.fixture
async def client(server: Live) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=server.url, api_key=None) as client:
        yield client


@pytest.fixture
async def http(server: Live) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url, timeout=DEADLINE) as client:
        yield client


@pytest.fixture
async def thread(client: LangGraphClient) -> str:
    return (await client.threads.create())["thread_id"]


@pytest.fixture
def talk(client: LangGraphClient, gates: Gates, thread: str) -> Talk:
    return Talk(client, gates, thread)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Show what the servers of a failed test said."""
    report = yield
    given = getattr(item, "funcargs", {})
    folders = [given.get("tmp_path"), given["server"].folder if "server" in given else None]
    if call.when == "call" and report.failed:
        for log in [log for folder in folders if folder is not None for log in folder.rglob("server.log")]:
            report.sections.append((str(log), log.read_text()[-4000:]))
    return report
