"""What becomes of an input that was superseded: kept or dropped, at every moment, and through a crash."""

from collections.abc import Awaitable, Callable

import pytest

from tests.interleaving.driver import NODES, Line, Note, Said, journal, new_line, on_disk
from tests.interleaving.sockets import Http
from tests.nursery import Start
from tests.wire.live import Live

Moment = Callable[[Line], Awaitable[None]]


async def while_waiting(line: Line) -> None:
    """Z is at work, A and B wait."""
    line.hold("Z.n1")
    for tag in ("Z", "A", "B"):
        await line.say(tag, "enqueue")
    await line.at("Z.n1")


async def in_the_first_node(line: Line) -> None:
    line.hold("Z.n1")
    await line.say("Z")
    await line.at("Z.n1")


async def in_a_later_node(line: Line) -> None:
    line.hold("Z.n3")
    await line.say("Z")
    await line.at("Z.n3")


async def for_later(line: Line) -> None:
    await line.say("Z", "enqueue", after_seconds=60)
    await line.say("A", "enqueue", after_seconds=30)


async def one_after_another(line: Line) -> None:
    for tag in "ZABC":
        line.hold(f"{tag}.n1")
        await line.say(tag)


MOMENTS: list[Moment] = [while_waiting, in_the_first_node, in_a_later_node, for_later, one_after_another]
every_moment = pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.__name__)


@every_moment
@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_what_was_typed_stands_in_the_state_ahead_of_what_came_next(
    line: Line, moment: Moment, durability: str
) -> None:
    await moment(line)
    await line.say("N", how="runs/wait", durability=durability)
    values = await line.values()
    assert values["said"] == [said.tag for said in line.accepted]
    assert values["tag"] == "N"
    assert values["steps"][-3:] == [f"N.{node}" for node in NODES]


@every_moment
async def test_with_rollback_nothing_of_it_is_left(line: Line, moment: Moment) -> None:
    await moment(line)
    await line.say("N", "rollback", how="runs/wait")
    values = await line.values()
    left = await line.runs()  # those that had been interrupted before
    assert values["said"] == [said.tag for said in line.accepted if said.run_id in left]
    assert values["steps"][-3:] == [f"N.{node}" for node in NODES]


@every_moment
async def test_with_drop_only_what_had_begun_is_left(line: Line, moment: Moment) -> None:
    await moment(line)
    await line.say("N", how="runs/wait", superseded_input="drop")
    said = (await line.values())["said"]
    begun = {each.tag for each in line.said if each.run_id in line.begun()}
    kept = {each.tag for each in line.said[1:-1]} if moment is one_after_another else set[str]()
    assert begun <= set(said) <= begun | kept | {"Z"}


@every_moment
async def test_what_was_typed_survives_a_crash(start: Start, moment: Moment) -> None:
    live = start()
    line = await new_line(Http(live.port), live)
    await moment(line)
    line.hold("N.n1")
    await line.say("N")
    live.kill()
    line.note_crash()
    line.let("N.n1")
    start()
    await line.end_of(line.said[-1].run_id)
    values = await line.values()
    assert values["said"] == [said.tag for said in line.accepted]
    assert values["steps"][-3:] == [f"N.{node}" for node in NODES]


@pytest.mark.parametrize("dies_at", ["A", "B", "N"])
async def test_a_crash_between_two_inputs_doubles_none_and_loses_none(start: Start, dies_at: str) -> None:
    live = start()
    line = await new_line(Http(live.port), live)
    line.hold("Z.n1", f"{dies_at}.said")
    for tag in "ZAB":
        await line.say(tag, "enqueue", input=may_be_held(line, tag))
    await line.at("Z.n1")
    await line.say("N", input=may_be_held(line, "N"))
    await line.at(f"{dies_at}.said")
    live.kill()
    line.note_crash()
    line.let(f"{dies_at}.said")
    start()
    await line.end_of(line.said[-1].run_id)
    values = await line.values()
    assert values["said"] == ["Z", "A", "B", "N"]
    assert values["steps"] == [f"N.{node}" for node in NODES]


def may_be_held(line: Line, tag: str) -> dict[str, object]:
    """An input that can be stopped on its way into the state."""
    return {"tag": tag, "said": [f"{tag}@{line.thread_id}"]}


async def test_inputs_that_a_rolled_back_run_carried_stay(line: Line) -> None:
    await while_waiting(line)
    line.hold("N.n2")
    await line.say("N")
    await line.at("N.n2")
    await line.say("M", "rollback", how="runs/wait")
    assert await line.status(line.said[-2].run_id) is None
    values = await line.values()
    assert values["said"] == ["Z", "A", "B", "M"]
    assert values["steps"] == [f"M.{node}" for node in NODES]


async def test_inputs_that_a_cancelled_run_carried_are_shown(line: Line) -> None:
    await while_waiting(line)
    line.hold("N.n2")
    await line.say("N")
    await line.at("N.n2")
    run_id = line.said[-1].run_id
    await line.http.post(f"/threads/{line.thread_id}/runs/{run_id}/cancel?action=rollback&wait=1")
    assert (await line.values())["said"] == ["Z", "A", "B"]


async def test_who_leaves_after_typing_again_does_not_lose_what_he_typed_first(line: Line) -> None:
    line.hold("Z.n1")
    await line.say("Z")
    await line.at("Z.n1")
    line.hold("A.n1")
    await line.say("A", "enqueue")
    await line.say("N")
    for said in line.said[:2]:
        await line.http.post(f"/threads/{line.thread_id}/runs/{said.run_id}/cancel")
    await line.end_of(line.said[-1].run_id)
    assert (await line.values())["said"] == ["Z", "A", "N"]


# --- What waits behind the run that is interrupted --------------------------------------------------------------------


async def queued(line: Line) -> tuple[Said, Said, Said]:
    """Z at work, A and B waiting."""
    await while_waiting(line)
    first, second, third = line.said
    return first, second, third


async def test_a_request_may_leave_the_queue_as_it_is(line: Line) -> None:
    first, second, third = await queued(line)
    await line.say("N", how="runs/wait", queued_on_interrupt="keep")
    assert [await line.status(said.run_id) for said in (first, second, third)] == ["interrupted", "success", "success"]
    values = await line.values()
    assert values["said"] == ["Z", "A", "B", "N"]
    assert values["steps"] == [f"{tag}.{node}" for tag in "ABN" for node in NODES]


async def test_a_rollback_may_leave_the_queue_as_it_is(line: Line) -> None:
    first, *_ = await queued(line)
    await line.say("N", "rollback", how="runs/wait", queued_on_interrupt="keep")
    assert await line.status(first.run_id) is None
    assert (await line.values())["said"] == ["A", "B", "N"]


async def test_the_server_may_be_told_to_leave_queues_as_they_are(start: Start) -> None:
    live = start(TURNKEEPER_QUEUED_ON_INTERRUPT="keep")
    line = await new_line(Http(live.port), live)
    await while_waiting(line)
    await line.say("N", how="runs/wait")
    assert (await line.values())["steps"] == [f"{tag}.{node}" for tag in "ABN" for node in NODES]
    await while_waiting(other := await new_line(Http(live.port), live))
    await other.say("N", how="runs/wait", queued_on_interrupt="cancel")
    assert (await other.values())["steps"] == [f"N.{node}" for node in NODES]


# --- Who superseded whom ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
async def test_run_journal_and_stream_name_the_run_that_took_over(line: Line, server: Live, strategy: str) -> None:
    line.hold("Z.n1")
    said = line.prepare("Z", "enqueue")
    path = f"/threads/{line.thread_id}/runs/stream"
    async with line.http.open("POST", path, said.body) as stream:
        await line.at("Z.n1")
        await line.say("A", "enqueue")
        await line.say("N", strategy)
        body = await stream.reader.read()
    newest = line.said[-1].run_id
    reason = f"superseded by run {newest} (multitask_strategy={strategy})"
    assert reason.encode() in body
    assert (b'"interrupted"' if strategy == "interrupt" else b'"rolled_back"') in body
    await line.end_of(newest)
    with on_disk(server) as connection:
        notes = journal(connection, line.thread_id)
    for each in (said, line.said[1]):
        assert Note(each.run_id, "superseded_by", newest) in notes
        run = await line.run(each.run_id)
        assert run is None if strategy == "rollback" else run is not None and run["cancel_reason"] == reason


async def test_of_several_runs_that_took_over_the_first_is_named(line: Line) -> None:
    line.hold("Z.n1")
    await line.say("Z")
    await line.at("Z.n1")
    await line.say("A")
    await line.http.post(f"/threads/{line.thread_id}/runs/{line.said[0].run_id}/cancel")
    await line.end_of(line.said[-1].run_id)
    run = await line.run(line.said[0].run_id)
    assert run is not None
    assert run["cancel_reason"] == f"superseded by run {line.said[1].run_id} (multitask_strategy=interrupt)"
