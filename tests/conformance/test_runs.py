"""The queue of every thread: what is admitted, who may run, how runs stop, and what is left of them."""

from typing import Any, Literal

import msgspec
import pytest

from tests.conformance.conftest import ASSISTANT, GRAPH, Kit, NoRoom, Rows
from turnkeeper.errors import Conflict, Fenced, NotFound, TooMany
from turnkeeper.lifecycle import CancelAction, Strategy
from turnkeeper.types import (
    EMPTY,
    Assistant,
    Claimed,
    Composed,
    NewThread,
    Outcome,
    Preconditions,
    Run,
    Supersession,
    uuid7,
)

EVERY: tuple[Strategy, ...] = ("reject", "enqueue", "interrupt", "rollback")
STOPPING: tuple[CancelAction, ...] = ("interrupt", "rollback")

DONE = Outcome(status="success", values=msgspec.Raw(b'{"said":"done"}'))


def nobody(assistant: Assistant, thread_metadata: dict[str, Any], *, answers: bool) -> Composed:
    raise ZeroDivisionError


def without(rows: Rows, *tables: str) -> Rows:
    return {name: found for name, found in rows.items() if name not in tables}


# --- admission --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", EVERY)
async def test_an_idle_thread_takes_every_run(kit: Kit, strategy: Strategy) -> None:
    thread_id = await kit.thread(topic="cats")

    admitted = await kit.admit(thread_id, strategy)

    assert admitted.run == await kit.storage.runs.get(thread_id, admitted.run.run_id)
    assert (admitted.run.status, admitted.run.multitask_strategy) == ("pending", strategy)
    assert admitted.run.assistant_id == ASSISTANT
    assert admitted.run.metadata == msgspec.Raw(b'{"topic":"cats"}')
    assert (admitted.stopped.ended, admitted.stopped.stopping) == ((), ())
    assert kit.journal(admitted.run.run_id) == ["created"]


async def test_a_thread_knows_the_graph_it_last_ran_with(kit: Kit) -> None:
    thread_id = await kit.thread(topic="cats")

    await kit.admit(thread_id)

    thread = await kit.storage.threads.get(thread_id)
    assert msgspec.json.decode(thread.metadata) == {"topic": "cats", "graph_id": GRAPH, "assistant_id": ASSISTANT}


@pytest.mark.parametrize("claimed", [False, True])
async def test_a_rejected_run_leaves_no_trace(kit: Kit, claimed: bool) -> None:
    thread_id = await kit.thread()
    await kit.admit(thread_id)
    if claimed:
        await kit.claim()
    before = kit.dump()
    kit.clock.now += 1

    with pytest.raises(Conflict, match="already running"):
        await kit.admit(thread_id, "reject")

    assert kit.dump() == before


@pytest.mark.parametrize("claimed", [False, True])
async def test_an_enqueued_run_lets_the_others_be(kit: Kit, claimed: bool) -> None:
    thread_id = await kit.thread()
    first = await kit.admit(thread_id)
    if claimed:
        await kit.claim()

    second = await kit.admit(thread_id, "enqueue")

    assert (second.stopped.ended, second.stopped.stopping) == ((), ())
    assert await kit.statuses(thread_id) == ["running" if claimed else "pending", "pending"]
    assert "cancel_requested" not in kit.journal(first.run.run_id)


@pytest.mark.parametrize("action", STOPPING)
async def test_a_run_that_supersedes_ends_those_that_wait_at_once(kit: Kit, action: CancelAction) -> None:
    thread_id = await kit.thread()
    waiting = [(await kit.admit(thread_id)).run.run_id for _ in range(2)]

    admitted = await kit.admit(thread_id, action)

    ended = {end.run_id: end.status for end in admitted.stopped.ended}
    assert ended == dict.fromkeys(waiting, "interrupted" if action == "interrupt" else None)
    assert admitted.stopped.stopping == ()
    assert [kit.journal(run_id)[-1] for run_id in waiting] == ["ended" if action == "interrupt" else "tombstone"] * 2
    assert (await kit.claim()).run_id == admitted.run.run_id


@pytest.mark.parametrize("action", STOPPING)
async def test_a_run_that_supersedes_waits_for_the_one_that_runs(kit: Kit, action: CancelAction) -> None:
    thread_id = await kit.thread()
    running = await kit.running(thread_id)
    waiting = await kit.admit(thread_id)

    admitted = await kit.admit(thread_id, action)

    assert admitted.stopped.stopping == (running.run_id,)
    assert [end.run_id for end in admitted.stopped.ended] == [waiting.run.run_id]
    assert (await kit.storage.runs.claim(10)).taken == []
    ended = await kit.storage.runs.finish(running.run_id, running.attempt, DONE)
    assert ended.status == ("interrupted" if action == "interrupt" else None)
    assert ended.more
    assert (await kit.claim()).run_id == admitted.run.run_id


async def test_a_superseded_run_says_which_run_stopped_it(kit: Kit) -> None:
    thread_id = await kit.thread()
    running = await kit.running(thread_id)

    admitted = await kit.admit(thread_id, "interrupt")

    run = await kit.storage.runs.get(thread_id, running.run_id)
    assert admitted.run.run_id in (run.cancel_reason or "")
    ended = await kit.storage.runs.finish(running.run_id, running.attempt, DONE)
    assert admitted.run.run_id in (ended.reason or "")


async def test_a_run_can_bring_its_thread_along(kit: Kit) -> None:
    thread_id = uuid7()

    await kit.admit(thread_id, new_thread=NewThread(thread_id, {"topic": "cats"}))

    thread = await kit.storage.threads.get(thread_id)
    assert thread.status == "busy"
    assert msgspec.json.decode(thread.metadata)["topic"] == "cats"


async def test_a_thread_that_is_there_is_not_made_anew(kit: Kit) -> None:
    thread_id = await kit.thread(topic="cats")

    await kit.admit(thread_id, new_thread=NewThread(thread_id, {"topic": "dogs"}))

    assert b"cats" in bytes((await kit.storage.threads.get(thread_id)).metadata)


async def test_a_run_of_an_unknown_thread_is_refused(kit: Kit) -> None:
    before = kit.dump()

    with pytest.raises(NotFound):
        await kit.admit(uuid7())

    assert kit.dump() == before


async def test_a_run_of_an_unknown_assistant_makes_no_thread(kit: Kit) -> None:
    before, thread_id = kit.dump(), uuid7()

    with pytest.raises(NotFound):
        await kit.admit(thread_id, assistant_id=uuid7(), new_thread=NewThread(thread_id, {}))

    assert kit.dump() == before


@pytest.mark.parametrize("strategy", ["enqueue", "interrupt", "rollback"])
async def test_a_run_that_cannot_be_put_together_stops_nobody(kit: Kit, strategy: Strategy) -> None:
    thread_id = await kit.thread()
    await kit.running(thread_id)
    await kit.admit(thread_id)
    before = kit.dump()

    with pytest.raises(ZeroDivisionError):
        await kit.admit(thread_id, strategy, compose=nobody)

    assert kit.dump() == before


async def test_a_batch_is_admitted_as_a_whole(kit: Kit) -> None:
    threads = [await kit.thread() for _ in range(3)]

    admitted = await kit.admit_all([kit.request(thread_id) for thread_id in threads])

    assert [each.run.thread_id for each in admitted] == threads
    assert {each.run_id for each in (await kit.storage.runs.claim(10)).taken} == {each.run.run_id for each in admitted}


@pytest.mark.parametrize("fault", ["unknown thread", "unknown assistant", "busy"])
async def test_a_batch_with_one_bad_run_admits_none(kit: Kit, fault: str) -> None:
    good, stopped = await kit.thread(), await kit.thread()
    await kit.running(stopped)
    bad = {
        "unknown thread": kit.request(uuid7()),
        "unknown assistant": kit.request(good, assistant_id=uuid7()),
        "busy": kit.request(good, "reject"),
    }[fault]
    before = kit.dump()

    with pytest.raises((NotFound, Conflict)):
        await kit.admit_all([kit.request(stopped, "rollback"), kit.request(good), bad])

    assert kit.dump() == before


async def test_the_runs_of_one_batch_keep_their_order(kit: Kit) -> None:
    thread_id = await kit.thread()
    admitted = await kit.admit_all([kit.request(thread_id) for _ in range(3)])

    for expected in admitted:
        claimed = await kit.claim()
        assert claimed.run_id == expected.run.run_id
        await kit.storage.runs.finish(claimed.run_id, claimed.attempt, DONE)


# --- claims -----------------------------------------------------------------------------------------------------------


async def test_a_claim_brings_what_an_attempt_needs(kit: Kit) -> None:
    thread_id = await kit.thread(topic="cats")
    admitted = await kit.admit(thread_id)

    claimed = await kit.claim()

    assert (claimed.run_id, claimed.thread_id, claimed.assistant_id) == (admitted.run.run_id, thread_id, ASSISTANT)
    assert (claimed.graph_id, claimed.attempt, claimed.cancel_action) == (GRAPH, 1, None)
    assert (claimed.kwargs, claimed.metadata) == (admitted.run.kwargs, admitted.run.metadata)
    assert b"cats" in bytes(claimed.thread_metadata)
    assert (claimed.temporary, claimed.after_interrupt) == (False, False)
    assert (await kit.storage.runs.get(thread_id, claimed.run_id)).status == "running"
    assert kit.journal(claimed.run_id) == ["created", "started"]


async def test_there_is_nothing_to_claim_in_an_empty_queue(kit: Kit) -> None:
    claims = await kit.storage.runs.claim(10)

    assert (claims.taken, claims.next_due) == ([], None)


async def test_only_one_run_of_a_thread_runs(kit: Kit) -> None:
    thread_id = await kit.thread()
    first, second = await kit.admit(thread_id), await kit.admit(thread_id)

    claimed = await kit.claim()
    assert claimed.run_id == first.run.run_id
    assert (await kit.storage.runs.claim(10)).taken == []

    await kit.storage.runs.finish(claimed.run_id, claimed.attempt, DONE)
    assert (await kit.claim()).run_id == second.run.run_id


async def test_a_claim_takes_no_more_than_there_is_room_for(kit: Kit) -> None:
    for _ in range(5):
        await kit.admit(await kit.thread())

    sizes = [len((await kit.storage.runs.claim(2)).taken) for _ in range(4)]

    assert sizes == [2, 2, 1, 0]


async def test_whoever_waited_longest_runs_first(kit: Kit) -> None:
    admitted: list[str] = []
    for thread_id in reversed([await kit.thread() for _ in range(4)]):
        admitted.append((await kit.admit(thread_id)).run.run_id)
        kit.clock.now += 1

    assert [each.run_id for each in (await kit.storage.runs.claim(10)).taken] == admitted


async def test_a_long_queue_behind_one_run_does_not_hold_up_other_threads(kit: Kit) -> None:
    crowded = await kit.thread()
    await kit.running(crowded)
    await kit.admit_all([kit.request(crowded) for _ in range(20)])

    other = await kit.admit(await kit.thread())

    assert (await kit.claim()).run_id == other.run.run_id


async def test_a_delayed_run_waits_until_it_is_due(kit: Kit) -> None:
    thread_id = await kit.thread()
    delayed = await kit.admit(thread_id, due_at=kit.clock.now + 60)

    early = await kit.storage.runs.claim(10)
    assert (early.taken, early.next_due) == ([], kit.clock.now + 60)

    kit.clock.now += 60
    assert (await kit.claim()).run_id == delayed.run.run_id


async def test_a_delayed_run_does_not_hold_up_the_ones_behind_it(kit: Kit) -> None:
    thread_id = await kit.thread()
    delayed = await kit.admit(thread_id, due_at=kit.clock.now + 60)
    prompt = await kit.admit(thread_id)

    claimed = await kit.claim()
    assert claimed.run_id == prompt.run.run_id
    ended = await kit.storage.runs.finish(claimed.run_id, claimed.attempt, DONE)
    assert ended.more

    claims = await kit.storage.runs.claim(10)
    assert (claims.taken, claims.next_due) == ([], kit.clock.now + 60)
    kit.clock.now += 61
    assert (await kit.claim()).run_id == delayed.run.run_id


async def test_of_several_due_runs_the_one_admitted_first_starts(kit: Kit) -> None:
    thread_id = await kit.thread()
    first = await kit.admit(thread_id, due_at=kit.clock.now + 60)
    await kit.admit(thread_id, due_at=kit.clock.now + 30)
    kit.clock.now += 90

    assert (await kit.claim()).run_id == first.run.run_id


async def test_the_worker_sleeps_until_the_earliest_delayed_run(kit: Kit) -> None:
    for seconds in (90, 30, 60):
        await kit.admit(await kit.thread(), due_at=kit.clock.now + seconds)

    assert (await kit.storage.runs.claim(10)).next_due == kit.clock.now + 30


async def test_a_run_knows_that_the_one_before_it_was_interrupted(kit: Kit) -> None:
    thread_id = await kit.thread()
    running = await kit.running(thread_id)
    await kit.admit(thread_id, "interrupt")
    await kit.storage.runs.finish(running.run_id, running.attempt, DONE)

    second = await kit.claim()
    assert second.after_interrupt
    await kit.storage.runs.finish(second.run_id, second.attempt, DONE)

    assert not (await kit.running(thread_id)).after_interrupt


# --- ends -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["success", "error", "timeout", "interrupted"])
async def test_a_run_ends_as_its_attempt_says(
    kit: Kit, status: Literal["success", "error", "timeout", "interrupted"]
) -> None:
    thread_id = await kit.thread()
    claimed = await kit.running(thread_id)

    ended = await kit.storage.runs.finish(claimed.run_id, claimed.attempt, Outcome(status=status))

    assert (ended.run_id, ended.thread_id, ended.status, ended.more) == (claimed.run_id, thread_id, status, False)
    assert (await kit.storage.runs.get(thread_id, claimed.run_id)).status == status
    assert kit.journal(claimed.run_id) == ["created", "started", "ended"]


async def test_the_thread_shows_what_its_last_run_left(kit: Kit) -> None:
    thread_id = await kit.thread()
    claimed = await kit.running(thread_id)
    outcome = Outcome(
        status="error",
        values=msgspec.Raw(b'{"said":"half"}'),
        interrupts=msgspec.Raw(b'{"t":[{"value":"sure?"}]}'),
        rest="error",
        error=msgspec.Raw(b'{"error":"ValueError","message":"no"}'),
    )

    ended = await kit.storage.runs.finish(claimed.run_id, claimed.attempt, outcome)

    thread = await kit.storage.threads.get(thread_id)
    assert (ended.values, ended.interrupts, ended.error) == (outcome.values, outcome.interrupts, outcome.error)
    assert (thread.values, thread.interrupts, thread.error) == (outcome.values, outcome.interrupts, outcome.error)
    assert thread.status == "error"


async def test_a_run_that_leaves_no_values_leaves_the_old_ones(kit: Kit) -> None:
    thread_id = await kit.thread()
    first = await kit.running(thread_id)
    await kit.storage.runs.finish(first.run_id, first.attempt, DONE)
    second = await kit.running(thread_id)

    await kit.storage.runs.finish(second.run_id, second.attempt, Outcome(status="timeout"))

    assert (await kit.storage.threads.get(thread_id)).values == DONE.values


@pytest.mark.parametrize("trace", ["other attempt", "ended", "released", "deleted", "unknown"])
async def test_an_attempt_that_lost_its_run_cannot_end_it(kit: Kit, trace: str) -> None:
    runs, thread_id = kit.storage.runs, await kit.thread()
    claimed = await kit.running(thread_id)
    run_id, attempt = claimed.run_id, claimed.attempt
    match trace:
        case "other attempt":
            attempt += 1
        case "ended":
            await runs.finish(run_id, attempt, DONE)
        case "released":
            await runs.release(run_id, attempt)
        case "deleted":
            await runs.delete(thread_id, run_id)
        case _:
            run_id = uuid7()
    before = kit.dump()

    with pytest.raises(Fenced):
        await runs.finish(run_id, attempt, DONE)
    with pytest.raises(Fenced):
        await runs.release(run_id, attempt)

    assert kit.dump() == before


async def test_an_attempt_that_lost_its_run_cannot_write_checkpoints(kit: Kit) -> None:
    claimed = await kit.running(await kit.thread())
    await kit.storage.runs.release(claimed.run_id, claimed.attempt)
    await kit.claim()
    before = kit.dump()

    with pytest.raises(Fenced):
        kit.checkpoint(claimed, "late")

    assert kit.dump() == before


@pytest.mark.parametrize("status", ["success", "error", "timeout", "interrupted"])
@pytest.mark.parametrize(("action", "expected"), [("interrupt", "interrupted"), ("rollback", None)])
async def test_a_cancel_that_was_accepted_decides_how_the_run_ends(
    kit: Kit, status: Any, action: CancelAction, expected: str | None
) -> None:
    thread_id = await kit.thread()
    claimed = await kit.running(thread_id)
    await kit.storage.runs.cancel(thread_id, [claimed.run_id], action, "enough")

    ended = await kit.storage.runs.finish(claimed.run_id, claimed.attempt, Outcome(status=status))

    assert (ended.status, ended.reason) == (expected, "enough")


async def test_a_rolled_back_run_has_never_been(kit: Kit) -> None:
    thread_id = await kit.thread()
    first = await kit.running(thread_id)
    kit.checkpoint(first, "kept")
    await kit.storage.runs.finish(first.run_id, first.attempt, DONE)
    rows, thread = kit.dump(), await kit.storage.threads.get(thread_id)
    doomed = await kit.running(thread_id)
    kit.checkpoint(doomed, "gone")
    await kit.storage.runs.cancel(thread_id, [doomed.run_id], "rollback", "enough")

    ended = await kit.storage.runs.finish(doomed.run_id, doomed.attempt, Outcome("success", msgspec.Raw(b'"gone"')))

    assert ended.status is None
    now = kit.dump()
    assert without(now, "threads", "journal", "sqlite_sequence") == without(
        rows, "threads", "journal", "sqlite_sequence"
    )
    assert await kit.storage.threads.get(thread_id) == thread
    assert kit.journal(doomed.run_id) == ["created", "started", "cancel_requested", "tombstone"]
    with pytest.raises(NotFound):
        await kit.storage.runs.get(thread_id, doomed.run_id)


async def test_how_a_run_ended_can_be_asked_later(kit: Kit) -> None:
    thread_id = await kit.thread()
    claimed = await kit.running(thread_id)
    assert await kit.storage.runs.end(thread_id, claimed.run_id) is None

    await kit.storage.runs.finish(claimed.run_id, claimed.attempt, msgspec.structs.replace(DONE, checkpoint_id="c"))

    ended = await kit.storage.runs.end(thread_id, claimed.run_id)
    assert ended is not None
    assert (ended.status, ended.values, ended.interrupts, ended.checkpoint_id) == ("success", DONE.values, EMPTY, "c")


async def test_the_values_of_a_later_run_are_not_taken_for_those_of_an_earlier_one(kit: Kit) -> None:
    thread_id = await kit.thread()
    first = await kit.running(thread_id)
    await kit.storage.runs.finish(first.run_id, first.attempt, Outcome("error", error=msgspec.Raw(b'{"error":"E"}')))
    second = await kit.running(thread_id)
    await kit.storage.runs.finish(second.run_id, second.attempt, DONE)

    ended = await kit.storage.runs.end(thread_id, first.run_id)

    assert ended is not None
    assert (ended.values, ended.interrupts) == (None, EMPTY)
    assert ended.error == msgspec.Raw(b'{"error":"E"}')


async def test_a_run_that_never_started_has_an_end_without_values(kit: Kit) -> None:
    thread_id = await kit.thread()
    run_id = (await kit.admit(thread_id)).run.run_id
    await kit.storage.runs.cancel(thread_id, [run_id], "interrupt", "enough")

    ended = await kit.storage.runs.end(thread_id, run_id)

    assert ended is not None
    assert (ended.status, ended.values, ended.interrupts, ended.reason) == ("interrupted", None, EMPTY, "enough")


# --- back to the queue ------------------------------------------------------------------------------------------------


async def test_a_released_run_is_taken_up_again_before_the_ones_behind_it(kit: Kit) -> None:
    thread_id = await kit.thread()
    claimed = await kit.running(thread_id)
    await kit.admit(thread_id)

    await kit.storage.runs.release(claimed.run_id, claimed.attempt)

    again = await kit.claim()
    assert (again.run_id, again.attempt) == (claimed.run_id, claimed.attempt + 1)
    assert kit.journal(claimed.run_id) == ["created", "started", "released", "started"]


async def test_after_a_crash_every_run_goes_on_in_the_same_order(kit: Kit) -> None:
    threads = [await kit.thread() for _ in range(3)]
    admitted = {thread_id: [(await kit.admit(thread_id)).run.run_id for _ in range(2)] for thread_id in threads}
    assert len((await kit.storage.runs.claim(2)).taken) == 2

    kit.crash()

    assert await kit.storage.runs.recover() == 2
    first = await kit.storage.runs.claim(10)
    assert {each.thread_id: each.run_id for each in first.taken} == {key: runs[0] for key, runs in admitted.items()}
    assert sorted(each.attempt for each in first.taken) == [1, 2, 2]
    for each in first.taken:
        await kit.storage.runs.finish(each.run_id, each.attempt, DONE)
    second = await kit.storage.runs.claim(10)
    assert {each.thread_id: each.run_id for each in second.taken} == {key: runs[1] for key, runs in admitted.items()}


async def test_attempts_are_counted_through_crashes(kit: Kit) -> None:
    await kit.admit(await kit.thread())

    attempts: list[int] = []
    for _ in range(4):
        attempts.append((await kit.claim()).attempt)
        kit.crash()
        await kit.storage.runs.recover()

    assert attempts == [1, 2, 3, 4]


@pytest.mark.parametrize("action", STOPPING)
async def test_a_cancel_survives_a_crash(kit: Kit, action: CancelAction) -> None:
    thread_id = await kit.thread()
    claimed = await kit.running(thread_id)
    await kit.storage.runs.cancel(thread_id, [claimed.run_id], action, "enough")

    kit.crash()
    await kit.storage.runs.recover()

    again = await kit.claim()
    assert again.cancel_action == action
    ended = await kit.storage.runs.finish(again.run_id, again.attempt, DONE)
    assert ended.status == ("interrupted" if action == "interrupt" else None)


async def test_the_attempt_of_a_crashed_server_is_fenced(kit: Kit) -> None:
    claimed = await kit.running(await kit.thread())
    kit.crash()
    await kit.storage.runs.recover()

    with pytest.raises(Fenced):
        await kit.storage.runs.finish(claimed.run_id, claimed.attempt, DONE)


async def test_there_is_nothing_to_recover_after_an_orderly_end(kit: Kit) -> None:
    await kit.admit(await kit.thread())
    before = kit.dump()

    assert await kit.storage.runs.recover() == 0
    assert kit.dump() == before


# --- cancel -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("action", "event"), [("interrupt", "ended"), ("rollback", "tombstone")])
async def test_cancelling_a_waiting_run_ends_it_at_once(kit: Kit, action: CancelAction, event: str) -> None:
    thread_id = await kit.thread()
    run_id = (await kit.admit(thread_id)).run.run_id

    stopped = await kit.storage.runs.cancel(thread_id, [run_id], action, "enough")

    assert stopped.found
    assert [(end.run_id, end.reason) for end in stopped.ended] == [(run_id, "enough")]
    assert kit.journal(run_id) == ["created", "cancel_requested", event]
    assert (await kit.storage.threads.get(thread_id)).status == "idle"
    assert (await kit.storage.runs.claim(10)).taken == []


async def test_cancelling_the_first_in_line_lets_the_next_one_run(kit: Kit) -> None:
    thread_id = await kit.thread()
    first, second = await kit.admit(thread_id), await kit.admit(thread_id)

    await kit.storage.runs.cancel(thread_id, [first.run.run_id], "rollback", "enough")

    assert (await kit.claim()).run_id == second.run.run_id


async def test_a_run_that_runs_is_told_to_stop_and_runs_until_it_does(kit: Kit) -> None:
    thread_id = await kit.thread()
    claimed = await kit.running(thread_id)

    stopped = await kit.storage.runs.cancel(thread_id, [claimed.run_id], "interrupt", "enough")

    assert (stopped.found, stopped.ended, stopped.stopping) == (True, (), (claimed.run_id,))
    run = await kit.storage.runs.get(thread_id, claimed.run_id)
    assert (run.status, run.cancel_reason) == ("running", "enough")


async def test_a_run_that_had_started_before_a_crash_is_ended_by_an_attempt(kit: Kit) -> None:
    """It may have left checkpoints, which only an attempt can take into account."""
    thread_id = await kit.thread()
    claimed = await kit.running(thread_id)
    await kit.storage.runs.recover()

    stopped = await kit.storage.runs.cancel(thread_id, [claimed.run_id], "rollback", "enough")

    assert (stopped.ended, stopped.stopping) == ((), (claimed.run_id,))
    assert (await kit.claim()).cancel_action == "rollback"


async def test_an_interrupt_may_become_a_rollback_but_never_the_reverse(kit: Kit) -> None:
    thread_id = await kit.thread()
    claimed = await kit.running(thread_id)

    for action, reason in (("interrupt", "first"), ("rollback", "second"), ("interrupt", "third")):
        await kit.storage.runs.cancel(thread_id, [claimed.run_id], action, reason)  # pyright: ignore[reportArgumentType]

    ended = await kit.storage.runs.finish(claimed.run_id, claimed.attempt, DONE)
    assert (ended.status, ended.reason) == (None, "second")


@pytest.mark.parametrize("what", ["ended", "unknown", "of another thread"])
async def test_there_is_nothing_to_cancel_but_active_runs_of_the_thread(kit: Kit, what: str) -> None:
    thread_id, run_id = await kit.thread(), uuid7()
    if what == "ended":
        claimed = await kit.running(thread_id)
        await kit.storage.runs.finish(claimed.run_id, claimed.attempt, DONE)
        run_id = claimed.run_id
    if what == "of another thread":
        run_id = (await kit.admit(await kit.thread())).run.run_id
    before = kit.dump()

    stopped = await kit.storage.runs.cancel(thread_id, [run_id], "rollback", "enough")

    assert (stopped.found, stopped.ended, stopped.stopping) == (False, (), ())
    assert kit.dump() == before


@pytest.mark.parametrize(
    ("status", "ends", "stops"), [("pending", True, False), ("running", False, True), ("all", True, True)]
)
async def test_runs_of_all_threads_are_cancelled_by_status(kit: Kit, status: str, ends: bool, stops: bool) -> None:
    running = await kit.running(await kit.thread())
    waiting = await kit.admit(await kit.thread())

    stopped = await kit.storage.runs.cancel_by_status(status, "interrupt", "enough")

    assert [end.run_id for end in stopped.ended] == [waiting.run.run_id] * ends
    assert list(stopped.stopping) == [running.run_id] * stops


async def test_cancelling_a_thread_stops_its_active_runs_only(kit: Kit) -> None:
    thread_id, other = await kit.thread(), await kit.thread()
    await kit.admit(other)
    other_run = (await kit.storage.runs.claim(1)).taken[0]
    running, waiting = await kit.running(thread_id), await kit.admit(thread_id)

    stopped = await kit.storage.runs.cancel_thread(thread_id, "interrupt", "enough")

    assert stopped.stopping == (running.run_id,)
    assert [end.run_id for end in stopped.ended] == [waiting.run.run_id]
    assert (await kit.storage.runs.finish(other_run.run_id, other_run.attempt, DONE)).status == "success"


# --- reading and deleting ---------------------------------------------------------------------------------------------


async def test_the_runs_of_a_thread_are_listed_newest_first(kit: Kit) -> None:
    thread_id = await kit.thread()
    admitted = [(await kit.admit(thread_id)).run.run_id for _ in range(4)]
    await kit.admit(await kit.thread())
    claims = await kit.storage.runs.claim(10)
    assert len(claims.taken) == 2

    async def listed(status: str | None = None, limit: int = 10, offset: int = 0) -> list[str]:
        found: list[Run] = await kit.storage.runs.of_thread(thread_id, status=status, limit=limit, offset=offset)
        return [run.run_id for run in found]

    assert await listed() == admitted[::-1]
    assert await listed(limit=2, offset=1) == [admitted[2], admitted[1]]
    assert await listed(status="running") == admitted[:1]
    assert await listed(status="pending", limit=1) == admitted[3:]
    assert await listed(offset=9) == []


async def test_what_is_not_there_is_not_found(kit: Kit) -> None:
    runs, thread_id = kit.storage.runs, await kit.thread()
    run_id = (await kit.admit(await kit.thread())).run.run_id

    with pytest.raises(NotFound):
        await runs.get(thread_id, run_id)
    with pytest.raises(NotFound):
        await runs.end(thread_id, run_id)
    with pytest.raises(NotFound):
        await runs.delete(thread_id, run_id)
    with pytest.raises(NotFound):
        await runs.of_thread(uuid7(), status=None, limit=10, offset=0)


async def test_a_deleted_run_is_gone_but_for_its_journal(kit: Kit) -> None:
    thread_id = await kit.thread()
    claimed = await kit.running(thread_id)
    await kit.storage.runs.finish(claimed.run_id, claimed.attempt, DONE)

    await kit.storage.runs.delete(thread_id, claimed.run_id)

    assert await kit.statuses(thread_id) == []
    assert kit.journal(claimed.run_id) == ["created", "started", "ended", "tombstone"]
    assert (await kit.storage.threads.get(thread_id)).values == DONE.values


async def test_deleting_the_run_in_the_way_lets_the_next_one_run(kit: Kit) -> None:
    thread_id = await kit.thread()
    running, waiting = await kit.running(thread_id), await kit.admit(thread_id)

    await kit.storage.runs.delete(thread_id, running.run_id)

    assert (await kit.claim()).run_id == waiting.run.run_id


# --- temporary threads ------------------------------------------------------------------------------------------------


async def stateless(kit: Kit) -> str:
    thread_id = uuid7()
    await kit.admit(thread_id, new_thread=NewThread(thread_id, {}, temporary=True))
    return thread_id


@pytest.mark.parametrize("end", ["finish", "rollback", "cancel", "delete"])
async def test_the_thread_of_a_stateless_run_goes_with_its_last_run(kit: Kit, end: str) -> None:
    before = kit.dump()
    thread_id = await stateless(kit)
    runs = kit.storage.runs
    if end in ("finish", "rollback"):
        claimed = await kit.claim()
        assert claimed.temporary
        kit.checkpoint(claimed, "said")
        if end == "rollback":
            await runs.cancel(thread_id, [claimed.run_id], "rollback", "enough")
        await runs.finish(claimed.run_id, claimed.attempt, DONE)
    else:
        [run] = await runs.of_thread(thread_id, status=None, limit=10, offset=0)
        if end == "cancel":
            await runs.cancel(thread_id, [run.run_id], "interrupt", "enough")
        else:
            await runs.delete(thread_id, run.run_id)

    assert without(kit.dump(), "journal", "sqlite_sequence") == without(before, "journal", "sqlite_sequence")
    with pytest.raises(NotFound):
        await kit.storage.threads.get(thread_id)


async def test_a_temporary_thread_stays_while_runs_wait_in_it(kit: Kit) -> None:
    thread_id = await stateless(kit)
    first = await kit.claim()
    await kit.admit(thread_id)

    assert (await kit.storage.runs.finish(first.run_id, first.attempt, DONE)).more

    second = await kit.claim()
    assert not (await kit.storage.runs.finish(second.run_id, second.attempt, DONE)).more
    with pytest.raises(NotFound):
        await kit.storage.threads.get(thread_id)


@pytest.mark.parametrize("action", STOPPING)
async def test_a_run_may_supersede_the_only_run_of_a_temporary_thread(kit: Kit, action: CancelAction) -> None:
    thread_id = await stateless(kit)

    admitted = await kit.admit(thread_id, action)

    assert len(admitted.stopped.ended) == 1
    assert (await kit.claim()).run_id == admitted.run.run_id


async def test_the_end_of_a_stateless_run_is_told_though_its_thread_is_gone(kit: Kit) -> None:
    await stateless(kit)
    claimed = await kit.claim()

    ended = await kit.storage.runs.finish(claimed.run_id, claimed.attempt, DONE)

    assert (ended.status, ended.values) == ("success", DONE.values)


# --- preconditions and supersession -----------------------------------------------------------------------------------


async def test_a_repeated_request_gets_the_run_there_is(kit: Kit) -> None:
    thread_id, once = await kit.thread(), Preconditions(idempotency_key="k", fingerprint="f")
    first = await kit.admit(thread_id, preconditions=once)
    before = kit.dump()

    again = await kit.admit(thread_id, "rollback", preconditions=once)

    assert (again.run, again.stopped.ended) == (first.run, ())
    assert kit.dump() == before


@pytest.mark.parametrize("what", ["another body", "its run is gone"])
async def test_a_key_stands_for_one_request(kit: Kit, what: str) -> None:
    thread_id, once = await kit.thread(), Preconditions(idempotency_key="k", fingerprint="f")
    first = await kit.admit(thread_id, preconditions=once)
    if what == "its run is gone":
        await kit.storage.runs.delete(thread_id, first.run.run_id)
    else:
        once = msgspec.structs.replace(once, fingerprint="g")
    before = kit.dump()

    with pytest.raises(Conflict, match="'k'"):
        await kit.admit(thread_id, preconditions=once)

    assert kit.dump() == before


async def test_a_key_of_a_refused_run_may_be_used_again(kit: Kit) -> None:
    thread_id, once = await kit.thread(), Preconditions(idempotency_key="k", fingerprint="f")
    running = await kit.running(thread_id)
    with pytest.raises(Conflict):
        await kit.admit(thread_id, "reject", preconditions=once)
    await kit.storage.runs.finish(running.run_id, running.attempt, DONE)

    assert (await kit.admit(thread_id, "reject", preconditions=once)).run.status == "pending"


async def test_keys_of_different_threads_do_not_meet(kit: Kit) -> None:
    once = Preconditions(idempotency_key="k", fingerprint="f")

    runs = {(await kit.admit(await kit.thread(), preconditions=once)).run.run_id for _ in range(2)}

    assert len(runs) == 2


async def test_a_full_queue_takes_no_more(kit: Kit) -> None:
    thread_id, two = await kit.thread(), Preconditions(max_queued=2)
    await kit.running(thread_id, preconditions=two)
    for _ in range(2):
        await kit.admit(thread_id, preconditions=two)
    before = kit.dump()

    with pytest.raises(TooMany):
        await kit.admit(thread_id, preconditions=two)

    assert kit.dump() == before


async def test_a_run_may_ask_for_the_status_its_thread_has(kit: Kit) -> None:
    thread_id, idle = await kit.thread(), Preconditions(if_thread_status=("idle", "error"))
    await kit.admit(thread_id, preconditions=idle)
    before = kit.dump()

    with pytest.raises(Conflict, match="busy"):
        await kit.admit(thread_id, preconditions=idle)

    assert kit.dump() == before


async def test_a_run_that_is_admitted_twice_under_one_id_is_refused(kit: Kit) -> None:
    thread_id = await kit.thread()
    request = kit.request(thread_id)
    await kit.admit_all([request])
    before = kit.dump()

    with pytest.raises(Conflict, match=request.run_id):
        await kit.admit_all([request])

    assert kit.dump() == before


async def test_what_superseded_runs_were_given_is_handed_to_the_next(kit: Kit) -> None:
    thread_id = await kit.thread()
    running, waiting = await kit.running(thread_id), await kit.admit(thread_id)

    await kit.admit(thread_id, "interrupt")
    await kit.storage.runs.finish(running.run_id, running.attempt, DONE)

    assert [carried.run_id for carried in (await kit.claim()).carried] == [running.run_id, waiting.run.run_id]


async def test_a_second_interrupt_changes_neither_the_reason_nor_what_is_handed_on(kit: Kit) -> None:
    thread_id = await kit.thread()
    running = await kit.running(thread_id)
    admitted = await kit.admit(thread_id, "interrupt")

    await kit.storage.runs.cancel(thread_id, [running.run_id], "interrupt", "enough")

    ended = await kit.storage.runs.finish(running.run_id, running.attempt, DONE)
    assert admitted.run.run_id in (ended.reason or "")
    assert [carried.run_id for carried in (await kit.claim()).carried] == [running.run_id]


async def test_what_reached_the_state_is_not_handed_on(kit: Kit) -> None:
    thread_id = await kit.thread()
    running = await kit.running(thread_id)
    kit.checkpoint(running, "said")

    await kit.admit(thread_id, "interrupt")
    await kit.storage.runs.finish(running.run_id, running.attempt, DONE)

    assert (await kit.claim()).carried == ()


@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
async def test_a_run_may_leave_those_that_wait_in_the_queue(kit: Kit, strategy: Strategy) -> None:
    thread_id = await kit.thread()
    running, waiting = await kit.running(thread_id), await kit.admit(thread_id)

    admitted = await kit.admit(thread_id, strategy, supersession=Supersession(keep_queued=True))

    assert (admitted.stopped.ended, admitted.stopped.stopping) == ((), (running.run_id,))
    await kit.storage.runs.finish(running.run_id, running.attempt, DONE)
    assert (await kit.claim()).run_id == waiting.run.run_id


# --- claims made by admission -----------------------------------------------------------------------------------------


class Places(NoRoom):
    """Signals of a process with free workers."""

    def __init__(self, places: int) -> None:
        self.free = places
        self.started: list[Claimed] = []
        self.woken = 0

    def reserve(self) -> bool:
        if self.free == 0:
            return False
        self.free -= 1
        return True

    def hand_over(self, claimed: Claimed | None) -> None:
        if claimed is None:
            self.free += 1
        else:
            self.started.append(claimed)

    def wake(self) -> None:
        self.woken += 1


async def test_with_a_free_worker_a_run_starts_as_it_is_admitted(kit: Kit) -> None:
    kit.signals = places = Places(2)
    thread_id = await kit.thread(topic="cats")

    first, second = await kit.admit(thread_id), await kit.admit(thread_id)

    assert [claimed.run_id for claimed in places.started] == [first.run.run_id]
    assert first.run.status == "pending"
    assert kit.journal(first.run.run_id) == ["created", "started"]
    assert (places.free, places.woken) == (1, 1)
    [claimed] = places.started
    assert (claimed.attempt, claimed.metadata, claimed.graph_id) == (1, first.run.metadata, GRAPH)
    await kit.storage.runs.finish(claimed.run_id, claimed.attempt, DONE)
    assert (await kit.claim()).run_id == second.run.run_id


async def test_a_delayed_run_takes_no_worker(kit: Kit) -> None:
    kit.signals = places = Places(1)

    await kit.admit(await kit.thread(), due_at=kit.clock.now + 1)

    assert (places.free, places.started, places.woken) == (1, [], 1)


@pytest.mark.parametrize("action", STOPPING)
async def test_a_run_starts_at_once_when_it_supersedes_only_runs_that_wait(kit: Kit, action: CancelAction) -> None:
    thread_id = await kit.thread()
    await kit.admit(thread_id)
    kit.signals = places = Places(1)

    admitted = await kit.admit(thread_id, action)

    assert [claimed.run_id for claimed in places.started] == [admitted.run.run_id]
    assert len(admitted.stopped.ended) == 1


@pytest.mark.parametrize("fault", ["unknown thread", "same run twice", "cannot be put together"])
async def test_a_refused_batch_gives_its_workers_back(kit: Kit, fault: str) -> None:
    kit.signals = places = Places(3)
    good = kit.request(await kit.thread())
    bad = {
        "unknown thread": kit.request(uuid7()),
        "same run twice": good,
        "cannot be put together": kit.request(await kit.thread(), compose=nobody),
    }[fault]

    with pytest.raises((NotFound, Conflict, ZeroDivisionError)):
        await kit.admit_all([good, bad])

    assert (places.free, places.started, places.woken) == (3, [], 0)


async def test_a_sealed_run_is_ended_by_the_next_attempt_only(kit: Kit) -> None:
    thread_id = await kit.thread()
    claimed = await kit.running(thread_id)

    sealed = await kit.storage.runs.seal(claimed.run_id, claimed.attempt)

    with pytest.raises(Fenced):
        kit.checkpoint(claimed, "late")
    with pytest.raises(Fenced):
        await kit.storage.runs.finish(claimed.run_id, claimed.attempt, DONE)
    with pytest.raises(Fenced):
        await kit.storage.runs.seal(claimed.run_id, claimed.attempt)
    assert (await kit.storage.runs.finish(claimed.run_id, sealed, DONE)).status == "success"
