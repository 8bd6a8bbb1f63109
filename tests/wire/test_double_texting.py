"""What becomes of a run when another input arrives on its thread: for every strategy and every moment."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import ConflictError

from tests.wire.live import DEADLINE, POLL
from tests.wire.talk import Talk, assert_one_at_a_time, whole

STRATEGIES = ("reject", "enqueue", "interrupt", "rollback")
BUSY = "Thread is already running a task. Wait for it to finish or choose a different multitask strategy."


# --- Every strategy at every moment -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Before:
    """The runs a second input finds, the gates to open once it has arrived, and the graph it is for."""

    runs: list[str]
    held: list[str] = field(default_factory=list)
    graph: str = "steps"
    tag: str = "B"


@dataclass(frozen=True)
class After:
    """What is expected: the status of each run before (`None`: gone), of the second, and the steps that were kept."""

    first: list[str | None]
    second: str | None
    steps: list[str]
    thread: str = "idle"


async def waiting(talk: Talk) -> Before:
    talk.hold("Z.n1")
    runs = [await talk.say("Z"), await talk.say("A")]
    await talk.started("Z.n1")
    return Before(runs, ["Z.n1"])


async def in_first_node(talk: Talk) -> Before:
    talk.hold("A.n1")
    runs = [await talk.say("A")]
    await talk.started("A.n1")
    return Before(runs, ["A.n1"])


async def in_later_node(talk: Talk) -> Before:
    talk.hold("A.n2")
    runs = [await talk.say("A")]
    await talk.started("A.n2")
    return Before(runs, ["A.n2"])


async def asking_a_human(talk: Talk) -> Before:
    run = await talk.say("A", graph="ask")
    await talk.end_of(run)
    assert (await talk.thread())["status"] == "interrupted"
    return Before([run], graph="ask")


async def finished(talk: Talk) -> Before:
    run = await talk.say("A")
    await talk.end_of(run)
    return Before([run])


async def failed(talk: Talk) -> Before:
    run = await talk.say("A", graph="fails")
    await talk.end_of(run)
    assert (await talk.thread())["status"] == "error"
    return Before([run], graph="fails", tag="fine")


MATRIX: dict[Callable[[Talk], Awaitable[Before]], dict[str, After]] = {
    waiting: {
        "reject": After(["success", "success"], None, whole("Z", "A")),
        "enqueue": After(["success", "success"], "success", whole("Z", "A", "B")),
        "interrupt": After(["interrupted", "interrupted"], "success", whole("B")),
        "rollback": After([None, None], "success", whole("B")),
    },
    in_first_node: {
        "reject": After(["success"], None, whole("A")),
        "enqueue": After(["success"], "success", whole("A", "B")),
        "interrupt": After(["interrupted"], "success", whole("B")),
        "rollback": After([None], "success", whole("B")),
    },
    in_later_node: {
        "reject": After(["success"], None, whole("A")),
        "enqueue": After(["success"], "success", whole("A", "B")),
        "interrupt": After(["interrupted"], "success", ["A.n1", *whole("B")]),
        "rollback": After([None], "success", whole("B")),
    },
    asking_a_human: dict.fromkeys(
        STRATEGIES, After(["success"], "success", ["A.before", "B.before"], thread="interrupted")
    ),
    finished: dict.fromkeys(STRATEGIES, After(["success"], "success", whole("A", "B"))),
    failed: dict.fromkeys(STRATEGIES, After(["error"], "success", ["A.n1", "fine.n1", "fine.boom"])),
}

every_moment = pytest.mark.parametrize("moment", MATRIX, ids=lambda moment: moment.__name__)
every_strategy = pytest.mark.parametrize("strategy", STRATEGIES)


@every_strategy
@every_moment
async def test_a_second_input_gets_what_its_strategy_promises(
    talk: Talk, moment: Callable[[Talk], Awaitable[Before]], strategy: str
) -> None:
    before = await moment(talk)
    runs = await text(talk, before, strategy)
    await check(talk, runs, MATRIX[moment][strategy])


async def text(talk: Talk, before: Before, strategy: str) -> list[str]:
    """Send the second input, let everything come to its end; all runs that were accepted."""
    try:
        second = [await talk.say(before.tag, strategy, graph=before.graph)]
    except ConflictError:
        assert strategy == "reject"
        second = []
    return await see_out(talk, before, strategy, second)


async def see_out(talk: Talk, before: Before, strategy: str, second: list[str]) -> list[str]:
    """Open the gates, unless the runs behind them are to be stopped there."""
    if strategy in ("reject", "enqueue"):
        talk.let(*before.held)
    await talk.end_of(*before.runs, *second)
    return [*before.runs, *second]


async def check(talk: Talk, runs: list[str], after: After) -> None:
    expected = [*after.first, *([after.second] if after.second else [])]
    assert await talk.statuses(*runs) == expected
    assert await talk.listed() == [run for run, status in zip(runs, expected, strict=True) if status]
    assert await talk.steps() == after.steps
    assert (await talk.thread())["status"] == after.thread
    assert_one_at_a_time(talk.log)
    await check_history(talk, [run for run, status in zip(runs, expected, strict=True) if status is None])


async def check_history(talk: Talk, gone: list[str]) -> None:
    """The past only ever grows, and holds nothing of runs that were rolled back."""
    history = await talk.history()
    pasts = [state["values"].get("steps", []) for state in history]
    for earlier, later in itertools.pairwise(pasts):
        assert later[: len(earlier)] == earlier
    assert not {state["metadata"]["run_id"] for state in history} & set(gone)
    parents = [state["parent_checkpoint"] and state["parent_checkpoint"]["checkpoint_id"] for state in history]
    assert parents == [None, *(state["checkpoint"]["checkpoint_id"] for state in history[:-1])]


# --- The same through the other ways of starting a run ----------------------------------------------------------------

Start = Callable[[Talk, str, str], Coroutine[Any, Any, str]]


async def by_stream(talk: Talk, tag: str, strategy: Any) -> str:
    """Start a run by `runs.stream` and read its stream to the end; the run's id."""
    parts = talk.client.runs.stream(talk.thread_id, "steps", input={"tag": tag}, multitask_strategy=strategy)
    events = [(part.event, part.data) async for part in parts]
    assert [event for event, _ in events] == ["metadata", *["values"] * 4]
    assert events[-1][1]["steps"][-3:] == whole(tag)
    return events[0][1]["run_id"]


async def by_wait(talk: Talk, tag: str, strategy: Any) -> str:
    """Start a run by `runs.wait`; its id."""
    created: list[str] = []
    values: Any = await talk.client.runs.wait(
        talk.thread_id,
        "steps",
        input={"tag": tag},
        multitask_strategy=strategy,
        on_run_created=lambda run: created.append(run["run_id"]),
    )
    assert values["steps"][-3:] == whole(tag)
    return created[0]


every_start = pytest.mark.parametrize("start", [by_stream, by_wait], ids=["stream", "wait"])


@every_start
@every_strategy
@pytest.mark.parametrize("moment", [waiting, in_first_node, in_later_node, finished])
async def test_streamed_and_awaited_inputs_get_the_same(
    talk: Talk, moment: Callable[[Talk], Awaitable[Before]], strategy: str, start: Start
) -> None:
    before = await moment(talk)
    second = asyncio.create_task(start(talk, "B", strategy))
    if strategy == "enqueue":
        await until(lambda: runs_are(talk, len(before.runs) + 1))
        talk.let(*before.held)
    expected = MATRIX[moment][strategy]
    if expected.second is None:
        with pytest.raises((ConflictError, httpx.HTTPStatusError), match=r"409|already"):  # `wait` raises the latter
            await second
        runs = await see_out(talk, before, strategy, [])
    else:
        runs = await see_out(talk, before, strategy, [await second])
    await check(talk, runs, expected)


async def runs_are(talk: Talk, number: int) -> bool:
    return len(await talk.listed()) == number


async def waits_for(talk: Talk, node: str) -> bool:
    """Whether the steps before this node are stored."""
    return (await talk.state())["next"] == [node]


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(DEADLINE):
        while not await holds():
            await asyncio.sleep(POLL)


@pytest.mark.parametrize("path", ["runs", "runs/stream", "runs/wait"])
async def test_a_refusal_is_a_plain_409_and_changes_nothing(talk: Talk, http: httpx.AsyncClient, path: str) -> None:
    before = await in_later_node(talk)
    await until(lambda: waits_for(talk, "n2"))
    runs, thread, history = await talk.client.runs.list(talk.thread_id), await talk.thread(), await talk.history()

    body = {"assistant_id": "steps", "input": {"tag": "B"}, "multitask_strategy": "reject"}
    refused = await http.post(f"/threads/{talk.thread_id}/{path}", json=body)

    assert (refused.status_code, refused.json()) == (409, {"detail": BUSY})
    assert refused.headers["content-type"].startswith("application/json")
    assert await talk.client.runs.list(talk.thread_id) == runs
    assert await talk.thread() == thread
    assert await talk.history() == history
    talk.let(*before.held)
    await talk.end_of(*before.runs)


async def test_a_batch_of_inputs_without_a_thread_never_collides(client: LangGraphClient) -> None:
    payloads: Any = [
        {"assistant_id": "steps", "input": {"tag": tag}, "multitask_strategy": strategy, "on_completion": "keep"}
        for tag, strategy in zip("ABCD", STRATEGIES, strict=True)
    ]
    runs = await client.runs.create_batch(payloads)
    values = [await client.runs.join(run["thread_id"], run["run_id"]) for run in runs]
    assert values == [{"tag": tag, "steps": whole(tag)} for tag in "ABCD"]


@pytest.mark.parametrize("strategy", ["sometimes", "", 1])
async def test_a_strategy_that_does_not_exist_is_refused(talk: Talk, http: httpx.AsyncClient, strategy: object) -> None:
    body = {"assistant_id": "steps", "input": {"tag": "A"}, "multitask_strategy": strategy}
    assert (await http.post(f"/threads/{talk.thread_id}/runs", json=body)).status_code == 422
    assert await talk.listed() == []


async def test_an_input_without_a_strategy_waits_for_its_turn(talk: Talk) -> None:
    before = await in_later_node(talk)
    second = await talk.say("B")
    assert (await talk.client.runs.get(talk.thread_id, second))["multitask_strategy"] == "enqueue"
    assert await talk.statuses(*before.runs, second) == ["running", "pending"]
    talk.let(*before.held)
    await talk.end_of(second)
    assert await talk.steps() == whole("A", "B")


# --- Many inputs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", list(itertools.permutations(STRATEGIES)), ids="-".join)
async def test_four_more_inputs_in_any_order(talk: Talk, order: tuple[str, ...]) -> None:
    tags = "ABCDE"
    talk.hold(*(f"{tag}.n2" for tag in tags))
    active, kept = ["A"], []
    runs, expected = {"A": await talk.say("A")}, {}
    await talk.started("A.n2")
    for tag, strategy in zip(tags[1:], order, strict=True):
        if strategy == "reject":
            with pytest.raises(ConflictError):
                await talk.say(tag, strategy)
            continue
        runs[tag] = await talk.say(tag, strategy)
        if strategy == "enqueue":
            active.append(tag)
            continue
        await talk.started(f"{tag}.n2")
        expected |= dict.fromkeys(active, "interrupted" if strategy == "interrupt" else None)
        kept += [f"{active[0]}.n1"] if strategy == "interrupt" else []
        active = [tag]
    talk.let(*(f"{tag}.n2" for tag in tags))
    await talk.end_of(*runs.values())

    expected |= dict.fromkeys(active, "success")
    assert dict(zip(runs, await talk.statuses(*runs.values()), strict=True)) == expected
    assert await talk.steps() == kept + whole(*active)
    assert (await talk.thread())["status"] == "idle"
    assert_one_at_a_time(talk.log)


@pytest.mark.parametrize(("strategy", "left"), [("interrupt", "interrupted"), ("rollback", None)])
async def test_of_five_inputs_in_a_row_only_the_last_is_answered(talk: Talk, strategy: str, left: str | None) -> None:
    talk.hold(*(f"{tag}.n1" for tag in "ABCD"))
    runs = [await talk.say(tag, strategy) for tag in "ABCDE"]
    await talk.end_of(*runs)
    assert await talk.statuses(*runs) == [left] * 4 + ["success"]
    assert await talk.steps() == whole("E")
    assert sorted(talk.visits) == talk.visits
    assert_one_at_a_time(talk.log)


@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
async def test_of_five_inputs_at_once_exactly_one_is_answered(talk: Talk, strategy: str) -> None:
    talk.hold(*(f"{tag}.n2" for tag in "ABCDE"))
    runs = dict(zip(await asyncio.gather(*(talk.say(tag, strategy) for tag in "ABCDE")), "ABCDE", strict=True))
    last = (await talk.listed())[-1]
    talk.let(f"{runs[last]}.n2")
    await talk.end_of(*runs)
    assert [run for run in runs if await talk.status(run) == "success"] == [last]
    steps = await talk.steps()
    assert steps[-3:] == whole(runs[last])
    assert all(step.endswith(".n1") for step in steps[:-3])
    assert_one_at_a_time(talk.log)


async def test_of_ten_inputs_that_may_not_wait_exactly_one_is_accepted(talk: Talk) -> None:
    tags = [f"R{number}" for number in range(10)]
    talk.hold(*(f"{tag}.n1" for tag in tags))
    answers = await asyncio.gather(*(talk.say(tag, "reject") for tag in tags), return_exceptions=True)
    [accepted] = [answer for answer in answers if isinstance(answer, str)]
    assert [type(answer) for answer in answers if answer != accepted] == [ConflictError] * 9
    assert await talk.listed() == [accepted]
    [tag] = [tag for tag, answer in zip(tags, answers, strict=True) if answer == accepted]
    talk.let(f"{tag}.n1")
    await talk.end_of(accepted)
    assert await talk.steps() == whole(tag)


async def test_queued_inputs_are_answered_in_the_order_they_came(talk: Talk) -> None:
    tags = [f"Q{number:02}" for number in range(20)]
    talk.hold("Q00.n1")
    runs = [await talk.say(tag, "enqueue") for tag in tags]
    assert await talk.listed() == runs
    talk.let("Q00.n1")
    await talk.end_of(*runs)
    assert await talk.steps() == talk.visits == whole(*tags)
    assert await talk.statuses(*runs) == ["success"] * 20
    assert_one_at_a_time(talk.log)


async def test_queued_inputs_sent_at_once_are_answered_in_the_order_of_the_list(talk: Talk) -> None:
    tags = [f"Q{number}" for number in range(10)]
    runs = dict(zip(await asyncio.gather(*(talk.say(tag) for tag in tags)), tags, strict=True))
    listed = await talk.listed()
    await talk.end_of(*listed)
    assert await talk.steps() == whole(*(runs[run] for run in listed))


@pytest.mark.parametrize(("strategy", "left"), [("interrupt", "interrupted"), ("rollback", None)])
async def test_queued_inputs_are_dropped_unrun_when_a_newer_one_takes_over(
    talk: Talk, strategy: str, left: str | None
) -> None:
    talk.hold("A.n2")
    runs = [await talk.say(tag, "enqueue") for tag in "ABC"]
    await talk.started("A.n2")
    runs.append(await talk.say("D", strategy))
    await talk.end_of(*runs)
    assert await talk.statuses(*runs) == [left, left, left, "success"]
    assert talk.visits == ["A.n1", "A.n2", *whole("D")]
    assert await talk.steps() == (["A.n1"] if strategy == "interrupt" else []) + whole("D")


async def test_a_failing_run_does_not_stop_the_queue_behind_it(talk: Talk) -> None:
    talk.hold("A.boom")
    runs = [await talk.say("A", graph="fails"), await talk.say("fine", graph="fails")]
    talk.let("A.boom")
    await talk.end_of(*runs)
    assert await talk.statuses(*runs) == ["error", "success"]
    assert await talk.steps() == ["A.n1", "fine.n1", "fine.boom"]
    thread = await talk.thread()
    assert (thread["status"], thread["error"]) == ("idle", None)


async def test_threads_do_not_wait_for_each_other(client: LangGraphClient, talk: Talk) -> None:
    before = await in_first_node(talk)
    other = (await client.threads.create())["thread_id"]
    values: Any = await client.runs.wait(other, "steps", input={"tag": "B"}, multitask_strategy="reject")
    assert values["steps"] == whole("B")
    talk.let(*before.held)
    await talk.end_of(*before.runs)


# --- Runs that start later --------------------------------------------------------------------------------------------


async def test_an_input_for_later_does_not_hold_up_the_next_one(talk: Talk) -> None:
    later = await talk.say("A", after_seconds=1)
    now = await talk.say("B")
    await talk.end_of(now)
    assert await talk.statuses(later, now) == ["pending", "success"]
    assert (await talk.thread())["status"] == "busy"
    await talk.end_of(later)
    assert await talk.steps() == whole("B", "A")


@every_strategy
async def test_a_thread_with_an_input_for_later_is_busy(talk: Talk, strategy: str) -> None:
    later = await talk.say("A", after_seconds=60)
    if strategy == "reject":
        with pytest.raises(ConflictError):
            await talk.say("B", strategy)
        assert await talk.status(later) == "pending"
    else:
        await talk.end_of(await talk.say("B", strategy))
        assert await talk.status(later) == {"enqueue": "pending", "interrupt": "interrupted"}.get(strategy)
    assert talk.visits == (whole("B") if strategy != "reject" else [])
    busy = strategy in ("reject", "enqueue")
    assert (await talk.thread())["status"] == ("busy" if busy else "idle")
    if busy:
        await talk.client.runs.cancel(talk.thread_id, later, wait=True)


async def test_an_input_for_later_that_takes_over_stops_the_first_at_once(talk: Talk) -> None:
    before = await in_later_node(talk)
    second = await talk.say("B", "interrupt", after_seconds=60)
    await talk.end_of(*before.runs)
    assert await talk.statuses(*before.runs, second) == ["interrupted", "pending"]
    assert await talk.steps() == ["A.n1"]
    await talk.client.runs.cancel(talk.thread_id, second, action="rollback", wait=True)
    assert await talk.status(second) is None
    assert (await talk.thread())["status"] == "interrupted"


# --- The first run may be slow to stop --------------------------------------------------------------------------------


@pytest.mark.parametrize(("strategy", "left"), [("interrupt", "interrupted"), ("rollback", None)])
async def test_the_second_run_waits_until_the_first_has_cleaned_up(talk: Talk, strategy: str, left: str | None) -> None:
    talk.hold("A.tidy", "A.cleanup")
    first = await talk.say("A", graph="tidying")
    await talk.started("A.tidy")
    second = await talk.say("B", strategy, graph="tidying")
    await talk.started("A.cleanup")
    assert await talk.statuses(first, second) == ["running", "pending"]
    assert talk.visits == ["A.n1", "A.tidy", "A.cleanup"]

    talk.let("A.cleanup")
    await talk.end_of(second)
    assert await talk.statuses(first, second) == [left, "success"]
    kept = ["A.n1"] if strategy == "interrupt" else []
    assert await talk.steps() == [*kept, "B.n1", "B.tidy", "B.n2"]
    assert_one_at_a_time(talk.log)


@pytest.mark.parametrize(("strategy", "left"), [("interrupt", "interrupted"), ("rollback", None)])
@pytest.mark.parametrize(("graph", "node"), [("stubborn", "swallow"), ("blocking", "block")])
async def test_a_node_that_cannot_be_stopped_writes_nothing_once_the_next_run_has_begun(
    talk: Talk, graph: str, node: str, strategy: str, left: str | None
) -> None:
    talk.hold(f"A.{node}")
    first = await talk.say("A", graph=graph)
    await talk.started(f"A.{node}")
    second = await talk.say("B", strategy, graph=graph)
    await talk.end_of(second)
    steps = await talk.steps()
    kept = ["A.n1"] if strategy == "interrupt" else []
    assert steps[: len(kept) + 2] == [*kept, "B.n1", f"B.{node}"]
    history = await talk.history()

    talk.let(f"A.{node}")
    await talk.noted(f"A.{node} ended")
    third = await talk.say("C", graph=graph)
    await talk.end_of(third)
    assert await talk.statuses(first, second, third) == [left, "success", "success"]
    assert (await talk.history())[: len(history)] == history
    assert not any(step.startswith("A.") for step in (await talk.steps())[len(kept) :])
    assert "A.n2" not in talk.visits


# --- What is kept of a stopped run ------------------------------------------------------------------------------------


async def stop_in_slow_branch(talk: Talk) -> str:
    """A run of `parallel` whose fast branch is done and stored, and whose slow one is under way."""
    talk.hold("A.slow")
    first = await talk.say("A", graph="parallel")

    async def fast_is_stored() -> bool:
        return any(task["name"] == "fast" and task["result"] for task in (await talk.state())["tasks"])

    await until(fast_is_stored)
    await talk.started("A.slow")
    return first


async def test_only_the_unfinished_branch_of_a_cancelled_run_is_run_again(talk: Talk) -> None:
    first = await stop_in_slow_branch(talk)
    await talk.client.runs.cancel(talk.thread_id, first, wait=True)
    talk.let("A.slow")
    await talk.end_of(await talk.say("A", graph="parallel", input=None))
    assert await talk.steps() == ["A.fast", "A.slow", "A.join"]
    assert talk.visits == ["A.fast", "A.slow", "A.slow", "A.join"]


async def test_a_finished_branch_of_an_interrupted_run_is_not_lost_to_the_next_input(talk: Talk) -> None:
    first = await stop_in_slow_branch(talk)
    second = await talk.say("B", "interrupt", graph="parallel")
    await talk.end_of(second)
    assert await talk.statuses(first, second) == ["interrupted", "success"]
    assert await talk.steps() == ["A.fast", "B.fast", "B.slow", "B.join"]


async def test_a_finished_branch_of_a_rolled_back_run_is_gone(talk: Talk) -> None:
    await stop_in_slow_branch(talk)
    await talk.end_of(await talk.say("B", "rollback", graph="parallel"))
    assert await talk.steps() == ["B.fast", "B.slow", "B.join"]


async def test_an_interrupted_subgraph_goes_on_where_it_was(talk: Talk) -> None:
    talk.hold("A.c2")
    first = await talk.say("A", graph="subgraph")
    await talk.started("A.c2")
    await talk.client.runs.cancel(talk.thread_id, first, wait=True)
    talk.let("A.c2")
    await talk.end_of(await talk.say("A", graph="subgraph", input=None))
    assert talk.visits == ["A.before", "A.c1", "A.c2", "A.c2", "A.after"]
    assert await talk.steps() == ["A.before", "A.c1", "A.c2", "A.after"]


@pytest.mark.parametrize(("strategy", "kept"), [("interrupt", ["A.before"]), ("rollback", [])])
async def test_a_subgraph_under_way_leaves_nothing_in_the_next_run(talk: Talk, strategy: str, kept: list[str]) -> None:
    talk.hold("A.c2")
    await talk.say("A", graph="subgraph")
    await talk.started("A.c2")
    await talk.end_of(await talk.say("B", strategy, graph="subgraph"))
    second = ["B.before", "B.c1", "B.c2", "B.after"]
    assert await talk.steps() == [*kept, *second]
    assert talk.visits == ["A.before", "A.c1", "A.c2", *second]


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize(("strategy", "kept"), [("interrupt", ["A.n1"]), ("rollback", [])])
async def test_what_is_kept_does_not_depend_on_when_checkpoints_are_written(
    talk: Talk, strategy: str, kept: list[str], durability: str
) -> None:
    talk.hold("A.n2")
    await talk.say("A", durability=durability)
    await talk.started("A.n2")
    await talk.end_of(await talk.say("B", strategy, durability=durability))
    assert await talk.steps() == [*kept, *whole("B")]


async def test_rollback_goes_back_to_the_turn_before_not_to_the_beginning(talk: Talk) -> None:
    await talk.end_of(await talk.say("Z"))
    past = await talk.history()
    before = await in_later_node(talk)
    second = await talk.say("B", "rollback")
    await talk.end_of(second)
    assert await talk.statuses(*before.runs, second) == [None, "success"]
    assert await talk.steps() == whole("Z", "B")
    history = await talk.history()
    assert history[: len(past)] == past
    assert {state["metadata"]["run_id"] for state in history[len(past) :]} == {second}


async def test_an_interrupted_run_can_be_resumed_after_the_one_that_took_over(talk: Talk) -> None:
    before = await in_later_node(talk)
    await talk.client.runs.cancel(talk.thread_id, before.runs[0], wait=True)
    state = await talk.state()
    assert (state["values"]["steps"], state["next"]) == (["A.n1"], ["n2"])
    assert (await talk.thread())["status"] == "interrupted"
    talk.let(*before.held)
    await talk.end_of(await talk.say("A", input=None))
    assert await talk.steps() == whole("A")
    assert (await talk.thread())["status"] == "idle"


# --- What those who listen to the first run are told ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "left", "said"), [("interrupt", "interrupted", "interrupted"), ("rollback", None, "rolled_back")]
)
async def test_the_stream_of_a_run_that_is_stopped_says_by_whom(
    talk: Talk, strategy: str, left: str | None, said: str
) -> None:
    talk.hold("A.n2")
    stream = talk.client.runs.stream(talk.thread_id, "steps", input={"tag": "A"}, stream_mode="updates")
    first = asyncio.create_task(collect(stream))
    await talk.started("A.n2")
    second = await talk.say("B", strategy)
    events = await first
    await talk.end_of(second)
    assert events[0][0] == "metadata"
    reason = f"superseded by run {second} (multitask_strategy={strategy})"
    assert events[1:] == [("updates", {"n1": {"steps": ["A.n1"]}}), ("end", {"status": said, "reason": reason})]
    assert await talk.status(events[0][1]["run_id"]) == left


async def collect(stream: AsyncIterator[Any]) -> list[tuple[str, Any]]:
    """The events of a stream."""
    return [(part.event, part.data) async for part in stream]


async def test_who_waits_for_an_interrupted_run_gets_what_it_had_done(talk: Talk) -> None:
    before = await in_later_node(talk)
    joined = asyncio.create_task(talk.end_of(*before.runs))
    await talk.end_of(await talk.say("B", "interrupt"))
    assert await joined == {"tag": "A", "steps": ["A.n1"]}
    assert await talk.end_of(*before.runs) == {"tag": "A", "steps": ["A.n1"]}


async def test_who_waits_for_a_run_that_is_rolled_back_is_told_so(talk: Talk) -> None:
    before = await in_later_node(talk)
    joined = asyncio.create_task(talk.end_of(*before.runs))
    second = await talk.say("B", "rollback")
    await talk.end_of(second)
    reason = f"superseded by run {second} (multitask_strategy=rollback)"
    assert await joined in (
        {"__error__": {"error": "UserRollback", "message": reason}},
        {"__error__": {"error": "HTTPException", "message": "404: Run not found"}},
    )


async def test_a_finished_run_keeps_its_own_result_when_others_follow(talk: Talk) -> None:
    runs = [await talk.say(tag) for tag in "AB"]
    await talk.end_of(*runs)
    assert await talk.end_of(runs[0]) == {"tag": "A", "steps": whole("A")}


async def test_a_failed_run_keeps_its_own_error_when_others_follow(talk: Talk) -> None:
    talk.hold("A.boom")
    runs = [await talk.say(tag, graph="fails") for tag in ("A", "fine")]
    talk.let("A.boom")
    await talk.end_of(*runs)
    assert await talk.end_of(runs[0]) == {"__error__": {"error": "ValueError", "message": "boom!"}}


async def test_one_can_see_which_run_took_over(talk: Talk) -> None:
    before = await in_later_node(talk)
    second = await talk.say("B", "interrupt")
    await talk.end_of(second)
    run: Any = await talk.client.runs.get(talk.thread_id, before.runs[0])
    assert run["cancel_reason"] == f"superseded by run {second} (multitask_strategy=interrupt)"


# --- The thread in the meantime ---------------------------------------------------------------------------------------


async def test_a_thread_is_busy_as_long_as_a_run_is_left(talk: Talk) -> None:
    before = await in_later_node(talk)
    queued = await talk.say("B")
    await talk.client.runs.cancel(talk.thread_id, queued, wait=True)
    assert (await talk.thread())["status"] == "busy"
    with pytest.raises(ConflictError):
        await talk.client.threads.update_state(talk.thread_id, {"steps": ["edited"]})
    talk.let(*before.held)
    await talk.end_of(*before.runs)
    assert (await talk.thread())["status"] == "idle"
    assert await talk.steps() == whole("A")
    assert await talk.status(queued) == "interrupted"


async def test_a_deleted_run_writes_nothing_more(talk: Talk) -> None:
    before = await in_later_node(talk)
    await talk.client.runs.delete(talk.thread_id, before.runs[0])
    assert (await talk.thread())["status"] != "busy"
    talk.let(*before.held)
    await talk.end_of(await talk.say("B", "reject"))
    assert await talk.steps() == ["A.n1", *whole("B")]
    assert_one_at_a_time(talk.log)
