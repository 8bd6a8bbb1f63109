"""Anything may happen to several servers and workers: nothing is lost, doubled, overlapping or stuck."""

from collections.abc import Iterator

import pytest

from tests.cluster.kit import BUSES, Cluster, Services
from tests.cluster.rounds import Round
from tests.faults.conftest import APP
from tests.faults.crashing import ENVIRON

pytestmark = pytest.mark.timeout(180)


def rounds(first: int, count: int) -> pytest.MarkDecorator:
    """Rounds shared out among the buses."""
    each = count // len(BUSES)
    seeds = [(bus, first + number * each + seed) for number, bus in enumerate(BUSES) for seed in range(each)]
    return pytest.mark.parametrize(("cluster", "seed"), seeds, indirect=["cluster"])


@pytest.fixture(scope="module")
def cluster(
    request: pytest.FixtureRequest, services: Services, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp(f"rounds-{request.param}")
    with Cluster(services, folder, APP, bus=request.param, **ENVIRON) as cluster:
        yield cluster


def play(cluster: Cluster, seed: int, faults: int) -> None:
    with Round(cluster, seed) as it:
        try:
            it.play(faults)
        except BaseException:
            print(f"seed {seed}, {it.effort}", *it.told, sep="\n")
            raise


@rounds(0, 10)
def test_a_busy_cluster_keeps_its_promises_whatever_happens_to_it(cluster: Cluster, seed: int) -> None:
    play(cluster, seed, 2)


@pytest.mark.parametrize("cluster", BUSES[:1], indirect=True)
def test_all_processes_are_replaced_under_load_and_no_run_is_lost_or_waits_for_a_lease(cluster: Cluster) -> None:
    old = list(cluster.members)
    with Round(cluster, 0) as it:
        with it.judged():
            new = [cluster.join(member.role) for member in old]
            it.work(30)
            for member in old:
                cluster.leave(member)
                it.work(10)
        assert cluster.members == new
        threads = [person.thread_id for person in it.people]
    query = "select detail from journal where thread_id = any(%(threads)s) and event = 'released'"
    assert {detail for (detail,) in cluster.ask(query, threads=threads)} <= {"server stopping"}


@pytest.mark.long
@rounds(100, 100)
def test_a_busy_cluster_keeps_its_promises_whatever_happens_to_it_for_long(cluster: Cluster, seed: int) -> None:
    play(cluster, seed, 6)
