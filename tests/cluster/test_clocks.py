"""Machines whose clocks are minutes apart, or jump: nothing is lost, early or late."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.cluster.conftest import APP, ENVIRON
from tests.cluster.kit import LEASE, Cluster, Member, Services
from tests.cluster.talk import Talk
from tests.wire.talk import whole

AHEAD = {"api-0": 300.0, "api-1": -300.0, "worker-2": 180.0, "worker-3": -180.0}


class Clocks:
    """What the machine of each member takes for the time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def file(self, member: Member) -> Path:
        return self._folder / f"clock-{member.name}"

    def set(self, member: Member, ahead: float) -> None:
        """By how many seconds it is wrong, from now on."""
        draft = self._folder / f"draft-{member.name}"
        draft.write_text(str(ahead))
        draft.replace(self.file(member))


@pytest.fixture(scope="module")
def clocks(tmp_path_factory: pytest.TempPathFactory) -> Clocks:
    return Clocks(tmp_path_factory.mktemp("clocks"))


@pytest.fixture(scope="module")
def cluster(services: Services, clocks: Clocks, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("skewed")
    cluster = Cluster(services, folder, APP, roles=["api", "api", "worker", "worker"], **ENVIRON)
    try:
        for member in cluster.members:
            clocks.set(member, AHEAD[member.name])
            cluster.begin(member, CLOCK=str(clocks.file(member)))
        for member in cluster.members:
            member.process.wait_ready()
        yield cluster
    finally:
        cluster.kill(*cluster.members)


@pytest.fixture
async def talk(cluster: Cluster, http: httpx.AsyncClient) -> Talk:
    thread_id = str(uuid4())
    await http.post(f"{cluster.servers[0].url}/threads", json={"thread_id": thread_id})
    return Talk(cluster, http, thread_id)


async def test_no_worker_takes_a_run_from_another_whose_clock_is_behind(talk: Talk, cluster: Cluster) -> None:
    talk.hold("A.n2")
    run = await talk.say(cluster.servers[0], "A")
    await talk.executor("A.n2")
    await asyncio.sleep(3 * LEASE)  # for which nothing must happen
    talk.let("A.n2")
    assert (await talk.end_of(cluster.servers[1], run))["steps"] == whole("A")
    assert [event for event, _, _ in talk.journal(run)] == ["created", "started", "ended"]


@pytest.mark.parametrize("server", [0, 1])
async def test_a_delayed_run_starts_in_time_wherever_it_was_asked_for(
    talk: Talk, cluster: Cluster, server: int
) -> None:
    asked = time.monotonic()
    run = await talk.say(cluster.servers[server], "A", after_seconds=1)
    await talk.executor("A.n1")
    took = time.monotonic() - asked
    await talk.end_of(cluster.servers[server], run)
    assert 1.0 <= took < 3.0, f"it began after {took:.3f} s"


async def test_a_run_goes_on_from_where_the_one_before_it_ended_whoever_executes_it(
    talk: Talk, cluster: Cluster
) -> None:
    """Whose turn it is must not depend on clocks: neither must which checkpoint is the newest."""
    tags = [f"T{number}" for number in range(8)]
    for number, tag in enumerate(tags):
        server = cluster.servers[number % 2]
        await talk.end_of(server, await talk.say(server, tag))
    assert await talk.steps(cluster.servers[0]) == whole(*tags)


async def test_runs_start_at_once_and_are_kept_when_clocks_jump(talk: Talk, cluster: Cluster, clocks: Clocks) -> None:
    for number, jump in enumerate([3600.0, -3600.0, 0.0]):
        for member in cluster.members:
            clocks.set(member, AHEAD[member.name] + jump)
        asked = time.monotonic()
        tag, server = f"J{number}", cluster.servers[number % 2]
        run = await talk.say(server, tag)
        await talk.executor(f"{tag}.n1")
        took = time.monotonic() - asked
        await talk.end_of(server, run)
        assert took < 2.0, f"it began after {took:.3f} s"
        later = await talk.say(server, f"L{number}", after_seconds=0.5)
        took = await talk.noted(f"L{number}.n1 began") - asked
        assert took < 3.0, f"the delayed one began after {took:.3f} s"
        await talk.end_of(server, later)
        assert [event for event, _, _ in talk.journal(run)] == ["created", "started", "ended"]
