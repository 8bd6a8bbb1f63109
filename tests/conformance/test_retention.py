"""What is kept for a while only, so that a database does not grow for ever; and what must stay."""

import pytest

from tests.conformance.conftest import START, Kit
from turnkeeper.errors import Conflict
from turnkeeper.types import Outcome, Preconditions

DAY = 86_400.0
SECOND = 1.0


def keyed(key: str, body: str = "body") -> Preconditions:
    return Preconditions(idempotency_key=key, fingerprint=body, max_queued=100_000)


async def admit(kit: Kit, thread_id: str, key: str, body: str = "body") -> str:
    return (await kit.admit(thread_id, preconditions=keyed(key, body))).run.run_id


async def finished(kit: Kit, thread_id: str) -> str:
    """A run that has come to its end."""
    claimed = await kit.running(thread_id)
    await kit.storage.runs.finish(claimed.run_id, claimed.attempt, Outcome(status="success"))
    return claimed.run_id


async def test_a_new_database_has_nothing_to_purge(kit: Kit) -> None:
    assert await kit.storage.purge(START) == 0


async def test_an_idempotency_key_is_known_for_a_day(kit: Kit) -> None:
    thread_id = await kit.thread()
    run_id = await admit(kit, thread_id, "key")
    assert await kit.storage.purge(START + DAY) == 0
    assert await admit(kit, thread_id, "key") == run_id
    with pytest.raises(Conflict):
        await admit(kit, thread_id, "key", "another body")
    assert await kit.storage.purge(START + DAY + SECOND) == 1
    assert await admit(kit, thread_id, "key", "another body") != run_id


async def test_however_much_there_is_to_purge_it_goes(kit: Kit) -> None:
    thread_id = await kit.thread()
    await kit.admit_all([kit.request(thread_id, preconditions=keyed(f"key {number}")) for number in range(601)])
    kit.clock.now += SECOND
    await admit(kit, thread_id, "a younger one")
    assert await kit.storage.purge(START + DAY + SECOND) == 601
    assert len(kit.dump()["idempotency_keys"]) == 1


@pytest.mark.parametrize("temporary", [True, False])
async def test_the_journal_of_a_thread_that_is_gone_is_kept_for_a_week(kit: Kit, temporary: bool) -> None:
    thread_id = await kit.thread(temporary=temporary)
    run_id = await finished(kit, thread_id)
    if not temporary:
        await kit.storage.threads.delete(thread_id)
    assert await kit.storage.purge(START + 7 * DAY) == 0
    assert kit.journal(run_id) == ["created", "started", "ended"]
    assert await kit.storage.purge(START + 7 * DAY + SECOND) == 3
    assert kit.journal(run_id) == []


async def test_the_journal_of_a_thread_that_exists_stays(kit: Kit) -> None:
    thread_id, gone = await kit.thread(), await kit.thread()
    for each in (thread_id, gone, thread_id, gone):
        await finished(kit, each)
    await kit.storage.threads.delete(gone)
    before = await kit.storage.threads.journal(thread_id)
    assert await kit.storage.purge(START + 365 * DAY) == 6
    assert await kit.storage.threads.journal(thread_id) == before


async def test_expired_items_are_removed(kit: Kit) -> None:
    await kit.storage.items.aput(("a",), "mortal", {"x": 1}, ttl=1)
    await kit.storage.items.aput(("a",), "for ever", {"x": 1})
    assert await kit.storage.purge(START + 61) == 1
    assert len(kit.dump()["items"]) == 1
