"""Requests that must not be carried out twice, or only if the thread is as the client thinks, or not without bound."""

import asyncio
import itertools
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.interleaving.driver import APP, NODES, Line, journal, new_line, on_disk
from tests.interleaving.sockets import Answer, Http
from tests.nursery import Nursery, Start
from tests.wire.live import Live, free_port

BODY = {"assistant_id": "talk", "input": {"tag": "A", "said": ["A"]}}


async def send(line: Line, key: str, *, how: str = "runs", **changes: object) -> Answer:
    """An input with an `Idempotency-Key`."""
    path = f"/threads/{line.thread_id}/{how}"
    return await line.http.post(path, {**BODY, **changes}, {"idempotency-key": key})


def run_of(answer: Answer) -> str:
    """The run an answer is about."""
    assert answer.status_code == 200, answer.text
    return answer.headers["content-location"].rpartition("/")[2]


# --- Idempotency-Key --------------------------------------------------------------------------------------------------


async def test_a_request_that_is_repeated_makes_one_run(line: Line) -> None:
    first, second = await send(line, "k"), await send(line, "k")
    assert second.json()["run_id"] == first.json()["run_id"]
    await line.end_of(run_of(first))
    third = await send(line, "k")
    assert (run_of(third), third.json()["status"]) == (run_of(first), "success")
    assert (await line.values())["said"] == ["A"]


@pytest.mark.parametrize("how", ["runs", "runs/stream", "runs/wait"])
async def test_twenty_equal_requests_at_once_make_one_run(line: Line, server: Live, how: str) -> None:
    answers = await asyncio.gather(*(send(line, "k", how=how) for _ in range(20)))
    assert len({run_of(answer) for answer in answers}) == 1
    await line.end_of(run_of(answers[0]))
    assert (await line.values())["said"] == ["A"]
    assert [event.place for event in line.log if event.what == "began"] == [f"A.{node}" for node in NODES]
    with on_disk(server) as connection:
        assert [note.event for note in journal(connection, line.thread_id)] == ["created", "started", "ended"]


async def test_repeated_waits_all_get_the_result(line: Line) -> None:
    line.hold("A.n1")
    waits = [asyncio.create_task(send(line, "k", how="runs/wait")) for _ in range(20)]
    await line.at("A.n1")
    line.let("A.n1")
    assert [(await wait).json()["said"] for wait in waits] == [["A"]] * 20


async def test_a_repeated_interrupt_does_not_interrupt_its_own_run(line: Line) -> None:
    line.hold("A.n2")
    first = await send(line, "k", multitask_strategy="interrupt")
    await line.at("A.n2")
    again = await send(line, "k", multitask_strategy="interrupt")
    assert again.json()["run_id"] == run_of(first)
    assert await line.status(run_of(first)) == "running"
    line.let("A.n2")
    await line.end_of(run_of(first))
    assert await line.status(run_of(first)) == "success"


async def test_a_key_stands_for_one_body(line: Line) -> None:
    first = await send(line, "k")
    refused = await send(line, "k", input={"tag": "B", "said": ["B"]})
    assert refused.status_code == 409
    assert "another body" in refused.json()["detail"]
    await line.end_of(run_of(first))
    assert list(await line.runs()) == [run_of(first)]


async def test_the_same_key_on_another_thread_is_another_run(line: Line, http: Http, server: Live) -> None:
    other = await new_line(http, server)
    first, second = await send(line, "k"), await send(other, "k", input={"tag": "B", "said": ["B"]})
    assert run_of(first) != run_of(second)
    await line.end_of(run_of(first))
    await other.end_of(run_of(second))
    assert ((await line.values())["said"], (await other.values())["said"]) == (["A"], ["B"])


@pytest.mark.parametrize("how", ["runs", "runs/wait"])
async def test_a_repeated_request_without_a_thread_makes_one_run(http: Http, how: str) -> None:
    key = {"idempotency-key": str(uuid4())}
    body = {**BODY, "on_completion": "keep"}
    answers = await asyncio.gather(*(http.post(f"/{how}", body, key) for _ in range(20)))
    assert len({run_of(answer) for answer in answers}) == 1
    assert (await http.post("/runs", {**body, "metadata": {"other": 1}}, key)).status_code == 409


async def test_a_refused_request_does_not_use_up_its_key(line: Line) -> None:
    line.hold("A.n1")
    first = await send(line, "first")
    refused = await send(line, "second", multitask_strategy="reject")
    assert refused.status_code == 409
    line.let("A.n1")
    await line.end_of(run_of(first))
    second = await send(line, "second", multitask_strategy="reject")
    await line.end_of(run_of(second))
    assert (await line.values())["said"] == ["A", "A"]


async def test_a_key_outlives_a_crash(start: Start) -> None:
    live = start()
    line = await new_line(Http(live.port), live)
    line.hold("A.n2")
    made = run_of(await send(line, "k"))
    await line.at("A.n2")
    live.kill()
    line.let("A.n2")
    start()
    assert run_of(await send(line, "k")) == made
    await line.end_of(made)
    assert await line.values() == {"tag": "A", "said": ["A"], "steps": [f"A.{node}" for node in NODES]}


# --- A run id of the client's own -------------------------------------------------------------------------------------


async def test_a_client_may_name_its_run_but_only_once(line: Line, http: Http, server: Live) -> None:
    run_id = str(uuid4())
    made = await http.post(f"/threads/{line.thread_id}/runs", {**BODY, "run_id": run_id})
    assert made.json()["run_id"] == run_id
    other = await new_line(http, server)
    for where in (line, other):
        for strategy in ("enqueue", "interrupt"):
            taken = {**BODY, "run_id": run_id, "multitask_strategy": strategy}
            assert (await http.post(f"/threads/{where.thread_id}/runs", taken)).status_code == 409
    await line.end_of(run_id)
    assert await line.status(run_id) == "success"
    assert await other.runs() == {}


async def test_of_ten_runs_of_one_name_one_is_made(line: Line, http: Http) -> None:
    body = {**BODY, "run_id": str(uuid4())}
    answers = await asyncio.gather(*(http.post(f"/threads/{line.thread_id}/runs/wait", body) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 9
    assert (await line.values())["said"] == ["A"]


# --- If the thread is as the client thinks ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allowed", "code"),
    [("idle", 409), ("busy", 200), (["idle", "error"], 409), (["idle", "busy"], 200), ([], 200), (None, 200)],
)
async def test_an_input_for_a_thread_that_is_not_what_the_client_saw_is_refused(
    line: Line, allowed: object, code: int
) -> None:
    line.hold("A.n1")
    await line.say("A")
    await line.at("A.n1")
    answer = await line.say("B", "interrupt", if_thread_status=allowed)
    assert answer.status_code == code
    line.let("A.n1")
    for said in line.accepted:
        await line.end_of(said.run_id)
    assert (await line.values())["said"] == (["A", "B"] if code == 200 else ["A"])
    assert await line.status(line.said[0].run_id) == ("interrupted" if code == 200 else "success")


async def test_of_two_clients_that_both_saw_an_idle_thread_one_is_refused(line: Line) -> None:
    line.hold("A.n1", "B.n1")
    answers = await asyncio.gather(*(line.say(tag, "enqueue", if_thread_status="idle") for tag in "AB"))
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    line.let("A.n1", "B.n1")
    await line.end_of(line.accepted[0].run_id)


async def waiting_for_a_human(line: Line) -> None:
    """A thread that asks."""
    said = line.prepare("A", "enqueue")
    said.body["input"]["ask"] = True
    await line.http.post(f"/threads/{line.thread_id}/runs/wait", said.body)
    assert (await line.thread())["status"] == "interrupted"


async def test_an_input_to_a_thread_that_asks_may_pass_the_question_by(line: Line) -> None:
    await waiting_for_a_human(line)
    await line.say("B", "enqueue", how="runs/wait", if_waiting="continue")
    assert (await line.values())["steps"] == ["A.n1", *(f"B.{node}" for node in NODES)]


async def test_an_input_to_a_thread_that_asks_can_be_refused(line: Line) -> None:
    await waiting_for_a_human(line)
    before = await line.thread()
    assert (await line.say("B", "enqueue", if_waiting="reject")).status_code == 409
    assert await line.thread() == before
    answer = {**BODY, "input": None, "command": {"resume": "yes"}, "if_waiting": "reject"}
    assert (await line.http.post(f"/threads/{line.thread_id}/runs/wait", answer)).status_code == 200
    assert (await line.values())["steps"] == ["A.n1", "A.n2=yes", "A.n3"]


async def test_an_input_to_a_thread_that_asks_can_be_the_answer(line: Line) -> None:
    await waiting_for_a_human(line)
    body = {**BODY, "input": "yes", "if_waiting": "resume"}
    answered = await line.http.post(f"/threads/{line.thread_id}/runs/wait", body)
    assert answered.json()["steps"] == ["A.n1", "A.n2=yes", "A.n3"]
    assert (await line.values())["said"] == ["A"]


async def test_of_two_answers_to_one_question_the_second_is_an_input_of_its_own(line: Line) -> None:
    await waiting_for_a_human(line)
    line.hold("A.n3")
    body = {**BODY, "input": {"tag": "B", "said": ["B"], "ask": False}, "if_waiting": "resume"}
    path = f"/threads/{line.thread_id}/runs"
    answers = [run_of(answer) for answer in await asyncio.gather(*(line.http.post(path, body) for _ in range(2)))]
    await line.at("A.n3")
    line.let("A.n3")
    for run_id in answers:
        await line.end_of(run_id)
    values = await line.values()
    assert values["said"] == ["A", "B"]
    assert values["steps"][0] == "A.n1"
    assert values["steps"][1].startswith("A.n2=")
    assert values["steps"][2:] == ["A.n3", *(f"B.{node}" for node in NODES)]


# --- Not without bound ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def narrow(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server on whose threads three runs may wait, none longer than a second."""
    limits = {"TURNKEEPER_MAX_QUEUED_PER_THREAD": "3", "TURNKEEPER_RUN_TIMEOUT": "0.5"}
    with nursery.start(tmp_path_factory.mktemp("narrow"), free_port(), APP, **limits) as live:
        yield live


@pytest.fixture
async def queue(narrow: Live) -> Line:
    """A thread with a full queue."""
    line = await new_line(Http(narrow.port), narrow)
    line.hold("A.n1")
    for tag in "ABCD":
        assert (await line.say(tag, "enqueue", run_timeout=40)).status_code == 200
    return line


@pytest.mark.parametrize("how", ["runs", "runs/stream", "runs/wait"])
async def test_a_full_queue_says_when_to_come_again(queue: Line, how: str) -> None:
    refused = await queue.say("E", "enqueue", how=how)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert "max_queued_per_thread" in refused.json()["detail"]
    queue.let("A.n1")
    for said in queue.accepted:
        await queue.end_of(said.run_id)
    assert (await queue.say("F", "enqueue", how="runs/wait")).status_code == 200
    assert (await queue.values())["said"] == ["A", "B", "C", "D", "F"]


async def test_an_input_that_empties_a_full_queue_is_taken(queue: Line) -> None:
    assert (await queue.say("E", "interrupt")).status_code == 200
    await queue.end_of(queue.accepted[-1].run_id)
    assert (await queue.values())["said"] == ["A", "B", "C", "D", "E"]


async def test_an_input_that_leaves_a_full_queue_as_it_is_is_refused(queue: Line) -> None:
    assert (await queue.say("E", "interrupt", queued_on_interrupt="keep")).status_code == 429
    assert await queue.status(queue.accepted[0].run_id) == "running"
    queue.let("A.n1")
    for said in queue.accepted:
        await queue.end_of(said.run_id)


async def test_an_input_that_may_not_wait_is_told_so_although_the_queue_is_full(queue: Line) -> None:
    assert (await queue.say("E", "reject")).status_code == 409
    queue.let("A.n1")
    for said in queue.accepted:
        await queue.end_of(said.run_id)


async def test_of_twenty_inputs_at_once_only_as_many_are_taken_as_may_wait(narrow: Live) -> None:
    line = await new_line(Http(narrow.port), narrow)
    line.hold("A.n1")
    await line.say("A", run_timeout=40)
    await line.at("A.n1")
    answers = await asyncio.gather(*(line.say(f"B{number}", "enqueue") for number in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [429] * 17
    line.let("A.n1")
    for said in line.accepted:
        await line.end_of(said.run_id)


# --- Not for ever -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["setting", "request"])
async def test_a_run_that_takes_too_long_ends_and_the_next_one_starts(narrow: Live, server: Live, by: str) -> None:
    live = narrow if by == "setting" else server
    options: dict[str, Any] = {} if by == "setting" else {"run_timeout": 0.3}
    line = await new_line(Http(live.port), live)
    line.hold("A.n2")
    await line.say("A", **options)
    await line.say("B", "enqueue")
    first, second = (said.run_id for said in line.accepted)
    result = await line.end_of(first)
    assert result["__error__"]["error"] == "TimeoutError"
    await line.end_of(second)
    assert [await line.status(run_id) for run_id in (first, second)] == ["timeout", "success"]
    assert (await line.values())["steps"] == ["A.n1", *(f"B.{node}" for node in NODES)]
    assert (await line.thread())["status"] == "idle"


async def test_the_stream_of_a_run_that_takes_too_long_says_so(line: Line) -> None:
    line.hold("A.n2")
    answer = await line.say("A", how="runs/stream", run_timeout=0.3)
    names = [event for event, _ in answer.events()]
    assert "error" in names
    assert answer.events()[-1] == ("end", {"status": "timeout", "reason": "The run took longer than 0.3 seconds."})


@pytest.mark.parametrize("timeout", [0, -1, "soon"])
async def test_a_time_that_makes_no_sense_is_refused(line: Line, timeout: object) -> None:
    assert (await line.say("A", run_timeout=timeout)).status_code == 422
    assert list(itertools.islice(await line.runs(), 1)) == []
