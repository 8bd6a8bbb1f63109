"""Whose run is next: turns of tenants and threads, priorities, and slots of concurrency keys."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.conformance.conftest import Backend, Kit
from tests.conformance.test_runs import Places
from turnkeeper.types import Claimed, Limits, NewThread, Outcome, Queueing, RunRequest, uuid7

DONE = Outcome(status="success")
CROWD = 1000
CROWDS = [CROWD, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(300)])]
KEYED = Queueing(concurrency_key="k")

Open = Callable[[Limits], Awaitable[Kit]]


@pytest.fixture
def limited(backend: Backend, tmp_path: Path) -> Iterator[Open]:
    """Open servers whose concurrency keys have limits, all on one database."""
    kits: list[Kit] = []

    async def open_one(limits: Limits) -> Kit:
        kits.append(Kit(backend, tmp_path, limits))
        await kits[-1].prepare()
        return kits[-1]

    yield open_one
    for kit in kits:
        kit.close()


def stateless(kit: Kit, queueing: Queueing) -> RunRequest:
    """A run on a thread of its own."""
    thread_id = uuid7()
    return kit.request(thread_id, new_thread=NewThread(thread_id, {}), queueing=queueing)


async def ids(kit: Kit, requests: Sequence[RunRequest]) -> list[str]:
    return [each.run.run_id for each in await kit.admit_all(requests)]


async def order(kit: Kit, most: int = 10_000) -> list[str]:
    """The ids of runs as a single worker executes them."""
    executed: list[str] = []
    while len(executed) < most and (taken := (await kit.storage.runs.claim(1)).taken):
        [claimed] = taken
        await kit.storage.runs.finish(claimed.run_id, claimed.attempt, DONE)
        executed.append(claimed.run_id)
    return executed


# --- turns ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("crowd", CROWDS)
async def test_a_tenant_with_thousands_of_runs_delays_others_by_two(kit: Kit, crowd: int) -> None:
    for _ in range(crowd // CROWD):
        await kit.admit_all([stateless(kit, Queueing(fairness_key="many")) for _ in range(CROWD)])
    assert len(await order(kit, 5)) == 5

    [other] = await ids(kit, [stateless(kit, Queueing(fairness_key="one"))])

    assert other in await order(kit, 3)


@pytest.mark.parametrize("crowd", CROWDS)
async def test_a_thread_with_thousands_of_runs_delays_others_by_two(kit: Kit, crowd: int) -> None:
    full = await kit.thread()
    for _ in range(crowd // CROWD):
        await kit.admit_all([kit.request(full) for _ in range(CROWD)])
    assert len(await order(kit, 5)) == 5

    other = (await kit.admit(await kit.thread())).run.run_id

    assert other in await order(kit, 3)


async def test_tenants_take_turns_whoever_came_first(kit: Kit) -> None:
    tenants = {
        run_id: tenant
        for tenant, count in (("a", 6), ("b", 3), ("c", 1))
        for run_id in await ids(kit, [stateless(kit, Queueing(fairness_key=tenant)) for _ in range(count)])
    }

    turns = "".join(tenants[run_id] for run_id in await order(kit))

    assert turns.index("b") <= 2
    assert turns.index("c") <= 4
    assert turns.rindex("b") < turns.rindex("a")
    assert turns.endswith("aa")


async def test_newcomers_without_end_do_not_keep_a_tenant_from_its_next_turn(kit: Kit) -> None:
    mine = await ids(kit, [stateless(kit, Queueing(fairness_key="a")) for _ in range(3)])

    executed: list[str] = []
    for _ in range(12):
        await ids(kit, [stateless(kit, Queueing()), stateless(kit, Queueing())])  # more than are executed
        executed += await order(kit, 1)

    assert set(mine) <= set(executed)


async def test_a_run_that_is_taken_up_again_need_not_wait_for_its_turn_once_more(kit: Kit) -> None:
    tenant = Queueing(fairness_key="a")
    [first, *_] = await ids(kit, [stateless(kit, tenant) for _ in range(20)])
    assert (await kit.storage.runs.claim(1)).taken[0].run_id == first

    kit.crash()
    await kit.storage.runs.recover()

    assert first in await order(kit, 2)


# --- priority ---------------------------------------------------------------------------------------------------------


async def test_urgent_runs_go_first(kit: Kit) -> None:
    admitted = {
        priority: (await kit.admit(await kit.thread(), queueing=Queueing(priority=priority))).run.run_id
        for priority in (-100, 0, 7, 100, 6, -1)
    }

    assert await order(kit) == [admitted[priority] for priority in sorted(admitted, reverse=True)]


async def test_a_thread_is_as_urgent_as_its_most_urgent_run_and_keeps_its_order(kit: Kit) -> None:
    """An urgent run is not held up by a lazy one of its thread that nobody would start."""
    thread_id, other = await kit.thread(), await kit.thread()
    lazy = await kit.admit(thread_id, queueing=Queueing(priority=-5))
    usual = await kit.admit(other)
    urgent = await kit.admit(thread_id, queueing=Queueing(priority=5))

    assert await order(kit) == [each.run.run_id for each in (lazy, urgent, usual)]


async def test_a_thread_is_no_more_urgent_once_its_urgent_run_is_gone(kit: Kit) -> None:
    thread_id = await kit.thread()
    lazy = await kit.admit(thread_id, queueing=Queueing(priority=-5))
    urgent = await kit.admit(thread_id, queueing=Queueing(priority=5))
    usual = await kit.admit(await kit.thread())

    await kit.storage.runs.cancel(thread_id, [urgent.run.run_id], "interrupt", "enough")

    assert await order(kit) == [usual.run.run_id, lazy.run.run_id]


async def test_a_delayed_run_is_urgent_once_it_is_due(kit: Kit) -> None:
    thread_id = await kit.thread()
    usual = await kit.admit(await kit.thread())
    queued = await kit.admit(thread_id)
    later = kit.clock.now + 60
    delayed = await kit.admit(thread_id, due_at=later, queueing=Queueing(priority=9))
    kit.clock.now += 59
    await kit.admit(await kit.thread())
    assert await order(kit, 1) == [usual.run.run_id]
    kit.clock.now += 1

    assert (await order(kit))[:2] == [queued.run.run_id, delayed.run.run_id]


# --- slots ------------------------------------------------------------------------------------------------------------


async def claim_all(kit: Kit) -> list[Claimed]:
    return (await kit.storage.runs.claim(100)).taken


async def test_no_more_runs_of_a_key_are_executed_than_its_limit(limited: Open) -> None:
    kit = await limited(Limits(each=3, named={"k": 2}))
    await ids(kit, [stateless(kit, Queueing(concurrency_key=key)) for key in ("k", "other", "k", "other") * 5])
    free = await ids(kit, [stateless(kit, Queueing()) for _ in range(5)])

    taken = await claim_all(kit)

    assert len(taken) == 2 + 3 + 5
    assert set(free) < {claimed.run_id for claimed in taken}
    assert await claim_all(kit) == []
    assert (await kit.storage.runs.waiting())[:2] == (0, 8 + 7)


async def test_a_key_without_a_limit_has_none(kit: Kit) -> None:
    await ids(kit, [stateless(kit, KEYED) for _ in range(20)])

    assert len(await claim_all(kit)) == 20


@pytest.mark.parametrize(
    "way", ["finish", "error", "release", "cancel", "rollback", "delete", "delete thread", "crash", "seal"]
)
async def test_a_slot_is_free_again_however_its_run_lets_go(limited: Open, way: str) -> None:
    kit = await limited(Limits(each=1))
    runs = kit.storage.runs
    first, second = [each.run for each in await kit.admit_all([stateless(kit, KEYED) for _ in range(2)])]
    [claimed] = await claim_all(kit)
    assert claimed.run_id == first.run_id

    match way:
        case "finish" | "error":
            assert (await runs.finish(first.run_id, 1, Outcome("error" if way == "error" else "success"))).more
        case "release":
            await runs.release(first.run_id, 1)
        case "cancel" | "rollback":
            await runs.cancel(first.thread_id, [first.run_id], "rollback" if way == "rollback" else "interrupt", "no")
            assert await claim_all(kit) == []
            assert (await runs.finish(first.run_id, 1, DONE)).more
        case "delete":
            await runs.delete(first.thread_id, first.run_id)
        case "delete thread":
            await kit.storage.threads.delete(first.thread_id)
        case "crash":
            kit.crash()
            runs = kit.storage.runs
            await runs.recover()
        case _:
            sealed = await runs.seal(first.run_id, 1)
            assert await claim_all(kit) == []
            await runs.finish(first.run_id, sealed, DONE)

    [again] = await claim_all(kit)
    assert again.run_id == (first.run_id if way in ("release", "crash") else second.run_id)


@pytest.mark.parametrize("way", ["cancel", "rollback", "delete", "delete thread", "supersede"])
async def test_a_slot_of_a_run_that_never_started_goes_to_the_next(limited: Open, way: str) -> None:
    kit = await limited(Limits(each=1))
    runs = kit.storage.runs
    first, second = [each.run for each in await kit.admit_all([stateless(kit, KEYED) for _ in range(2)])]

    match way:
        case "cancel" | "rollback":
            await runs.cancel(first.thread_id, [first.run_id], "rollback" if way == "rollback" else "interrupt", "no")
        case "delete":
            await runs.delete(first.thread_id, first.run_id)
        case "delete thread":
            await kit.storage.threads.delete(first.thread_id)
        case _:
            first = (await kit.admit(first.thread_id, "interrupt")).run

    assert {claimed.run_id for claimed in await claim_all(kit)} - {first.run_id} == {second.run_id}


async def test_a_thread_whose_next_run_has_another_key_lets_go_of_the_slot(limited: Open) -> None:
    kit = await limited(Limits(each=1))
    thread_id = await kit.thread()
    await kit.admit(thread_id, queueing=KEYED, due_at=kit.clock.now + 60)
    await kit.admit(thread_id, queueing=Queueing(concurrency_key="other"))
    [waiting, behind] = await ids(kit, [stateless(kit, KEYED), stateless(kit, Queueing(concurrency_key="other"))])

    assert (await kit.storage.runs.waiting())[:2] == (2, 1)
    kit.clock.now += 60  # the delayed run comes first in its thread, and there is no slot for it

    assert {claimed.run_id for claimed in await claim_all(kit)} == {waiting, behind}
    assert (await kit.storage.runs.waiting())[:2] == (0, 1)


async def test_tenants_take_turns_at_a_slot(limited: Open) -> None:
    kit = await limited(Limits(each=1))
    many = Queueing(fairness_key="many", concurrency_key="k")
    await ids(kit, [stateless(kit, many) for _ in range(50)])
    assert len(await order(kit, 5)) == 5

    [other] = await ids(kit, [stateless(kit, Queueing(fairness_key="one", concurrency_key="k"))])

    assert other in await order(kit, 4)


async def test_an_urgent_run_gets_the_next_slot(limited: Open) -> None:
    kit = await limited(Limits(each=1))
    await ids(kit, [stateless(kit, KEYED) for _ in range(10)])

    [urgent] = await ids(kit, [stateless(kit, Queueing(concurrency_key="k", priority=1))])

    assert urgent in await order(kit, 2)


async def test_a_run_that_needs_a_slot_is_left_to_the_claims(limited: Open) -> None:
    kit = await limited(Limits(each=1))
    kit.signals = places = Places(5)

    await ids(kit, [stateless(kit, KEYED) for _ in range(2)])

    assert (places.free, places.started, places.woken) == (5, [], 1)
    assert len(await claim_all(kit)) == 1


async def test_other_limits_apply_from_the_next_start_on(limited: Open) -> None:
    kit = await limited(Limits(named={"k": 2}))
    await ids(kit, [stateless(kit, KEYED) for _ in range(20)])
    assert len(await claim_all(kit)) == 2
    sizes: list[int] = []
    for limits in (Limits(named={"k": 5}), Limits(named={"k": 1}), Limits(each=8), Limits()):
        kit.limits = limits
        kit.crash()
        sizes.append(len(await claim_all(kit)))

    assert sizes == [3, 0, 3, 12]


async def test_many_that_wait_for_a_slot_are_nothing_to_a_claim(limited: Open) -> None:
    """Counted in steps of the database, not in seconds: a busy machine must not fail it."""
    kit = await limited(Limits(named={"k": 1, "quiet": 1}))
    if not kit.backend.plans:
        pytest.skip("this backend's plans depend on its statistics")

    async def moves(key: str, crowd: int) -> dict[str, int]:
        await ids(kit, [stateless(kit, Queueing(concurrency_key=key)) for _ in range(crowd)])
        [claimed] = await claim_all(kit)
        free = await kit.thread()
        await kit.admit(free)
        return {
            "claim": await kit.work(kit.storage.runs.claim(1)),
            "claim in vain": await kit.work(kit.storage.runs.claim(1)),
            "admit": await kit.work(kit.admit(await kit.thread(), queueing=Queueing(concurrency_key=key))),
            "finish": await kit.work(kit.storage.runs.finish(claimed.run_id, claimed.attempt, DONE)),
        }

    few = await moves("quiet", 5)
    assert len(await order(kit)) == 5
    many = await moves("k", CROWD)

    assert {move: cost for move, cost in many.items() if cost > 2 * few[move]} == {}, few


@pytest.mark.parametrize("queueing", [Queueing(), Queueing(fairness_key="a"), Queueing(priority=1)])
async def test_many_that_wait_for_a_worker_are_nothing_to_a_claim(kit: Kit, queueing: Queueing) -> None:
    """Counted in steps of the database, not in seconds: a busy machine must not fail it."""
    if not kit.backend.plans:
        pytest.skip("this backend's plans depend on its statistics")

    async def moves(crowd: int) -> dict[str, int]:
        await ids(kit, [stateless(kit, queueing) for _ in range(crowd)])
        [claimed] = (await kit.storage.runs.claim(1)).taken
        thread_id = await kit.thread()
        return {
            "claim": await kit.work(kit.storage.runs.claim(1)),
            "admit": await kit.work(kit.admit(thread_id, queueing=queueing)),
            "finish": await kit.work(kit.storage.runs.finish(claimed.run_id, claimed.attempt, DONE)),
        }

    few, many = await moves(5), await moves(CROWD)

    assert {move: cost for move, cost in many.items() if cost > 2 * few[move]} == {}, few


# --- many at once -----------------------------------------------------------------------------------------------------

LIMITS = Limits(each=2, named={"a": 1})


class Floor:
    """Where runs are executed: notices more of a key at once than may be."""

    def __init__(self) -> None:
        self.keys: dict[str, str | None] = {}
        self.busy: Counter[str | None] = Counter()
        self.most: Counter[str | None] = Counter()

    def enter(self, claimed: Claimed) -> None:
        key = self.keys[claimed.run_id]
        self.busy[key] += 1
        self.most[key] = max(self.most[key], self.busy[key])

    def leave(self, claimed: Claimed) -> None:
        """Before the end is written: from there on another may start."""
        self.busy[self.keys.pop(claimed.run_id)] -= 1


async def test_limits_hold_however_many_servers_claim(limited: Open) -> None:
    kits = [await limited(LIMITS)]
    if not kits[0].backend.plans:  # a file has one server
        kits += [await limited(LIMITS) for _ in range(2)]
    chance = random.Random(5)
    threads = [await kits[0].thread() for _ in range(12)]
    floor = Floor()
    left = 120

    async def admit(kit: Kit) -> None:
        for _ in range(40):
            key = chance.choice(["a", "b", "c", None])
            request = kit.request(chance.choice(threads), queueing=Queueing(concurrency_key=key))
            floor.keys[request.run_id] = key
            await kit.admit_all([request])

    async def execute(kit: Kit, claimed: Claimed) -> None:
        nonlocal left
        floor.enter(claimed)
        await kit.storage.threads.get(claimed.thread_id)
        floor.leave(claimed)
        assert (await kit.storage.runs.finish(claimed.run_id, claimed.attempt, DONE)).status == "success"
        left -= 1

    async def work(kit: Kit) -> None:
        while left > 0:
            taken = (await kit.storage.runs.claim(chance.randint(1, 4))).taken
            await asyncio.gather(*[execute(kit, claimed) for claimed in taken])

    every = (kits * 3)[:3]
    async with asyncio.timeout(60):
        await asyncio.gather(*[admit(kit) for kit in every], *[work(kit) for kit in every * 3])

    assert [floor.most[key] <= most for key, most in (("a", 1), ("b", 2), ("c", 2))] == [True] * 3, floor.most


async def test_no_slot_is_lost_whatever_happens_at_once(limited: Open) -> None:
    """Cancels, supersessions and ends cross each other; in the end every queue runs empty."""
    kits = [await limited(LIMITS)]
    if not kits[0].backend.plans:
        kits += [await limited(LIMITS) for _ in range(2)]
    chance = random.Random(11)
    threads = [await kits[0].thread() for _ in range(6)]

    async def move(kit: Kit) -> None:
        thread_id, queueing = chance.choice(threads), Queueing(concurrency_key=chance.choice(["a", "b", None]))
        match chance.choice(["admit", "admit", "admit", "interrupt", "rollback", "batch", "cancel", "claim", "claim"]):
            case "admit":
                await kit.admit(thread_id, queueing=queueing)
            case "interrupt":
                await kit.admit(thread_id, "interrupt", queueing=queueing)
            case "rollback":
                await kit.admit(thread_id, "rollback", queueing=queueing)
            case "batch":
                await kit.admit_all([kit.request(each, queueing=queueing) for each in chance.sample(threads, 2)])
            case "cancel":
                await kit.storage.runs.cancel_thread(thread_id, "interrupt", "enough")
            case _:
                await finish_all(kit, (await kit.storage.runs.claim(2)).taken)

    async def finish_all(kit: Kit, taken: list[Claimed]) -> None:
        for claimed in taken:
            await kit.storage.runs.finish(claimed.run_id, claimed.attempt, DONE)

    await asyncio.gather(*[move(kits[number % len(kits)]) for number in range(150)])
    while taken := (await kits[0].storage.runs.claim(3)).taken:
        await finish_all(kits[0], taken)

    assert {(await kits[0].storage.threads.get(thread_id)).status for thread_id in threads} == {"idle"}
    assert await kits[0].storage.runs.waiting() == (0, 0, 0)
