"""Crons: kept, found, and fired once per tick whatever happens."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from tests.conformance.conftest import ASSISTANT, START, Kit, assistant
from turnkeeper.contracts import Storage
from turnkeeper.errors import Conflict, Invalid, NotFound, TooMany
from turnkeeper.lifecycle import Strategy
from turnkeeper.services.admitting import Admitting, Policy
from turnkeeper.services.assistants import AssistantService
from turnkeeper.services.cron_bodies import CronCreate, CronPatch
from turnkeeper.services.crons import CronService
from turnkeeper.services.firing import AT_ONCE, GRACE, Firing
from turnkeeper.services.schedules import seconds
from turnkeeper.types import EMPTY, Cron, Preconditions, RunRequest, Select, Stopped, timestamp, uuid7


def js(value: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value).encode())


def cron(**fields: Any) -> Cron:
    """A cron; `fields` replace what tests seldom care for."""
    usual: dict[str, Any] = {
        "cron_id": uuid7(),
        "assistant_id": ASSISTANT,
        "thread_id": None,
        "user_id": None,
        "schedule": "* * * * *",
        "timezone": None,
        "end_time": None,
        "next_run_date": None,
        "enabled": True,
        "on_run_completed": None,
        "metadata": EMPTY,
        "payload": EMPTY,
        "created_at": "",
        "updated_at": "",
    }
    return Cron(**{**usual, **fields})


async def make(kit: Kit, **fields: Any) -> Cron:
    return await kit.storage.crons.create(cron(**fields))


def request(kit: Kit, due: Cron, strategy: Strategy = "enqueue") -> RunRequest:
    assert due.thread_id is not None
    return kit.request(due.thread_id, strategy)


# --- Kept and found ---------------------------------------------------------------------------------------------------


async def test_a_new_cron_is_stored_as_it_was_given(kit: Kit) -> None:
    given = cron(
        thread_id=await kit.thread(),
        timezone="Europe/Berlin",
        end_time=timestamp(START + 60),
        next_run_date=timestamp(START + 1),
        enabled=False,
        on_run_completed="keep",
        metadata=js({"a": 1}),
        payload=js({"input": {"x": [1]}}),
    )

    made = await kit.storage.crons.create(given)

    assert made == await kit.storage.crons.get(given.cron_id)
    assert made == msgspec.structs.replace(given, created_at=timestamp(START), updated_at=timestamp(START))


@pytest.mark.parametrize("missing", ["assistant_id", "thread_id"])
async def test_a_cron_needs_its_assistant_and_its_thread(kit: Kit, missing: str) -> None:
    absent = uuid7()
    before = kit.dump()

    with pytest.raises(NotFound, match=absent):
        await make(kit, **{missing: absent})

    assert kit.dump() == before


async def test_a_cron_goes_with_its_thread_and_with_its_assistant(kit: Kit) -> None:
    thread = await kit.thread()
    other = assistant(uuid7())
    await kit.storage.assistants.create(other, exist_ok=False)
    of_thread = await make(kit, thread_id=thread)
    of_other = await make(kit, assistant_id=other.assistant_id)
    stays = await make(kit)

    await kit.storage.threads.delete(thread)
    await kit.storage.assistants.delete(other.assistant_id)

    for gone in (of_thread, of_other):
        with pytest.raises(NotFound, match=gone.cron_id):
            await kit.storage.crons.get(gone.cron_id)
    assert await kit.storage.crons.get(stays.cron_id) == stays


async def test_a_change_is_made_of_what_there_is_or_not_at_all(kit: Kit) -> None:
    made = await make(kit, metadata=js({"a": 1}))
    kit.clock.now += 5

    def refuse(_: Cron) -> Cron:
        raise Invalid("no")

    changed = await kit.storage.crons.update(
        made.cron_id, lambda old: msgspec.structs.replace(old, metadata=js([json.loads(bytes(old.metadata)), 2]))
    )
    with pytest.raises(Invalid):
        await kit.storage.crons.update(made.cron_id, refuse)
    with pytest.raises(NotFound):
        await kit.storage.crons.update(uuid7(), refuse)

    expected = msgspec.structs.replace(made, metadata=js([{"a": 1}, 2]), updated_at=timestamp(START + 5))
    assert changed == expected == await kit.storage.crons.get(made.cron_id)


async def test_a_deleted_cron_is_gone(kit: Kit) -> None:
    made = await make(kit)

    await kit.storage.crons.delete(made.cron_id)

    for call in (kit.storage.crons.delete, kit.storage.crons.get):
        with pytest.raises(NotFound, match=made.cron_id):
            await call(made.cron_id)


async def found(storage: Storage, filters: dict[str, Any]) -> set[str]:
    page = await storage.crons.search(filters, Select())
    assert page.total == await storage.crons.count(filters)
    return {each.schedule for each in page.items}


async def test_a_search_filters(kit: Kit) -> None:
    thread = await kit.thread()
    await make(kit, schedule="a", thread_id=thread, metadata=js({"m": 1}))
    await make(kit, schedule="b", enabled=False, metadata=js({"m": 1, "n": {"x": True, "y": 0}}))

    for filters, expected in (
        ({}, {"a", "b"}),
        ({"thread_id": thread}, {"a"}),
        ({"assistant_id": ASSISTANT}, {"a", "b"}),
        ({"assistant_id": uuid7()}, set[str]()),
        ({"enabled": True}, {"a"}),
        ({"enabled": False}, {"b"}),
        ({"metadata": '{"m":1}'}, {"a", "b"}),
        ({"metadata": '{"n":{"x":true}}'}, {"b"}),
        ({"metadata": '{"n":{"x":1}}'}, set[str]()),
        ({"thread_id": thread, "enabled": False}, set[str]()),
    ):
        assert await found(kit.storage, filters) == expected, filters


SORTS = ("cron_id", "assistant_id", "thread_id", "next_run_date", "end_time", "created_at", "updated_at")


async def test_a_search_sorts_both_ways_and_has_what_is_missing_last(kit: Kit) -> None:
    for second in (2, 0, 1, None):
        kit.clock.now = START + (second or 0)
        date = None if second is None else timestamp(START + second)
        thread = None if second is None else await kit.thread()
        await make(kit, next_run_date=date, end_time=date, thread_id=thread)

    async def values(sort_by: str, *, descending: bool) -> list[str | None]:
        page = await kit.storage.crons.search({}, Select(sort_by=sort_by, descending=descending))
        return [getattr(each, sort_by) for each in page.items]

    for sort_by in SORTS:
        up, down = await values(sort_by, descending=False), await values(sort_by, descending=True)
        there = [value for value in up if value is not None]
        missing = [None] * (4 - len(there))
        assert up == [*sorted(there), *missing], sort_by
        assert down == [*sorted(there, reverse=True), *missing], sort_by


async def test_a_page_knows_how_many_there_are(kit: Kit) -> None:
    for name in "abc":
        kit.clock.now += 1
        await make(kit, schedule=name)

    for offset, expected in ((0, ["c", "b"]), (2, ["a"]), (9, list[str]())):
        page = await kit.storage.crons.search({}, Select(limit=2, offset=offset))
        assert ([each.schedule for each in page.items], page.total) == (expected, 3)


# --- Due and fired ----------------------------------------------------------------------------------------------------


async def test_what_is_due_comes_in_order_and_not_before_its_time(kit: Kit) -> None:
    for second in (2, 1, 3, 9):
        await make(kit, schedule=f"{second}", next_run_date=timestamp(START + second))
    await make(kit, schedule="never")

    async def due(at: float, limit: int = 10) -> list[str]:
        return [each.schedule for each in await kit.storage.crons.due(at, limit)]

    assert await due(START + 0.999) == []
    assert await due(START + 3) == ["1", "2", "3"]
    assert await due(START + 3, limit=2) == ["1", "2"]
    assert await kit.storage.crons.next_due() == timestamp(START + 1)


async def test_a_tick_has_one_run_however_many_fire_it(kit: Kit) -> None:
    thread = await kit.thread()
    due = await make(kit, thread_id=thread, next_run_date=timestamp(START))

    async def fire() -> Any:
        return await kit.storage.crons.fire(due, timestamp(START + 60), request(kit, due), kit.signals)

    results = await asyncio.gather(*(fire() for _ in range(8)))

    assert [each is None for each in results].count(False) == 1
    assert await kit.statuses(thread) == ["pending"]
    assert (await kit.storage.crons.get(due.cron_id)).next_run_date == timestamp(START + 60)


async def test_a_crash_does_not_bring_a_tick_back(kit: Kit) -> None:
    thread = await kit.thread()
    due = await make(kit, thread_id=thread, next_run_date=timestamp(START))
    await kit.storage.crons.fire(due, timestamp(START + 60), request(kit, due), kit.signals)

    kit.crash()

    assert await kit.storage.crons.due(START, 10) == []
    assert await kit.storage.crons.fire(due, timestamp(START + 60), request(kit, due), kit.signals) is None
    assert await kit.statuses(thread) == ["pending"]


@pytest.mark.parametrize("meanwhile", ["changed", "skipped", "deleted"])
async def test_a_cron_that_is_not_as_it_was_does_not_fire(kit: Kit, meanwhile: str) -> None:
    thread = await kit.thread()
    due = await make(kit, thread_id=thread, next_run_date=timestamp(START))
    kit.clock.now += 1
    match meanwhile:
        case "changed":
            await kit.storage.crons.update(due.cron_id, lambda old: msgspec.structs.replace(old, payload=js({"b": 1})))
        case "skipped":
            assert await kit.storage.crons.skip(due, None)
        case _:
            await kit.storage.crons.delete(due.cron_id)

    assert await kit.storage.crons.fire(due, None, request(kit, due), kit.signals) is None
    assert not await kit.storage.crons.skip(due, None)
    assert await kit.statuses(thread) == []


async def test_a_run_that_is_refused_leaves_everything_as_it_was(kit: Kit) -> None:
    thread = await kit.thread()
    await kit.running(thread)
    due = await make(kit, thread_id=thread, next_run_date=timestamp(START))
    await kit.admit(thread)
    before = kit.dump()
    full = kit.request(thread, preconditions=Preconditions(max_queued=1))

    for wrong, error in (
        (request(kit, due, "reject"), Conflict),
        (full, TooMany),
        (kit.request(uuid7()), NotFound),
        (kit.request(thread, assistant_id=uuid7()), NotFound),
    ):
        with pytest.raises(error):
            await kit.storage.crons.fire(due, None, wrong, kit.signals)
        assert kit.dump() == before

    assert await kit.storage.crons.skip(due, timestamp(START + 60))
    assert (await kit.storage.crons.get(due.cron_id)).next_run_date == timestamp(START + 60)


# --- What the server does when crons are due --------------------------------------------------------------------------


class Announced:
    """Of the runs' service: whom it tells what was stopped."""

    def __init__(self) -> None:
        self.stopped: list[Stopped] = []

    def announce(self, stopped: Stopped) -> None:
        self.stopped.append(stopped)


class Shop:
    """The services on a storage whose clock stands still."""

    def __init__(self, kit: Kit) -> None:
        self.kit = kit
        graphs = SimpleNamespace(ids=(), failed=())
        assistants = AssistantService(kit.storage, cast("Any", graphs))
        policy = Policy(recursion_limit=9, max_queued=9, keep_queued=False, keep_inputs=True, answer_tool_calls=True)
        admitting = Admitting(assistants, policy, kit.clock)
        self.told = Announced()
        self.changed = asyncio.Event()
        self.crons = CronService(kit.storage, assistants, admitting, self.changed)
        self.firing = Firing(kit.storage, admitting, cast("Any", self.told), kit.signals)

    async def make(self, thread_id: str | None = None, schedule: str = "* * * * *", **fields: Any) -> Cron:
        return await self.crons.create(thread_id, CronCreate(assistant_id=ASSISTANT, schedule=schedule, **fields))

    async def fire(self, at: float) -> int:
        """Fire what is due at a time (seconds after `START`); how many runs were made."""
        self.kit.clock.now = START + at
        return await self.firing.fire_due()

    async def next(self, cron: Cron) -> float | None:
        """A cron's next tick, in seconds after `START`."""
        date = (await self.crons.get(cron.cron_id)).next_run_date
        return None if date is None else seconds(date) - START


@pytest.fixture
def shop(kit: Kit) -> Shop:
    assert START % 60 == 0
    return Shop(kit)


async def test_a_cron_fires_at_each_of_its_ticks(shop: Shop) -> None:
    thread = await shop.kit.thread()
    made = await shop.make(thread, input=js({"x": 1}), metadata={"m": 1})
    assert shop.changed.is_set()
    assert await shop.firing.next_due() == START + 60

    assert [await shop.fire(at) for at in (59.9, 60, 60.1, 119, 120.5)] == [0, 1, 0, 0, 1]

    [_, run] = await shop.kit.storage.runs.of_thread(thread, status=None, limit=9, offset=0)
    kwargs = json.loads(bytes(run.kwargs))
    assert kwargs["input"] == {"x": 1}
    assert kwargs["config"]["configurable"]["cron_id"] == made.cron_id
    assert {"m": 1, "cron_id": made.cron_id}.items() <= json.loads(bytes(run.metadata)).items()
    assert await shop.next(made) == 180


async def test_after_a_pause_there_is_one_run_for_all_that_was_missed(shop: Shop) -> None:
    thread = await shop.kit.thread()
    made = await shop.make(thread)

    assert [await shop.fire(at) for at in (3630, 3659, 3660)] == [1, 0, 1]

    assert len(await shop.kit.statuses(thread)) == 2
    assert await shop.next(made) == 3720


async def test_crons_that_have_ended_hold_nothing_up(shop: Shop) -> None:
    thread = await shop.kit.thread()
    ended = [await shop.make(end_time=timestamp(START + 90)) for _ in range(2 * AT_ONCE)]
    made = await shop.make(thread, "*/2 * * * *")

    fired = [await shop.fire(at) for at in (60, 90 + GRACE + 1)]

    assert fired == [len(ended), 1]
    assert await shop.kit.statuses(thread) == ["pending"]
    assert {await shop.next(each) for each in ended} == {None}
    assert await shop.next(made) == 240


async def test_a_last_tick_may_be_late_but_not_made_up_for_long_after_the_end(shop: Shop) -> None:
    [late, missed] = [await shop.make(end_time=timestamp(START + end)) for end in (60, 61)]
    await shop.kit.storage.crons.delete(missed.cron_id)
    assert await shop.fire(60 + GRACE / 2) == 1
    assert await shop.next(late) is None

    missed = await shop.make(end_time=timestamp(START + 151))
    assert await shop.fire(151 + GRACE + 1) == 0
    assert await shop.next(missed) is None


async def test_a_cron_whose_end_comes_before_its_first_tick_has_none(shop: Shop) -> None:
    made = await shop.make(end_time=timestamp(START + 59))
    assert made.next_run_date is None
    assert await shop.fire(60) == 0


async def test_a_cron_whose_run_is_refused_goes_on_and_stops_no_other(shop: Shop) -> None:
    busy, idle = await shop.kit.thread(), await shop.kit.thread()
    await shop.kit.running(busy)
    refused = await shop.make(busy, multitask_strategy="reject")
    made = await shop.make(idle)

    assert await shop.fire(60) == 1

    assert await shop.kit.statuses(busy) == ["running"]
    assert await shop.kit.statuses(idle) == ["pending"]
    assert [await shop.next(each) for each in (refused, made)] == [120, 120]


@pytest.mark.parametrize("broken", [{"payload": js({"input": 1})}, {"payload": js([])}, {"timezone": "Mars/Olympus"}])
async def test_a_cron_that_cannot_be_read_stops_no_other(shop: Shop, broken: dict[str, Any]) -> None:
    wrong = await make(shop.kit, next_run_date=timestamp(START), **broken)
    thread = await shop.kit.thread()
    await shop.make(thread)

    await shop.fire(60)

    assert await shop.kit.statuses(thread) == ["pending"]
    assert wrong.next_run_date not in [each.next_run_date for each in await shop.kit.storage.crons.due(START + 60, 9)]


@pytest.mark.parametrize("strategy", [None, "interrupt"])
async def test_a_cron_answers_a_busy_thread_as_it_was_told(shop: Shop, strategy: Strategy | None) -> None:
    thread = await shop.kit.thread()
    first = await shop.kit.running(thread)
    await shop.make(thread, multitask_strategy=strategy)

    assert await shop.fire(60) == 1

    assert await shop.kit.statuses(thread) == ["running", "pending"]
    stopping = (first.run_id,) if strategy == "interrupt" else ()
    assert [each.stopping for each in shop.told.stopped] == [stopping]


@pytest.mark.parametrize(("keep", "stays"), [(None, False), ("keep", True)])
async def test_a_cron_without_a_thread_makes_one_for_each_run(shop: Shop, keep: Any, stays: bool) -> None:
    made = await shop.make(on_run_completed=keep)

    assert [await shop.fire(60), await shop.fire(120)] == [1, 1]

    taken = (await shop.kit.storage.runs.claim(9)).taken
    assert len({claimed.thread_id for claimed in taken}) == 2
    assert [claimed.temporary for claimed in taken] == [not stays] * 2
    page = await shop.kit.storage.threads.search({"metadata": json.dumps({"cron_id": made.cron_id})}, Select())
    assert page.total == (2 if stays else 0)


async def test_a_cron_that_is_switched_off_does_not_fire_and_goes_on_from_now(shop: Shop) -> None:
    thread = await shop.kit.thread()
    made = await shop.make(thread)
    off = await shop.crons.update(made.cron_id, CronPatch(enabled=False))
    assert (off.enabled, off.next_run_date) == (False, None)
    assert await shop.fire(3630) == 0

    shop.changed.clear()
    on = await shop.crons.update(made.cron_id, CronPatch(enabled=True))

    assert on.next_run_date == timestamp(START + 3660)
    assert shop.changed.is_set()
    assert await shop.kit.statuses(thread) == []


async def test_a_change_of_the_input_does_not_lose_a_tick(shop: Shop) -> None:
    thread = await shop.kit.thread()
    made = await shop.make(thread)
    shop.kit.clock.now += 61

    changed = await shop.crons.update(made.cron_id, CronPatch(input=js({"x": 2}), enabled=True))

    assert changed.next_run_date == made.next_run_date
    assert await shop.fire(62) == 1


def test_what_is_due_is_found_by_index(kit: Kit) -> None:
    if not kit.backend.plans:
        pytest.skip("this backend's plans depend on its statistics")
    assert "crons_due (next_run_date<?)" in kit.plan("crons", "due_crons")
    assert "crons_due" in kit.plan("crons", "next_tick")
    assert "SCAN" not in kit.plan("crons", "due_crons")
