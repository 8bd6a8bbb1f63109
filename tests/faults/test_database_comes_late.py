"""A process that is started together with its database, or while that is started again, waits for it."""

import asyncio
import threading

import pytest
from structlog.testing import capture_logs

from tests.conformance.event_logs import become
from tests.conformance.listen_notify_kit import PostgresServer
from turnkeeper.errors import ConfigError
from turnkeeper.storage.postgres import opening
from turnkeeper.storage.postgres.storage import PostgresStorage


async def test_a_server_started_before_its_database_serves_once_that_is_there(database: PostgresServer) -> None:
    database.stop()
    storage = PostgresStorage(database.uri)
    with capture_logs() as said:
        opening_it = asyncio.create_task(asyncio.to_thread(storage.open))
        await become(lambda: bool(said))
        await asyncio.to_thread(database.start)
        await opening_it
    assert [each["event"] for each in said] == ["waiting for the database"]
    assert await storage.events.newest() == 0
    storage.close()


async def test_a_database_that_restarts_while_a_server_prepares_it_is_no_reason_to_give_up(
    database: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, cut = PostgresStorage(database.uri), threading.Event()
    adjust = storage.clock.adjust  # type: ignore[attr-defined]

    def restart_first(connection: object) -> None:
        if not cut.is_set():
            cut.set()
            database.stop("immediate")
            database.start()
        adjust(connection)

    monkeypatch.setattr(storage.clock, "adjust", restart_first)
    await asyncio.to_thread(storage.open)
    assert cut.is_set()
    assert await storage.events.newest() == 0
    storage.close()


def test_a_database_that_does_not_come_is_a_readable_error(
    database: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def impatiently(uri: str, begin: object) -> None:
        patiently(uri, begin, 0.3)  # type: ignore[arg-type]

    patiently = opening.patiently
    monkeypatch.setattr("turnkeeper.storage.postgres.database.patiently", impatiently)
    database.stop()
    with pytest.raises(ConfigError, match="cannot be used") as refused:
        PostgresStorage(database.uri).open()
    assert refused.value.cause
