"""Fifty people type twenty things each, in any rhythm: nothing overlaps, nothing is lost, the last word is answered."""

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from tests.interleaving.driver import (
    NODES,
    Line,
    assert_in_order,
    assert_no_overlap,
    assert_steps_fit,
    new_line,
)
from tests.interleaving.sockets import Http
from tests.nursery import Start
from tests.wire.live import POLL, Live

STRATEGIES = ("reject", "enqueue", "interrupt", "rollback")
THREADS, INPUTS = 50, 20

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def fewer_people(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other storms have shown with fifty."""
    monkeypatch.setitem(globals(), "THREADS", 20)


def some_seeds(first: int, *others: int) -> pytest.MarkDecorator:
    """One in every run of the tests, the others when there is time."""
    return pytest.mark.parametrize("seed", [first, *(pytest.param(seed, marks=pytest.mark.long) for seed in others)])


async def type_away(line: Line, dice: random.Random, strategies: tuple[str, ...], **options: Any) -> None:
    """Say twenty things, at once or with a pause."""
    for number in range(INPUTS):
        await asyncio.sleep(dice.choice([0.0, 0.0, 0.001, 0.005, 0.02, 0.05]))
        how, pace = dice.choice(["runs", "runs", "runs/stream"]), dice.choice([0.0, 0.001, 0.003, 0.01])
        strategy = "interrupt" if number == 0 else dice.choice(strategies)
        await send(line, f"I{number:02}", strategy, how=how, pace=pace, **options)


async def send(line: Line, tag: str, strategy: str, *, how: str, **options: Any) -> None:
    """Send an input; a stream is left open only until its headers are there."""
    if how == "runs":
        answer = await line.say(tag, strategy, **options)
        assert answer.status_code in (200, 409), answer.text
        return
    said = line.prepare(tag, strategy, **options)
    async with line.http.open("POST", f"/threads/{line.thread_id}/{how}", said.body) as stream:
        said.accepted = stream.status_code == 200
        assert said.accepted or stream.status_code == 409


async def storm(http: Http, server: Live, seed: int, strategies: tuple[str, ...], **options: Any) -> list[Line]:
    """Fifty threads at once; returns when the last input of each has been answered."""
    dice = random.Random(seed)
    lines = await open_lines(http, server)
    typing = [
        type_away(line, random.Random(dice.random()), strategies, **of_thread(number, options))
        for number, line in enumerate(lines)
    ]
    await asyncio.gather(*typing)
    await asyncio.gather(*(line.end_of(line.accepted[-1].run_id) for line in lines))
    return lines


def of_thread(number: int, options: dict[str, Any]) -> dict[str, Any]:
    """Of an option with several values each thread gets one."""
    return {name: given[number % len(given)] if isinstance(given, list) else given for name, given in options.items()}


async def open_lines(http: Http, server: Live) -> list[Line]:
    """Fifty new threads."""
    return list(await asyncio.gather(*(new_line(http, server) for _ in range(THREADS))))


async def gone(line: Line) -> set[str]:
    """The accepted runs that were taken back; the others must have ended."""
    runs = await line.runs()
    assert {run["status"] for run in runs.values()} <= {"success", "interrupted"}
    return {said.run_id for said in line.accepted} - runs.keys()


async def check(line: Line, graph: str = "talk") -> dict[str, Any]:
    """What must hold after any storm; the state it left."""
    log, admitted = line.log, [said.run_id for said in line.accepted]
    assert_no_overlap(log)
    assert_in_order(line.begun(), admitted)
    values, thread, lost = await line.values(), await line.thread(), await gone(line)
    assert thread["status"] == "idle"
    assert await line.status(admitted[-1]) == "success"
    if graph == "talk":
        assert_steps_fit(values["steps"], log, lost)
        assert values["steps"][-3:] == [f"{line.accepted[-1].tag}.{node}" for node in NODES]
        assert values["said"] == sorted(set(values["said"]))
        assert {said.tag for said in line.accepted if said.run_id in lost}.isdisjoint(values["said"])
    return values


@some_seeds(1, 2)
async def test_in_a_storm_of_all_strategies_turns_are_kept_and_only_what_was_taken_back_is_lost(
    http: Http, server: Live, seed: int
) -> None:
    lines = await storm(http, server, seed, STRATEGIES)
    for line in lines:
        values, lost = await check(line), await gone(line)
        assert values["said"] == [said.tag for said in line.accepted if said.run_id not in lost]


@some_seeds(3, 4)
async def test_in_a_storm_of_interrupts_all_that_was_typed_is_in_the_state_once_and_in_order(
    http: Http, server: Live, seed: int
) -> None:
    for line in await storm(http, server, seed, ("interrupt",)):
        assert len(line.accepted) == INPUTS
        assert (await check(line))["said"] == [said.tag for said in line.accepted]


@pytest.mark.usefixtures("fewer_people")
async def test_what_was_typed_is_kept_whenever_checkpoints_are_written(http: Http, server: Live) -> None:
    for line in await storm(http, server, 5, ("interrupt", "enqueue"), durability=["sync", "exit"]):
        assert (await check(line))["said"] == [said.tag for said in line.accepted]


@pytest.mark.usefixtures("fewer_people")
async def test_in_a_storm_of_messages_every_one_is_in_the_chat_once_and_in_order(http: Http, server: Live) -> None:
    for line in await storm(http, server, 6, ("interrupt", "enqueue"), graph="chat"):
        messages = (await check(line, "chat"))["messages"]
        assert [each["content"] for each in messages if each["type"] == "human"] == [said.tag for said in line.accepted]
        assert max(Counter(each["id"] for each in messages).values()) == 1
        assert None not in {each["id"] for each in messages}
        assert messages[-1]["content"] == f"re {line.accepted[-1].tag}"


@pytest.mark.usefixtures("fewer_people")
async def test_with_drop_only_inputs_whose_run_never_began_are_left_out(http: Http, server: Live) -> None:
    for line in await storm(http, server, 7, ("interrupt",), superseded_input="drop"):
        begun = set(line.begun())
        values = await check(line)
        assert {said.tag for said in line.accepted if said.run_id in begun} <= set(values["said"])


@pytest.mark.usefixtures("fewer_people")
async def test_in_a_storm_of_rollbacks_only_the_last_input_and_finished_ones_are_left(http: Http, server: Live) -> None:
    for line in await storm(http, server, 8, ("rollback",)):
        values, lost = await check(line), await gone(line)
        kept = [said.tag for said in line.accepted if said.run_id not in lost]
        assert values["said"] == kept
        assert values["steps"] == [f"{tag}.{node}" for tag in kept for node in NODES]


@some_seeds(9, 10)
async def test_all_that_was_typed_survives_a_server_that_dies_in_a_storm(start: Start, seed: int) -> None:
    dice = random.Random(seed)
    live = start()
    lines = await open_lines(Http(live.port), live)
    typing = asyncio.gather(
        *(type_away(line, random.Random(dice.random()), ("interrupt", "enqueue")) for line in lines),
        return_exceptions=True,
    )
    while sum(len(line.accepted) for line in lines) < THREADS * INPUTS // 2:
        await asyncio.sleep(POLL)
    live.kill()
    failures = await typing
    assert all(isinstance(failure, OSError | EOFError) for failure in failures if failure is not None)
    for line in lines:
        line.note_crash()
    start()
    await asyncio.gather(*(go_on(line) for line in lines))


async def go_on(line: Line) -> None:
    """Type one thing more, after which nothing that was accepted before the crash may be missing."""
    for said in line.said:
        if said.accepted is None:
            said.accepted = await line.status(said.run_id) is not None
    await send(line, "I99", "interrupt", how="runs")
    await line.end_of(line.accepted[-1].run_id)
    values = await line.values()
    assert values["said"] == [said.tag for said in line.accepted]
    assert values["steps"][-3:] == [f"I99.{node}" for node in NODES]
    assert_no_overlap(line.log)
    assert (await line.thread())["status"] == "idle"
