"""Servers for a test of its own, and what the folders with a shared server have in common.

Such a folder's conftest says with `app` what is served, and with `server` which one all its tests share.
"""

import asyncio
import functools
import inspect
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from langgraph_sdk.client import LangGraphClient

from tests.nursery import Forked, Nursery, Start
from tests.wire.live import Gates, Live, free_port
from tests.wire.talk import Talk

# Every HTTP client reads the certificates it trusts, for a tenth of a second if they are the internet's. Here are none.
os.environ.pop("SSL_CERT_FILE", None)
os.environ["SSL_CERT_DIR"] = str(Path(__file__).parent)

# A slow machine fails no test.
settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    with Nursery() as nursery:
        yield nursery


@pytest.fixture
def start(nursery: Nursery, tmp_path: Path, app: Path) -> Iterator[Start]:
    """All servers a test starts share a database, a port and gates, one after another."""
    port = free_port()
    started: list[Forked] = []

    def start(**environ: str) -> Forked:
        started.append(nursery.start(tmp_path, port, app, **environ))
        return started[-1].__enter__()

    yield start
    for live in started:
        live.kill()


@pytest.fixture
def gates(server: Live) -> Gates:
    return server.gates


@pytest.fixture
async def thread(client: LangGraphClient) -> str:
    """The id of a new thread."""
    return (await client.threads.create())["thread_id"]


@pytest.fixture
def talk(client: LangGraphClient, gates: Gates, thread: str) -> Talk:
    return Talk(client, gates, thread)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[None]:
    """End a test that waits for ever from within: one that is torn out of the loop takes all after it along."""
    test = pyfuncitem.obj
    marker = pyfuncitem.get_closest_marker("timeout")
    limit = float(marker.args[0] if marker else pyfuncitem.config.getini("timeout"))

    @functools.wraps(test)
    async def limited(**arguments: Any) -> None:
        async with asyncio.timeout(limit * 0.9):
            await test(**arguments)

    if inspect.iscoroutinefunction(test) and not hasattr(test, "hypothesis"):
        pyfuncitem.obj = limited
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Show what the servers of a failed test said."""
    report = yield
    given = getattr(item, "funcargs", {})
    folders = [given.get("tmp_path"), *(each.folder for each in given.values() if isinstance(each, Live))]
    if call.when == "call" and report.failed:
        for log in {log for folder in folders if folder is not None for log in folder.rglob("server.log")}:
            report.sections.append((str(log), log.read_text()[-4000:]))
    return report
