"""One server and one browser for all tests here; each test has a profile of its own."""

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.browser.browser import HERE, Browser, Open, Tab
from tests.wire.live import DEADLINE, Live


def missing() -> str | None:
    """What is not there to run a browser with."""
    if shutil.which("node") is None:
        return "node is not installed"
    if not (HERE / "node_modules").is_dir():
        return "the browser's packages are not installed: run `npm ci` in tests/browser"
    packaged = (sys.platform, platform.machine()) == ("linux", "x86_64")
    if not packaged and "CHROMIUM_PATH" not in os.environ and shutil.which("chromium") is None:
        return "no Chromium comes with the packages for this machine: say with CHROMIUM_PATH where there is one"
    return None


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Where these tests must run, its absence is a failure."""
    reason = missing()
    if reason is not None and os.environ.get("CI") == "true":
        pytest.fail(reason)
    if reason is not None:
        pytest.skip(reason)
    with Browser() as browser:
        yield browser


@pytest.fixture(scope="session")
def server(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """After the browser: without one, no server is needed."""
    with Live(tmp_path_factory.mktemp("server"), config=HERE / "app" / "langgraph.json") as live:
        yield live


@pytest.fixture(scope="session")
def http(server: Live) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=DEADLINE) as http:
        yield http


@pytest.fixture(params=["legacy", "thread"])
def page(request: pytest.FixtureRequest) -> str:
    """The two generations of React hooks: a stream per run, a stream per thread."""
    return request.param


@pytest.fixture
def open_tab(browser: Browser, server: Live, page: str) -> Iterator[Open]:
    """A page that cannot read what the server says complains on its console; none may do so."""
    tabs: list[Tab] = []

    def open_one(assistant: str, **query: str) -> Tab:
        tabs.append(Tab(browser, page, **{"api": server.url, "assistant": assistant, **query}))
        return tabs[-1]

    yield open_one
    complaints = [complaint for tab in tabs for complaint in tab.complaints]
    for tab in tabs:
        tab.close()
    assert not [complaint for complaint in complaints if "CORS" in complaint or "uncaught" in complaint]


@pytest.fixture
def held(server: Live) -> Iterator[Path]:
    """The model stops before the last word about Paris until this file is gone."""
    gate = server.gates.folder / "paris.hold"
    gate.touch()
    yield gate
    gate.unlink(missing_ok=True)
