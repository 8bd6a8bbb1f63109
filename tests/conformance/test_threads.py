"""Threads as clients see them: made, changed, found, copied, deleted, and with a status that is never stale."""

import itertools
import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from tests.conformance.conftest import Kit
from turnkeeper.errors import Conflict, NotFound
from turnkeeper.lifecycle import RestStatus
from turnkeeper.types import EMPTY, NULL, NewThread, Outcome, Select, uuid7

RESTS: tuple[RestStatus, ...] = ("idle", "interrupted", "error")


def outcome(values: Any = None, **fields: Any) -> Outcome:
    encoded = None if values is None else msgspec.Raw(json.dumps(values).encode())
    return msgspec.structs.replace(Outcome(status="success", values=encoded), **fields)


async def found(kit: Kit, select: Select | None = None, **filters: Any) -> list[str]:
    """The ids a search finds; a filter that is not a string is sent as JSON."""
    sent = {name: given if name == "status" else json.dumps(given) for name, given in filters.items()}
    page = await kit.storage.threads.search(sent, select or Select(limit=100))
    assert page.total == await kit.storage.threads.count(sent)
    return [thread.thread_id for thread in page.items]


async def with_values(kit: Kit, values: Any) -> str:
    thread_id = await kit.thread()
    await kit.storage.threads.publish_state(thread_id, outcome(values))
    return thread_id


# --- create, get, update ----------------------------------------------------------------------------------------------


async def test_a_new_thread_is_idle_and_empty(kit: Kit) -> None:
    thread_id = uuid7()

    made = await kit.storage.threads.create(NewThread(thread_id, {"topic": "cats"}), exist_ok=False)

    assert made == await kit.storage.threads.get(thread_id)
    assert (made.thread_id, made.status) == (thread_id, "idle")
    assert json.loads(bytes(made.metadata)) == {"topic": "cats"}
    assert (made.config, made.values, made.interrupts, made.error) == (EMPTY, NULL, EMPTY, NULL)
    assert made.created_at == made.updated_at == made.state_updated_at


async def test_an_id_is_taken_once(kit: Kit) -> None:
    thread_id = await kit.thread(topic="cats")
    before = kit.dump()

    with pytest.raises(Conflict, match=thread_id):
        await kit.storage.threads.create(NewThread(thread_id, {"topic": "dogs"}), exist_ok=False)
    kept = await kit.storage.threads.create(NewThread(thread_id, {"topic": "dogs"}), exist_ok=True)

    assert json.loads(bytes(kept.metadata)) == {"topic": "cats"}
    assert kit.dump() == before


async def test_metadata_are_merged_key_by_key(kit: Kit) -> None:
    thread_id = await kit.thread(kept=1, replaced={"old": True}, nulled=2)
    kit.clock.now += 5

    updated = await kit.storage.threads.update(thread_id, {"replaced": {"new": True}, "nulled": None}, None)

    expected = {"kept": 1, "replaced": {"new": True}, "nulled": None}
    assert json.loads(bytes(updated.metadata)) == expected
    assert updated.updated_at > updated.created_at
    assert updated.state_updated_at == updated.created_at
    assert updated == await kit.storage.threads.get(thread_id)


@pytest.mark.parametrize("verb", ["get", "update", "publish_state", "delete", "copy"])
async def test_an_unknown_thread_is_not_found_by_any_verb(kit: Kit, verb: str) -> None:
    threads, thread_id, before = kit.storage.threads, uuid7(), kit.dump()
    calls = {
        "get": lambda: threads.get(thread_id),
        "update": lambda: threads.update(thread_id, {}, None),
        "publish_state": lambda: threads.publish_state(thread_id, outcome({})),
        "delete": lambda: threads.delete(thread_id),
        "copy": lambda: threads.copy(thread_id, uuid7()),
    }

    with pytest.raises(NotFound):
        await calls[verb]()

    assert kit.dump() == before


async def test_an_edit_of_the_state_is_seen_at_once(kit: Kit) -> None:
    thread_id = await kit.thread()
    kit.clock.now += 5

    await kit.storage.threads.publish_state(
        thread_id, outcome({"said": "hi"}, rest="interrupted", interrupts=msgspec.Raw(b'{"t":[]}'))
    )

    thread = await kit.storage.threads.get(thread_id)
    assert json.loads(bytes(thread.values)) == {"said": "hi"}
    assert (thread.status, thread.interrupts) == ("interrupted", msgspec.Raw(b'{"t":[]}'))
    assert thread.state_updated_at > thread.created_at


# --- delete and copy --------------------------------------------------------------------------------------------------


async def test_a_deleted_thread_takes_everything_along(kit: Kit) -> None:
    before = kit.dump()
    thread_id = await kit.thread()
    claimed = await kit.running(thread_id)
    kit.checkpoint(claimed, "said")
    await kit.admit(thread_id)

    await kit.storage.threads.delete(thread_id)

    left = kit.dump()
    assert {name for name in left if left[name] != before[name]} <= {"journal", "sqlite_sequence"}
    assert (await kit.storage.runs.claim(10)).taken == []


async def test_deleting_one_thread_leaves_the_others(kit: Kit) -> None:
    kept, doomed = await kit.thread(), await kit.thread()
    waiting = await kit.admit(kept)
    await kit.admit(doomed)

    await kit.storage.threads.delete(doomed)

    assert (await kit.claim()).run_id == waiting.run.run_id


async def test_a_copy_has_the_state_and_the_history_and_no_runs(kit: Kit) -> None:
    thread_id, copy_id = await kit.thread(topic="cats"), uuid7()
    claimed = await kit.running(thread_id)
    kit.checkpoint(claimed, "said")
    await kit.storage.runs.finish(claimed.run_id, claimed.attempt, outcome({"said": "done"}))
    original = await kit.storage.threads.get(thread_id)
    kit.clock.now += 5

    copy = await kit.storage.threads.copy(thread_id, copy_id)

    assert (copy.thread_id, copy.status) == (copy_id, "idle")
    assert (copy.metadata, copy.values) == (original.metadata, original.values)
    assert await kit.statuses(copy_id) == []
    assert kit.said(copy_id) == kit.said(thread_id) == "said"
    assert await kit.storage.threads.get(thread_id) == original


async def test_a_copy_goes_its_own_way(kit: Kit) -> None:
    thread_id, copy_id = await kit.thread(), uuid7()
    first = await kit.running(thread_id)
    kit.checkpoint(first, "shared")
    await kit.storage.runs.finish(first.run_id, first.attempt, outcome({}))
    await kit.storage.threads.copy(thread_id, copy_id)

    kit.checkpoint(await kit.running(copy_id), "of the copy")
    await kit.storage.threads.delete(thread_id)

    assert kit.said(copy_id) == "of the copy"


# --- status -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rest", RESTS)
async def test_a_thread_is_busy_while_a_run_is_active_and_then_what_its_state_says(kit: Kit, rest: RestStatus) -> None:
    thread_id = await kit.thread()
    seen: list[str] = []

    async def look() -> None:
        status = (await kit.storage.threads.get(thread_id)).status
        assert await found(kit, status=status) == [thread_id]
        seen.append(status)

    await look()
    await kit.admit(thread_id)
    await look()
    claimed = await kit.claim()
    await look()
    await kit.storage.runs.release(claimed.run_id, claimed.attempt)
    await look()
    claimed = await kit.claim()
    await kit.storage.runs.finish(claimed.run_id, claimed.attempt, outcome(rest=rest))
    await look()

    assert seen == ["idle", "busy", "busy", "busy", rest]


@pytest.mark.parametrize("rest", RESTS)
async def test_after_a_rollback_a_thread_is_what_it_was_before(kit: Kit, rest: RestStatus) -> None:
    thread_id = await kit.thread()
    await kit.storage.threads.publish_state(thread_id, outcome({}, rest=rest))
    claimed = await kit.running(thread_id)
    await kit.storage.runs.cancel_thread(thread_id, "rollback", "enough")
    await kit.storage.runs.finish(claimed.run_id, claimed.attempt, outcome({"said": "gone"}, rest="error"))

    assert (await kit.storage.threads.get(thread_id)).status == rest


async def test_a_thread_is_no_longer_busy_once_its_runs_are_deleted(kit: Kit) -> None:
    thread_id = await kit.thread()
    run_id = (await kit.admit(thread_id)).run.run_id

    await kit.storage.runs.delete(thread_id, run_id)

    assert (await kit.storage.threads.get(thread_id)).status == "idle"


# --- search -----------------------------------------------------------------------------------------------------------

DOCUMENT = {
    "name": "Ada",
    "on": True,
    "one": 1,
    "none": None,
    "tags": ["a", "b"],
    "flags": [True, 1],
    "list": [{"on": True}],
    "deep": {"x": {"y": 1, "z": 2}, "empty": {}},
}

MATCHES: Sequence[tuple[Any, bool]] = [
    ({}, True),
    ({"name": "Ada"}, True),
    ({"name": "Bob"}, False),
    ({"name": "Ada", "one": 1}, True),
    ({"name": "Ada", "one": 2}, False),
    ({"missing": None}, False),
    ({"none": None}, True),
    ({"name": None}, False),
    ({"on": True}, True),
    ({"on": 1}, False),
    ({"one": True}, False),
    ({"one": 1.0}, True),
    ({"one": "1"}, False),
    ({"deep": {}}, True),
    ({"deep": {"x": {}}}, True),
    ({"deep": {"x": {"y": 1}}}, True),
    ({"deep": {"x": {"y": 2}}}, False),
    ({"deep": {"empty": {}}}, True),
    ({"deep": {"x": 1}}, False),
    ({"name": {}}, False),
    ({"tags": ["a", "b"]}, True),
    ({"tags": ["b", "a"]}, False),
    ({"tags": ["a"]}, False),
    ({"tags": []}, False),
    ({"tags": "a"}, False),
    ({"flags": [True, 1]}, True),
    ({"flags": [1, True]}, False),
    ({"list": [{"on": True}]}, True),
    ({"list": [{"on": 1}]}, False),
    ({"list": [{}]}, False),
    ({"ünï'\"; --": 1}, False),
]


@pytest.mark.parametrize(("wanted", "matches"), MATCHES)
async def test_metadata_match_by_subset(kit: Kit, wanted: Any, matches: bool) -> None:
    thread_id = await kit.thread()
    await kit.storage.threads.update(thread_id, DOCUMENT, None)

    assert await found(kit, metadata=wanted) == [thread_id] * matches


@pytest.mark.parametrize(("wanted", "matches"), MATCHES)
async def test_values_match_by_subset(kit: Kit, wanted: Any, matches: bool) -> None:
    await kit.thread()  # has no state: it matches nothing, and asking does no harm
    thread_id = await with_values(kit, DOCUMENT)

    assert await found(kit, values=wanted) == [thread_id] * matches


@pytest.mark.parametrize("values", ["text", 1, [1, 2], [{"a": 1}]])
async def test_a_state_that_is_no_object_can_be_searched_among(kit: Kit, values: Any) -> None:
    thread_id = await with_values(kit, values)

    assert await found(kit, values={"a": 1}) == []
    assert await found(kit, values=values) == [thread_id]


async def test_a_deeply_nested_state_can_be_searched_among(kit: Kit) -> None:
    deep: Any = {}
    for _ in range(200):
        deep = {"a": deep}
    thread_id = await with_values(kit, deep)

    assert await found(kit, values=deep) == [thread_id]
    assert await found(kit, values={"a": {"b": 1}}) == []


async def test_filters_are_combined(kit: Kit) -> None:
    both, one = await kit.thread(topic="cats"), await kit.thread(topic="cats")
    await kit.thread(topic="dogs")
    await kit.storage.threads.publish_state(both, outcome({"said": "hi"}))

    assert await found(kit, metadata={"topic": "cats"}, values={"said": "hi"}) == [both]
    assert await found(kit, ids=[one], metadata={"topic": "cats"}) == [one]
    assert await found(kit, ids=[one], metadata={"topic": "dogs"}) == []


async def test_threads_are_found_by_id(kit: Kit) -> None:
    threads = [await kit.thread() for _ in range(3)]

    assert set(await found(kit, ids=[threads[0], threads[2], uuid7()])) == {threads[0], threads[2]}
    assert await found(kit, ids=[]) == []


@pytest.mark.parametrize("status", ["idle", "busy", "interrupted", "error"])
async def test_threads_are_found_by_status(kit: Kit, status: str) -> None:
    threads = {rest: await kit.thread() for rest in RESTS}
    for rest, thread_id in threads.items():
        await kit.storage.threads.publish_state(thread_id, outcome({}, rest=rest))
    busy = await kit.thread()
    await kit.storage.threads.publish_state(busy, outcome({}, rest="error"))
    await kit.admit(busy)

    assert await found(kit, status=status) == [{**threads, "busy": busy}[status]]


async def test_temporary_threads_are_not_shown(kit: Kit) -> None:
    await kit.thread(temporary=True)

    assert await found(kit) == []


async def test_pages_add_up_to_everything(kit: Kit) -> None:
    threads = [await kit.thread() for _ in range(5)]
    selects = [Select(limit=2, offset=offset, descending=False) for offset in range(0, 8, 2)]

    pages = [await kit.storage.threads.search({}, select) for select in selects]

    assert [len(page.items) for page in pages] == [2, 2, 1, 0]
    assert {page.total for page in pages} == {5}
    assert sorted(thread.thread_id for page in pages for thread in page.items) == sorted(threads)


async def test_a_page_of_nothing_counts_nothing(kit: Kit) -> None:
    for offset in (0, 10):
        page = await kit.storage.threads.search({}, Select(offset=offset))
        assert (page.items, page.total) == ([], 0)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("sort_by", ["thread_id", "status", "created_at", "updated_at", "state_updated_at"])
async def test_threads_are_sorted_by_what_was_asked_for(kit: Kit, sort_by: str, descending: bool) -> None:
    threads = sorted((uuid7() for _ in range(4)), key=lambda each: each[::-1])  # neither in order nor in reverse
    for thread_id in threads:
        kit.clock.now += 1
        await kit.storage.threads.create(NewThread(thread_id, {}), exist_ok=False)
    for order, rest in ((2, "interrupted"), (0, "error"), (3, "idle")):
        kit.clock.now += 1
        await kit.storage.threads.publish_state(threads[order], outcome({}, rest=rest))
    kit.clock.now += 1
    await kit.admit(threads[1])
    kit.clock.now += 1
    await kit.storage.threads.update(threads[3], {}, None)

    page = await kit.storage.threads.search({}, Select(sort_by=sort_by, descending=descending))

    keys = [getattr(thread, sort_by) for thread in page.items]
    assert len(set(keys)) == 4
    assert keys == sorted(keys, reverse=descending)


async def test_threads_that_sort_alike_keep_an_order_between_pages(kit: Kit) -> None:
    threads = [await kit.thread() for _ in range(6)]

    pages = [await found(kit, Select(limit=1, offset=offset, sort_by="status")) for offset in range(6)]

    assert sorted(itertools.chain(*pages)) == sorted(threads)


async def test_threads_survive_a_restart(kit: Kit) -> None:
    thread_id = await with_values(kit, {"said": "hi"})
    before = await kit.storage.threads.get(thread_id)

    kit.crash()

    assert await kit.storage.threads.get(thread_id) == before
