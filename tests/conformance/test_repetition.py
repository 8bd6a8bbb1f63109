"""A request that is sent again makes nothing anew, even if everything in it is the same."""

import asyncio

import pytest

from tests.conformance.conftest import Kit
from turnkeeper.errors import Conflict
from turnkeeper.types import NewThread, Preconditions, RunRequest, uuid7

ONCE = Preconditions(idempotency_key="k", fingerprint="f")


def stateless(kit: Kit, run_id: str, once: Preconditions = ONCE) -> RunRequest:
    """A run that brings a thread of its own along, which is another one each time it is sent."""
    thread_id = uuid7()
    brought = NewThread(thread_id, {}, temporary=True)
    return kit.request(thread_id, run_id=run_id, stateless=True, new_thread=brought, preconditions=once)


async def test_a_run_sent_again_under_its_own_id_is_the_run_there_is(kit: Kit) -> None:
    thread_id, run_id = await kit.thread(), uuid7()
    first = await kit.admit(thread_id, run_id=run_id, preconditions=ONCE)
    before = kit.dump()

    again = await kit.admit(thread_id, "interrupt", run_id=run_id, preconditions=ONCE)

    assert again.run == first.run
    assert kit.dump() == before


@pytest.mark.parametrize("same_id", [True, False])
async def test_a_stateless_run_sent_again_brings_no_second_thread(kit: Kit, same_id: bool) -> None:
    first = stateless(kit, uuid7())
    await kit.admit_all([first])
    before = kit.dump()

    [again] = await kit.admit_all([stateless(kit, first.run_id if same_id else uuid7())])

    assert again.run.run_id == first.run_id
    assert kit.dump() == before


async def test_another_request_with_the_key_is_refused_and_brings_no_thread(kit: Kit) -> None:
    first = stateless(kit, uuid7())
    await kit.admit_all([first])
    before = kit.dump()

    with pytest.raises(Conflict, match="another body"):
        await kit.admit_all([stateless(kit, first.run_id, Preconditions(idempotency_key="k", fingerprint="g"))])

    assert kit.dump() == before


async def test_of_many_equal_requests_at_once_one_makes_a_run(kit: Kit) -> None:
    answers = await asyncio.gather(*[kit.admit_all([stateless(kit, uuid7())]) for _ in range(20)])

    assert len({admitted.run.run_id for [admitted] in answers}) == 1
    assert len((await kit.storage.runs.claim(20)).taken) == 1
