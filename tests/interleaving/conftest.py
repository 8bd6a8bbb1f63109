"""One server for all tests here that do not need one of their own."""

from collections.abc import Iterator

import pytest

from tests.interleaving.driver import APP, Line, new_line
from tests.interleaving.sockets import Http
from tests.wire.live import Live


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with Live(tmp_path_factory.mktemp("interleaving"), config=APP, TURNKEEPER_CANCEL_GRACE="2") as live:
        yield live


@pytest.fixture
def http(server: Live) -> Http:
    return Http(server.port)


@pytest.fixture
async def line(http: Http, server: Live) -> Line:
    return await new_line(http, server)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Show what the server said during a test that failed."""
    report = yield
    live = getattr(item, "funcargs", {}).get("server")
    if call.when == "call" and report.failed and isinstance(live, Live):
        report.sections.append(("server log", live.log.read_text()[-4000:]))
    return report
