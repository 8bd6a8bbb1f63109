"""A run is told that the one before was interrupted: there may be work of it to keep, and calls to answer."""

import pytest

from tests.conformance.conftest import Kit
from turnkeeper.types import Outcome, uuid7


async def ended(kit: Kit, thread_id: str, status: str) -> str:
    """A run that has come to an end; its id."""
    claimed = await kit.running(thread_id)
    if status == "interrupted":
        await kit.storage.runs.cancel(thread_id, [claimed.run_id], "interrupt", "enough")
    await kit.storage.runs.finish(claimed.run_id, claimed.attempt, Outcome(status="success"))
    return claimed.run_id


@pytest.mark.parametrize("status", ["interrupted", "success"])
async def test_how_the_last_run_ended_decides(kit: Kit, status: str) -> None:
    thread_id = await kit.thread()
    await ended(kit, thread_id, "interrupted" if status == "success" else "success")
    await ended(kit, thread_id, status)
    assert (await kit.running(thread_id)).after_interrupt == (status == "interrupted")


async def test_it_is_remembered_when_the_run_is_deleted(kit: Kit) -> None:
    thread_id = await kit.thread()
    await kit.storage.runs.delete(thread_id, await ended(kit, thread_id, "interrupted"))
    assert (await kit.running(thread_id)).after_interrupt


async def test_it_is_remembered_when_the_state_is_edited(kit: Kit) -> None:
    thread_id = await kit.thread()
    await ended(kit, thread_id, "interrupted")
    await kit.storage.threads.publish_state(thread_id, Outcome(status="success"))
    assert (await kit.running(thread_id)).after_interrupt


async def test_it_is_remembered_by_a_copy(kit: Kit) -> None:
    thread_id = await kit.thread()
    await ended(kit, thread_id, "interrupted")
    copy = await kit.storage.threads.copy(thread_id, uuid7())
    assert (await kit.running(copy.thread_id)).after_interrupt


async def test_a_run_that_was_rolled_back_did_not_end_at_all(kit: Kit) -> None:
    thread_id = await kit.thread()
    await ended(kit, thread_id, "interrupted")
    claimed = await kit.running(thread_id)
    await kit.storage.runs.cancel(thread_id, [claimed.run_id], "rollback", "enough")
    await kit.storage.runs.finish(claimed.run_id, claimed.attempt, Outcome(status="success"))
    assert (await kit.running(thread_id)).after_interrupt
