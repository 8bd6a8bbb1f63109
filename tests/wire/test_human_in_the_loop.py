"""A graph stops to ask a person, or at a breakpoint, and goes on with the answer."""

import asyncio
from typing import Any

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import ConflictError

from tests.wire.talk import Talk, whole

QUESTION = {"question": "go on?", "tag": "A"}
ANSWERED = ["A.before", "A.ask=yes", "A.after"]


async def asked(talk: Talk) -> str:
    """A thread that waits for an answer; the run that asked."""
    run = await talk.say("A", graph="ask")
    await talk.end_of(run)
    return run


async def answer(talk: Talk, command: Any, graph: str = "ask", **options: Any) -> Any:
    """Resume and wait; what `wait` answers."""
    return await talk.client.runs.wait(talk.thread_id, graph, command=command, **options)


# --- The question -----------------------------------------------------------------------------------------------------


async def test_a_question_is_seen_on_run_thread_and_state(talk: Talk) -> None:
    run = await asked(talk)
    assert await talk.status(run) == "success"

    state, thread = await talk.state(), await talk.thread()
    assert (state["values"], state["next"]) == ({"tag": "A", "steps": ["A.before"]}, ["ask"])
    [task] = state["tasks"]
    [question] = task["interrupts"]
    assert (task["name"], task["error"], question["value"]) == ("ask", None, QUESTION)
    assert isinstance(question["id"], str)
    assert state["interrupts"] == [question]
    assert (thread["status"], thread["error"]) == ("interrupted", None)
    assert thread["interrupts"] == {task["id"]: [question]}
    assert thread["values"] == state["values"]


async def test_who_waits_gets_the_question_with_the_values(talk: Talk) -> None:
    values: Any = await talk.client.runs.wait(talk.thread_id, "ask", input={"tag": "A"})
    [question] = (await talk.state())["interrupts"]
    assert values == {"tag": "A", "steps": ["A.before"], "__interrupt__": [question]}
    [run] = await talk.listed()
    assert await talk.end_of(run) == values


async def test_threads_that_wait_for_an_answer_can_be_found(talk: Talk, client: LangGraphClient) -> None:
    await asked(talk)
    found = await client.threads.search(ids=[talk.thread_id], status="interrupted")
    assert [thread["thread_id"] for thread in found] == [talk.thread_id]
    assert found[0]["interrupts"] == (await talk.thread())["interrupts"]


async def test_the_question_is_streamed_after_what_led_to_it(talk: Talk) -> None:
    stream = talk.client.runs.stream(talk.thread_id, "ask", input={"tag": "A"}, stream_mode=["updates", "values"])
    events = [(part.event, part.data) async for part in stream]
    [question] = (await talk.state())["interrupts"]
    values = {"tag": "A", "steps": ["A.before"]}
    assert events[1:] == [
        ("values", {"tag": "A", "steps": []}),
        ("updates", {"before": {"steps": ["A.before"]}}),
        ("values", values),
        ("updates", {"__interrupt__": [question]}),
        ("values", {**values, "__interrupt__": [question]}),
    ]


# --- The answer -------------------------------------------------------------------------------------------------------


async def test_an_answer_lets_the_graph_go_on(talk: Talk) -> None:
    await asked(talk)
    assert await answer(talk, {"resume": "yes"}) == {"tag": "A", "steps": ANSWERED}
    thread = await talk.thread()
    assert (thread["status"], thread["interrupts"]) == ("idle", {})
    state = await talk.state()
    assert (state["next"], state["tasks"], state["interrupts"]) == ([], [], [])
    assert await talk.statuses(*await talk.listed()) == ["success", "success"]
    assert talk.visits == ["A.before", "A.ask", "A.after"]


@pytest.mark.parametrize("value", [False, 0, "", {"a": [1]}, ["x"]], ids=repr)
async def test_an_answer_may_be_any_value(talk: Talk, value: object) -> None:
    await asked(talk)
    await answer(talk, {"resume": value})
    assert await talk.steps() == ["A.before", f"A.ask={value}", "A.after"]


async def test_an_answer_may_name_its_question(talk: Talk) -> None:
    await asked(talk)
    [question] = (await talk.state())["interrupts"]
    await answer(talk, {"resume": {question["id"]: "yes"}})
    assert await talk.steps() == ANSWERED


async def two_questions(talk: Talk) -> dict[str, str]:
    """A thread that waits for two answers; the id of each question."""
    await talk.end_of(await talk.say("A", graph="two_questions"))
    return {question["value"]: question["id"] for question in (await talk.state())["interrupts"]}


async def test_several_questions_are_answered_at_once(talk: Talk) -> None:
    ids = await two_questions(talk)
    resume = {ids["left?"]: "L", ids["right?"]: "R"}
    values = await answer(talk, {"resume": resume}, "two_questions")
    assert values["steps"] == ["left=L", "right=R", "A.after"]


async def test_several_questions_are_answered_one_by_one(talk: Talk) -> None:
    ids = await two_questions(talk)
    values = await answer(talk, {"resume": {ids["right?"]: "R"}}, "two_questions")
    assert [question["value"] for question in values["__interrupt__"]] == ["left?"]
    assert (await talk.thread())["status"] == "interrupted"
    values = await answer(talk, {"resume": {ids["left?"]: "L"}}, "two_questions")
    assert values["steps"] == ["left=L", "right=R", "A.after"]
    assert (await talk.thread())["status"] == "idle"


async def test_one_value_for_two_questions_is_an_error_that_says_so(talk: Talk) -> None:
    await two_questions(talk)
    failed = await answer(talk, {"resume": "both"}, "two_questions", raise_error=False)
    assert failed["__error__"]["error"] == "UnknownInterruptError"
    assert "interrupt id" in failed["__error__"]["message"]
    assert len((await talk.state())["interrupts"]) == 2


async def test_an_answer_can_change_the_state_too(talk: Talk) -> None:
    await asked(talk)
    await answer(talk, {"resume": "yes", "update": {"steps": ["edited"]}})
    assert await talk.steps() == ["A.before", "edited", "A.ask=yes", "A.after"]


async def test_a_command_can_change_the_state_and_go_to_a_node(talk: Talk) -> None:
    await talk.end_of(await talk.say("A"))
    await answer(talk, {"goto": "n2", "update": {"steps": ["edited"]}}, "steps")
    assert await talk.steps() == [*whole("A"), "edited", "A.n2", "A.n3"]


async def test_going_somewhere_else_does_not_answer_the_question(talk: Talk) -> None:
    await asked(talk)
    await answer(talk, {"goto": "after"})
    assert talk.visits == ["A.before", "A.after"]
    assert [each["value"] for each in (await talk.state())["interrupts"]] == [QUESTION]
    assert (await talk.thread())["status"] == "interrupted"


async def test_a_command_can_send_a_node_an_input_of_its_own(talk: Talk) -> None:
    await talk.end_of(await talk.say("A"))
    await answer(talk, {"goto": {"node": "n3", "input": {"tag": "sent", "steps": []}}}, "steps")
    assert await talk.steps() == [*whole("A"), "sent.n3"]


async def test_a_new_input_drops_the_question(talk: Talk) -> None:
    await asked(talk)
    await talk.end_of(await talk.say("B", graph="ask"))
    [question] = (await talk.state())["interrupts"]
    assert question["value"] == {"question": "go on?", "tag": "B"}
    await answer(talk, {"resume": "yes"})
    assert await talk.steps() == ["A.before", "B.before", "B.ask=yes", "B.after"]


async def test_an_edited_state_is_what_the_answer_goes_on_from(talk: Talk) -> None:
    await asked(talk)
    await talk.client.threads.update_state(talk.thread_id, {"steps": ["edited"]}, as_node="ask")
    thread = await talk.thread()
    assert (thread["status"], thread["interrupts"]) == ("interrupted", {})
    await talk.end_of(await talk.say("A", graph="ask", input=None))
    assert await talk.steps() == ["A.before", "edited", "A.after"]


# --- Answers that answer nothing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("resume", ["yes", {"0" * 32: "yes"}])
async def test_an_answer_nobody_waits_for_is_an_error_and_leaves_the_thread_alone(talk: Talk, resume: Any) -> None:
    await talk.end_of(await talk.say("A"))
    before = await talk.thread(), await talk.state()
    run = await talk.say("A", input=None, command={"resume": resume})
    await talk.end_of(run)
    after = await talk.thread(), await talk.state()
    assert await talk.statuses(run) == ["error"]
    assert (after[0]["status"], after[0]["values"], after[1]["values"]) == (
        "idle",
        before[0]["values"],
        before[1]["values"],
    )


async def test_a_client_may_ask_for_answers_to_be_taken_as_they_come(talk: Talk, http: httpx.AsyncClient) -> None:
    await talk.end_of(await talk.say("A"))
    body = {"assistant_id": "steps", "command": {"resume": "yes"}, "strict_resume": False}
    made = (await http.post(f"/threads/{talk.thread_id}/runs", json=body)).json()
    await talk.end_of(made["run_id"])
    assert await talk.statuses(made["run_id"]) == ["success"]


# --- Two answers at once ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "statuses", "steps"),
    [
        ("reject", ["success"], ANSWERED),
        ("enqueue", ["success", "error"], ANSWERED),
        ("interrupt", ["interrupted", "success"], ["A.before", "A.ask=no", "A.after"]),
        ("rollback", [None, "success"], ["A.before", "A.ask=no", "A.after"]),
    ],
)
async def test_a_second_answer_while_the_first_is_worked_on(
    talk: Talk, strategy: str, statuses: list[str | None], steps: list[str]
) -> None:
    await asked(talk)
    talk.hold("A.ask")
    runs = [await talk.say("A", graph="ask", input=None, command={"resume": "yes"})]
    await talk.started("A.ask")
    again = talk.say("A", strategy, graph="ask", input=None, command={"resume": "no"})
    if strategy == "reject":
        with pytest.raises(ConflictError):
            await again
    else:
        runs.append(await again)
    if strategy in ("interrupt", "rollback"):
        await talk.started("A.ask", times=2)
    talk.let("A.ask")
    await talk.end_of(*runs)
    assert await talk.statuses(*runs) == statuses
    assert await talk.steps() == steps
    thread = await talk.thread()
    assert (thread["status"], thread["interrupts"]) == ("idle", {})


@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
async def test_a_new_input_while_an_answer_is_worked_on(talk: Talk, strategy: str) -> None:
    await asked(talk)
    talk.hold("A.ask")
    await talk.say("A", graph="ask", input=None, command={"resume": "yes"})
    await talk.started("A.ask")
    await talk.end_of(await talk.say("B", strategy, graph="ask"))
    assert await talk.steps() == ["A.before", "B.before"]
    [question] = (await talk.state())["interrupts"]
    assert question["value"] == {"question": "go on?", "tag": "B"}


async def test_an_answer_that_is_rolled_back_leaves_the_question_open(talk: Talk) -> None:
    await asked(talk)
    before = await talk.thread()
    talk.hold("A.ask")
    resumed = await talk.say("A", graph="ask", input=None, command={"resume": "yes"})
    await talk.started("A.ask")
    await talk.client.runs.cancel(talk.thread_id, resumed, action="rollback", wait=True)
    after = await talk.thread()
    assert (after["status"], after["interrupts"]) == ("interrupted", before["interrupts"])
    assert [each["value"] for each in (await talk.state())["interrupts"]] == [QUESTION]
    talk.let("A.ask")
    await answer(talk, {"resume": "no"})
    assert await talk.steps() == ["A.before", "A.ask=no", "A.after"]


# --- Breakpoints ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "done"),
    [
        ({"interrupt_before": ["n2"]}, ["A.n1"]),
        ({"interrupt_after": ["n2"]}, ["A.n1", "A.n2"]),
        ({"interrupt_after": "*"}, ["A.n1"]),
        ({"interrupt_before": "*"}, []),
    ],
    ids=str,
)
async def test_a_run_stops_at_its_breakpoint_and_goes_on_without_an_input(
    talk: Talk, options: dict[str, Any], done: list[str]
) -> None:
    run = await talk.say("A", **options)
    await talk.end_of(run)
    left = whole("A")[len(done) :]
    assert await talk.status(run) == "success"
    assert (await talk.state())["next"] == [left[0].removeprefix("A.")]
    thread = await talk.thread()
    assert (thread["status"], thread["interrupts"], thread["values"]["steps"]) == ("interrupted", {}, done)

    await talk.end_of(await talk.say("A", input=None))
    assert await talk.steps() == talk.visits == whole("A")
    assert (await talk.thread())["status"] == "idle"


async def test_a_breakpoint_after_the_last_node_leaves_nothing_to_do(talk: Talk) -> None:
    await talk.end_of(await talk.say("A", interrupt_after=["n3"]))
    assert await talk.steps() == whole("A")
    assert (await talk.thread())["status"] == "idle"


async def test_a_breakpoint_is_streamed_as_an_interrupt_without_a_question(talk: Talk) -> None:
    stream = talk.client.runs.stream(
        talk.thread_id, "steps", input={"tag": "A"}, stream_mode=["updates", "values"], interrupt_before=["n2"]
    )
    events = [(part.event, part.data) async for part in stream]
    assert events[-2:] == [("values", {"tag": "A", "steps": ["A.n1"]}), ("updates", {"__interrupt__": []})]


# --- Who else is on the thread ----------------------------------------------------------------------------------------


async def test_an_input_that_waited_its_turn_runs_after_the_question(talk: Talk) -> None:
    talk.hold("A.before")
    first = await talk.say("A", graph="ask")
    second = await talk.say("B", "enqueue", graph="ask")
    talk.let("A.before")
    await talk.end_of(first, second)
    assert await talk.statuses(first, second) == ["success", "success"]
    assert await talk.steps() == ["A.before", "B.before"]
    assert (await talk.thread())["status"] == "interrupted"


async def test_questions_on_other_threads_are_not_touched(talk: Talk, client: LangGraphClient) -> None:
    other = (await client.threads.create())["thread_id"]
    await asyncio.gather(asked(talk), client.runs.wait(other, "ask", input={"tag": "A"}))
    await answer(talk, {"resume": "yes"})
    assert (await client.threads.get(other))["status"] == "interrupted"
