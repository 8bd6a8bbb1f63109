"""One server for all tests here that do not need one of their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interleaving.driver import APP, Line, new_line
from tests.interleaving.sockets import Http
from tests.nursery import Forked, Nursery
from tests.wire.live import Live, free_port


@pytest.fixture(scope="session")
def app() -> Path:
    return APP


@pytest.fixture(scope="session")
def server(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forked]:
    folder = tmp_path_factory.mktemp("interleaving")
    with nursery.start(folder, free_port(), APP, TURNKEEPER_CANCEL_GRACE="2") as live:
        yield live


@pytest.fixture
def http(server: Live) -> Http:
    return Http(server.port)


@pytest.fixture
async def line(http: Http, server: Live) -> Line:
    return await new_line(http, server)
