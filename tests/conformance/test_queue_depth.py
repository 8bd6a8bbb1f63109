"""What an autoscaler asks the database is what the chart says: runs that wait for a worker, and runs under way."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import LiteralString, cast

import psycopg
import pytest

from tests.conformance.conftest import Kit
from tests.conformance.postgres_kit import Postgres

TEMPLATE = Path(__file__).parents[2] / "deploy" / "helm" / "turnkeeper" / "templates" / "autoscaling.yaml"
QUERIES = re.findall(r"query: (.+)", TEMPLATE.read_text())


@pytest.fixture
def kit(postgres: Postgres, tmp_path: Path) -> Iterator[Kit]:
    kit = Kit(postgres, tmp_path)
    yield kit
    kit.close()


async def test_workers_are_asked_for_by_runs_they_could_start(kit: Kit, postgres: Postgres) -> None:
    await kit.prepare()
    busy = await kit.thread()
    await kit.running(busy)
    for thread_id in [busy, busy, await kit.thread(), await kit.thread()]:
        await kit.admit(thread_id)
    await kit.admit(await kit.thread(), due_at=kit.clock.now + 3600)

    with psycopg.connect(postgres.uri) as connection:
        depths = [connection.execute(cast("LiteralString", query)).fetchone() for query in QUERIES]

    assert depths == [(2,), (1,)], "those of a busy thread and one that is not due need no worker"
