"""What a worker does about runs that it has and does not know of."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.kit import Services
from tests.conformance.conftest import Kit
from tests.conformance.postgres_kit import Postgres
from tests.wire.live import DEADLINE
from turnkeeper.storage.postgres.storage import PostgresStorage
from turnkeeper.worker.attempt import Attempt
from turnkeeper.worker.holding import UNKNOWN, Holding

SOON = 0.3
"""Seconds of a lease."""


class Idle:
    """A worker that executes nothing."""

    def __init__(self, storage: PostgresStorage) -> None:
        self._storage = storage
        self.woken = asyncio.Event()

    def executing(self) -> dict[tuple[str, int], Attempt]:
        return {}

    def post(self, job: Callable[[], None]) -> None:
        raise AssertionError("there is nothing to do")

    def wake_all(self) -> None:
        self.woken.set()

    async def release(self, run_id: str, attempt: int, reason: str) -> None:
        await self._storage.runs.release(run_id, attempt, reason)


@pytest.fixture
def kit(services: Services, tmp_path: Path) -> Iterator[Kit]:
    kit = Kit(Postgres(services.postgres.uri(services.postgres.database())), tmp_path)
    asyncio.run(kit.prepare())
    yield kit
    kit.close()


async def test_a_run_whose_claim_was_not_answered_is_not_held_for_ever(kit: Kit) -> None:
    storage = PostgresStorage(kit.backend.uri, lease=SOON)  # type: ignore[attr-defined]
    storage.open()
    admitted = await kit.admit(await kit.thread())
    kit.clock.now = storage.clock()
    await storage.runs.claim(1)  # as if the answer had been lost on the way
    worker = Idle(storage)
    holding = asyncio.create_task(Holding(storage.leases, worker).serve())
    await asyncio.wait_for(worker.woken.wait(), DEADLINE)
    [claimed] = (await storage.runs.claim(1)).taken
    holding.cancel()
    assert (claimed.run_id, claimed.attempt) == (admitted.run.run_id, 2)
    assert claimed.crashes == 0
    [_, _, released, _] = await storage.threads.journal(claimed.thread_id)
    assert (released.event, released.detail) == ("released", UNKNOWN)
    storage.close()
