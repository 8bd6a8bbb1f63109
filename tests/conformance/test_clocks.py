"""The clock may be set back while the server is down: nobody waits for it to catch up who had not asked to wait."""

import pytest

from tests.conformance.conftest import START, Kit
from turnkeeper.types import Outcome


async def restart(kit: Kit, *, clock: float) -> None:
    """The server dies and starts again; meanwhile the clock is set."""
    kit.crash()
    kit.clock.now = clock
    await kit.storage.runs.recover()


async def drain(kit: Kit) -> list[str]:
    """Claim and end all that is due, one after the other; the ids in that order."""
    done: list[str] = []
    while taken := (await kit.storage.runs.claim(1)).taken:
        [claimed] = taken
        await kit.storage.runs.finish(claimed.run_id, claimed.attempt, Outcome(status="success"))
        done.append(claimed.run_id)
    return done


@pytest.mark.parametrize("clock", [START - 86_400, START - 0.001, START, START + 86_400])
async def test_queued_runs_start_in_their_order(kit: Kit, clock: float) -> None:
    thread_id = await kit.thread()
    runs: list[str] = []
    for _ in range(3):
        kit.clock.now += 0.123456789
        runs.append((await kit.admit(thread_id)).run.run_id)
    await restart(kit, clock=clock)
    assert await drain(kit) == runs


async def test_a_run_that_was_going_goes_on(kit: Kit) -> None:
    thread_id = await kit.thread()
    going = (await kit.running(thread_id)).run_id
    waiting = (await kit.admit(thread_id)).run.run_id
    await restart(kit, clock=START - 3600)
    assert await drain(kit) == [going, waiting]


async def test_runs_of_many_threads_start(kit: Kit) -> None:
    runs = {(await kit.admit(await kit.thread())).run.run_id for _ in range(5)}
    await restart(kit, clock=START - 3600)
    assert set(await drain(kit)) == runs


@pytest.mark.parametrize("delay", [0.5, 60, 7200])
async def test_a_delayed_run_waits_for_its_time(kit: Kit, delay: float) -> None:
    thread_id = await kit.thread()
    delayed = (await kit.admit(thread_id, due_at=START + delay)).run.run_id
    at_once = (await kit.admit(thread_id)).run.run_id
    await restart(kit, clock=START - 3600)
    assert await drain(kit) == [at_once]
    assert (await kit.storage.runs.claim(1)).next_due == START + delay
    kit.clock.now = START + delay
    assert await drain(kit) == [delayed]
