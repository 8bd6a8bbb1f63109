"""What `tests/interleaving` does to one server, done to several: each request goes to any of them."""

import asyncio
import random
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Any, cast

import psycopg
import pytest
from hypothesis.stateful import RuleBasedStateMachine

from tests.cluster.kit import BUSES, Cluster, Services
from tests.interleaving import test_any_interleaving as interleaving
from tests.interleaving import test_storm as storms
from tests.interleaving.driver import APP, new_line
from tests.interleaving.sockets import Http
from tests.interleaving.test_any_interleaving import Interleaving, Thread, run_machine
from tests.interleaving.test_storm import STRATEGIES, check, gone, storm
from tests.wire.live import Live

ENVIRON = {"TURNKEEPER_CANCEL_GRACE": "2", "TURNKEEPER_LEASE": "20"}
"""Nobody dies here: a lease that runs out on a busy machine would only be in the way."""


class Anywhere(Http):
    """Any of several servers."""

    def __init__(self, ports: Sequence[int], chance: random.Random) -> None:
        self._ports = ports
        self._chance = chance

    @property
    def port(self) -> int:  # type: ignore[override]
        return self._chance.choice(self._ports)


class Disk:
    """The database as `interleaving` asks it: in the dialect of SQLite."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def execute(self, statement: str, parameters: Sequence[Any]) -> psycopg.Cursor:
        return self._connection.execute(statement.replace("?", "%s").encode(), parameters)


def anywhere(cluster: Cluster, seed: int) -> Http:
    return Anywhere([member.port for member in cluster.servers], random.Random(seed))


def as_live(cluster: Cluster) -> Live:
    """What is wanted of a server there: its gates."""
    return cast("Live", cluster)


class InterleavingOnMany(Interleaving):
    """Two threads of a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        RuleBasedStateMachine.__init__(self)
        self._runner = asyncio.Runner()
        self._disk = AsyncExitStack()
        connection = self._disk.enter_context(psycopg.connect(cluster.uri, autocommit=True))
        self._connection = cast("Any", Disk(connection))
        self._readers = set()
        self._tags = iter(f"T{number:03}" for number in range(1000))
        http = anywhere(cluster, 0)
        self.threads = [Thread(self._runner.run(new_line(http, as_live(cluster)))) for _ in range(2)]


@pytest.fixture(scope="module", params=BUSES)
def cluster(
    request: pytest.FixtureRequest, services: Services, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp(f"interleaving-{request.param}")
    with Cluster(services, folder, APP, bus=request.param, **ENVIRON) as cluster:
        yield cluster


def run_machine_on(cluster: Cluster, examples: int, monkeypatch: pytest.MonkeyPatch, *, derandomize: bool) -> None:
    monkeypatch.setattr(interleaving, "Interleaving", InterleavingOnMany)
    run_machine(cast("Live", cluster), examples, derandomize=derandomize)


@pytest.mark.timeout(180)
def test_whatever_clients_do_at_several_servers_turns_are_kept_and_nothing_is_lost(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_machine_on(cluster, 20, monkeypatch, derandomize=True)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_whatever_clients_do_at_several_servers_for_long(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    run_machine_on(cluster, 5000, monkeypatch, derandomize=False)


async def check_storm(cluster: Cluster, seed: int) -> None:
    for line in await storm(anywhere(cluster, seed), as_live(cluster), seed, STRATEGIES):
        values, lost = await check(line), await gone(line)
        assert values["said"] == [said.tag for said in line.accepted if said.run_id not in lost]


@pytest.mark.timeout(120)
async def test_in_a_storm_at_several_servers_turns_are_kept_and_only_what_was_taken_back_is_lost(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storms, "THREADS", 10)
    monkeypatch.setattr(storms, "INPUTS", 12)
    await check_storm(cluster, 1)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 9))
async def test_in_a_storm_of_fifty_people_at_several_servers_turns_are_kept(cluster: Cluster, seed: int) -> None:
    await check_storm(cluster, seed)
