"""Many at once: whoever admits and claims concurrently, every run is executed once and no two of a thread overlap."""

import asyncio
import itertools
from collections import Counter

from tests.conformance.conftest import Kit
from turnkeeper.errors import Conflict, Fenced
from turnkeeper.types import Claimed, Outcome

THREADS, RUNS, CLAIMERS = 12, 120, 6
DONE = Outcome(status="success")


class Floor:
    """Where runs are executed: notices two of one thread at once, and in what order each thread's started."""

    def __init__(self) -> None:
        self.busy: set[str] = set()
        self.started: dict[str, list[str]] = {}
        self.times: Counter[str] = Counter()

    async def execute(self, kit: Kit, claimed: Claimed) -> None:
        assert claimed.thread_id not in self.busy, "two runs of one thread at once"
        self.busy.add(claimed.thread_id)
        self.started.setdefault(claimed.thread_id, []).append(claimed.run_id)
        self.times[claimed.run_id] += 1
        for _ in range(len(claimed.run_id) % 5):  # lets the others have their turn
            await asyncio.sleep(0)
        self.busy.remove(claimed.thread_id)  # before the end is written: from there on another may start
        await kit.storage.runs.finish(claimed.run_id, claimed.attempt, DONE)


async def claimer(kit: Kit, floor: Floor, limit: int, admitting: asyncio.Task[list[str]]) -> None:
    """Claim and execute until nothing is left."""
    while True:
        last = admitting.done()
        claims = await kit.storage.runs.claim(limit)
        await asyncio.gather(*[floor.execute(kit, claimed) for claimed in claims.taken])
        if last and not claims.taken and not floor.busy:
            return


async def admit_all(kit: Kit, threads: list[str], count: int) -> list[str]:
    """Admit runs round robin, each thread's one after another, threads at the same time."""

    async def of(thread_id: str) -> list[str]:
        return [(await kit.admit(thread_id)).run.run_id for _ in range(count // len(threads))]

    return list(itertools.chain(*await asyncio.gather(*[of(thread_id) for thread_id in threads])))


async def test_every_run_is_claimed_once_and_in_order(kit: Kit) -> None:
    threads = [await kit.thread() for _ in range(THREADS)]
    floor = Floor()
    admitting = asyncio.create_task(admit_all(kit, threads, RUNS))

    await asyncio.gather(*[claimer(kit, floor, limit, admitting) for limit in range(1, CLAIMERS + 1)])

    admitted = await admitting
    assert floor.times == Counter(admitted)
    for thread_id in threads:
        listed = await kit.storage.runs.of_thread(thread_id, status=None, limit=1000, offset=0)
        assert floor.started[thread_id] == [run.run_id for run in reversed(listed)]
        assert {run.status for run in listed} == {"success"}
        assert (await kit.storage.threads.get(thread_id)).status == "idle"


async def test_of_many_rejecting_runs_one_gets_the_thread(kit: Kit) -> None:
    thread_id = await kit.thread()

    answers = await asyncio.gather(*[kit.admit(thread_id, "reject") for _ in range(50)], return_exceptions=True)

    assert sum(not isinstance(answer, BaseException) for answer in answers) == 1
    assert sum(isinstance(answer, Conflict) for answer in answers) == 49
    assert await kit.statuses(thread_id) == ["pending"]


async def test_of_many_superseding_runs_the_last_one_stays(kit: Kit) -> None:
    thread_id = await kit.thread()

    admitted = await asyncio.gather(*[kit.admit(thread_id, "interrupt") for _ in range(50)])

    assert await kit.statuses(thread_id) == ["interrupted"] * 49 + ["pending"]
    told = Counter(end.run_id for each in admitted for end in each.stopped.ended)
    assert set(told.values()) == {1}
    assert len(told) == 49


async def test_an_end_is_written_once_however_many_try(kit: Kit) -> None:
    claimed = await kit.running(await kit.thread())
    finish = kit.storage.runs.finish

    answers = await asyncio.gather(
        *[finish(claimed.run_id, claimed.attempt, DONE) for _ in range(20)], return_exceptions=True
    )

    assert sum(isinstance(answer, Fenced) for answer in answers) == 19
    assert kit.journal(claimed.run_id).count("ended") == 1
