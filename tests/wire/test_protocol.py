"""The event protocol of threads over HTTP: commands, and streams of what they bring about."""

import asyncio
import uuid
from itertools import pairwise
from typing import Any

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient

from tests.wire.protocol import ALL, command, ends, listening, run_of, said, start
from tests.wire.talk import Talk, whole

pytestmark = pytest.mark.anyio


def ask(city: str) -> dict[str, Any]:
    return {"messages": [{"role": "human", "content": f"what's the weather in {city}?"}]}


@pytest.fixture
def new_thread() -> str:
    """The id of a thread that does not exist yet."""
    return str(uuid.uuid4())


# --- streams ----------------------------------------------------------------------------------------------------------


async def test_a_run_is_told_from_its_start_to_its_end_to_whoever_opens_the_stream_afterwards(
    http: httpx.AsyncClient, client: LangGraphClient, new_thread: str
) -> None:
    run_id = await start(http, new_thread, "steps", input={"tag": "A"})
    await client.runs.join(new_thread, run_id)
    async with listening(http, new_thread) as stream:
        heard = await stream.until_end()
    assert (said(heard[0]), said(heard[-1])) == ("running", "completed")
    assert heard[0]["params"]["data"]["graph_name"] == "steps"
    assert {run_of(heard[0]), run_of(heard[-1])} == {run_id}
    steps = [event["params"]["data"]["steps"] for event in heard if event["method"] == "values"]
    assert steps == [[], ["A.n1"], ["A.n1", "A.n2"], whole("A")]
    assert [event["seq"] for event in heard] == sorted({event["seq"] for event in heard})
    for before, event in pairwise(heard):
        assert event["method"] != "values" or before["method"] == "checkpoints"


async def test_reading_again_gives_the_same_events_and_since_skips_those_seen(
    http: httpx.AsyncClient, client: LangGraphClient, new_thread: str
) -> None:
    await client.runs.join(new_thread, await start(http, new_thread, "steps", input={"tag": "A"}))
    async with listening(http, new_thread) as stream:
        first = await stream.until_end()
    async with listening(http, new_thread, since=0) as stream:
        assert await stream.until_end() == first
    async with listening(http, new_thread, since=first[-3]["seq"]) as stream:
        assert await stream.until_end() == first[-2:]
    assert len({event["event_id"] for event in first}) == len(first)


async def test_an_event_reads_the_same_in_its_envelope_and_in_the_fields_around_it(
    http: httpx.AsyncClient, new_thread: str
) -> None:
    async with listening(http, new_thread) as stream:
        await start(http, new_thread, "steps", input={"tag": "A"})
        heard = await stream.until_end()
    for event, fields in zip(heard, stream.raw, strict=True):
        assert (fields["event"], fields["id"]) == (event["method"], str(event["seq"]))
        assert event["type"] == "event"
        assert event["params"]["timestamp"] == event["seq"] // 1000


async def test_the_stream_of_a_thread_that_does_not_exist_shows_its_first_run(
    http: httpx.AsyncClient, new_thread: str
) -> None:
    async with listening(http, new_thread, "lifecycle") as stream:
        await start(http, new_thread, "steps", input={"tag": "A"})
        assert [said(event) for event in await stream.until_end()] == ["running", "completed"]


async def test_namespaces_and_depth_choose_among_the_graphs_of_a_run(
    http: httpx.AsyncClient, client: LangGraphClient, new_thread: str
) -> None:
    await client.runs.join(new_thread, await start(http, new_thread, "subgraph", input={"tag": "A"}))

    async def levels(**wanted: Any) -> set[str]:
        async with listening(http, new_thread, "values", **wanted) as stream:
            heard = await stream.until(lambda event: event["params"]["data"]["steps"][-1:] == last)
        return {"/".join(part.split(":")[0] for part in event["params"]["namespace"]) for event in heard}

    last = ["A.after"]
    assert await levels() == {"", "child"}
    assert await levels(namespaces=[[]], depth=1) == {"", "child"}
    assert await levels(namespaces=[[]], depth=0) == {""}
    last = ["A.c2"]
    assert await levels(namespaces=[["child"]]) == {"child"}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"channels": []},
        {"channels": None},
        {"channels": "values"},
        {"channels": ["values", "nonsense"]},
        {"channels": ["custom:"]},
        {"channels": ["values"], "depth": -1},
        {"channels": ["values"], "since": "soon"},
        {"channels": ["values"], "namespaces": ["child"]},
    ],
)
async def test_a_stream_nobody_can_open_is_refused(http: httpx.AsyncClient, new_thread: str, body: Any) -> None:
    answer = await http.post(f"/threads/{new_thread}/stream/events", json=body)
    assert answer.status_code == 400
    assert "channel" in answer.json()["detail"] or "$." in answer.json()["detail"]


async def test_a_page_that_opens_in_the_middle_of_a_run_hears_that_it_runs(
    http: httpx.AsyncClient, talk: Talk, thread: str
) -> None:
    talk.hold("A.n2")
    run_id = await talk.say("A")
    await talk.started("A.n2")
    async with listening(http, thread) as late, listening(http, thread, since=1) as knowing:
        running = await late.next()
        async with listening(http, thread) as later:
            talk.let("A.n2")
            heard = [running, *await late.until_end()]
            repeated = await later.until_end()
        assert [run_of(event) for event in heard if said(event) == "running"] == [run_id]
        assert said(running) == said(repeated[0]) == "running"
        assert running["event_id"] == repeated[0]["event_id"]
        assert "running" not in [said(event) for event in await knowing.until_end()]
    assert [event["event_id"] for event in repeated] == [event["event_id"] for event in heard]


async def test_a_page_that_opens_on_a_waiting_thread_hears_the_question(
    http: httpx.AsyncClient, client: LangGraphClient, talk: Talk, thread: str
) -> None:
    run_id = await talk.say("A", graph="ask")
    await talk.end_of(run_id)
    async with listening(http, thread, "lifecycle", "input") as stream:
        asked = await stream.next()
        assert asked["method"] == "input.requested"
        data = asked["params"]["data"]
        assert data["payload"] == data["value"] == {"question": "go on?", "tag": "A"}
        answer = await command(
            http, thread, "input.respond", namespace=[], interrupt_id=data["interrupt_id"], response="yes"
        )
        assert [said(event) for event in await stream.until_end()] == ["running", "completed"]
    assert await talk.steps() == ["A.before", "A.ask=yes", "A.after"]
    assert answer["result"]["run_id"] in await talk.listed()


async def test_a_question_that_was_stored_is_told_once(http: httpx.AsyncClient, new_thread: str) -> None:
    await start(http, new_thread, "ask", input={"tag": "A"})
    async with listening(http, new_thread) as stream:
        live = [said(event) for event in await stream.until_end()]
    async with listening(http, new_thread, "lifecycle", "input") as stream:
        replayed = [said(event) for event in await stream.until_end()]
        await start(http, new_thread, "ask", input="yes")
        rest = [said(event) for event in await stream.until_end()]
    assert [word for word in live if word in ("running", "input.requested", "interrupted")] == replayed
    assert replayed == ["running", "input.requested", "interrupted"]
    assert rest == ["running", "completed"]


async def test_the_state_can_be_read_when_the_end_is_heard(
    http: httpx.AsyncClient, client: LangGraphClient, new_thread: str
) -> None:
    async with listening(http, new_thread, "lifecycle") as stream:
        for count in range(1, 6):
            await start(http, new_thread, "steps", input={"tag": f"{count}"})
            await stream.until_end()
            state: Any = await client.threads.get_state(new_thread)
            assert (state["values"]["steps"][-1], state["next"], state["tasks"]) == (f"{count}.n3", [], [])


async def test_a_failed_run_says_why(http: httpx.AsyncClient, new_thread: str) -> None:
    async with listening(http, new_thread, "lifecycle") as stream:
        await start(http, new_thread, "fails", input={"tag": "A"})
        failed = (await stream.until_end())[-1]
    assert failed["params"]["data"] == {"event": "failed", "error": "boom!"}


# --- double texting ---------------------------------------------------------------------------------------------------


async def test_a_run_on_a_busy_thread_is_taken_at_once_and_runs_wait_in_order(
    http: httpx.AsyncClient, talk: Talk, thread: str
) -> None:
    talk.hold("A.n1")
    async with listening(http, thread, "lifecycle") as stream:
        runs = [await start(http, thread, "steps", input={"tag": tag}) for tag in "ABCD"]
        assert await talk.statuses(*runs) == ["running", "pending", "pending", "pending"]
        talk.let("A.n1")
        heard = [event for _ in runs for event in await stream.until_end()]
    assert [run_of(event) for event in heard if said(event) == "running"] == runs
    assert await talk.steps() == whole(*"ABCD")


@pytest.mark.parametrize("spelling", ["multitask_strategy", "multitaskStrategy"])
@pytest.mark.parametrize("strategy", ["interrupt", "rollback", "reject"])
async def test_each_strategy_does_on_a_busy_thread_what_it_does_elsewhere(
    http: httpx.AsyncClient, talk: Talk, thread: str, strategy: str, spelling: str
) -> None:
    talk.hold("A.n2")
    first = await start(http, thread, "steps", input={"tag": "A"})
    await talk.started("A.n2")
    async with listening(http, thread, "lifecycle") as stream:
        answer = await command(
            http, thread, "run.start", assistant_id="steps", input={"tag": "B"}, **{spelling: strategy}
        )
        if strategy == "reject":
            assert (answer["error"], answer["message"][:4]) == ("unknown_error", "409:")
            talk.let("A.n2")
        await stream.until_end()
        if strategy != "reject":
            await stream.until_end()
    steps = {"interrupt": ["A.n1", *whole("B")], "rollback": whole("B"), "reject": whole("A")}
    statuses = {"interrupt": "interrupted", "rollback": None, "reject": "success"}
    assert await talk.steps() == steps[strategy]
    assert await talk.status(first) == statuses[strategy]


async def test_a_run_that_was_superseded_before_it_began_is_told_to_be_over(
    http: httpx.AsyncClient, talk: Talk, thread: str
) -> None:
    talk.hold("A.n2")
    first = await start(http, thread, "steps", input={"tag": "A"})
    waiting = await start(http, thread, "steps", input={"tag": "B"})
    await talk.started("A.n2")
    async with listening(http, thread, "lifecycle") as stream:
        last = await start(http, thread, "steps", input={"tag": "C"}, multitask_strategy="interrupt")
        heard = await stream.until(lambda event: ends(event) and run_of(event) == last)
    over = {run_of(event): said(event) for event in heard if ends(event)}
    assert over == {first: "interrupted", waiting: "interrupted", last: "completed"}


# --- commands ---------------------------------------------------------------------------------------------------------


async def test_running_and_waiting_runs_can_be_cancelled(http: httpx.AsyncClient, talk: Talk, thread: str) -> None:
    talk.hold("A.n1")
    async with listening(http, thread, "lifecycle") as stream:
        first = await start(http, thread, "steps", input={"tag": "A"})
        second = await start(http, thread, "steps", input={"tag": "B"})
        await talk.started("A.n1")
        for run_id in (second, first):
            assert (await command(http, thread, "run.cancel", run_id=run_id))["result"] == {"run_id": run_id}
            ended = (await stream.until_end())[-1]
            assert (run_of(ended), said(ended)) == (run_id, "interrupted")
    again = await command(http, thread, "run.cancel", run_id=first)
    assert again["error"] == "no_such_run"


async def test_several_questions_are_answered_in_one_run_and_only_once(
    http: httpx.AsyncClient, talk: Talk, thread: str
) -> None:
    await talk.end_of(await talk.say("A", graph="two_questions"))
    async with listening(http, thread, "lifecycle", "input") as stream:
        asked = [(await stream.next())["params"]["data"] for _ in range(2)]
        answers = [{"interrupt_id": each["interrupt_id"], "response": each["payload"].upper()} for each in asked]
        answer = await command(http, thread, "input.respond", responses=answers)
        assert answer["type"] == "success"
        await stream.until_end()
    assert sorted(await talk.steps()) == ["A.after", "left=LEFT?", "right=RIGHT?"]
    again = await command(http, thread, "input.respond", responses=answers)
    assert again["error"] == "no_such_interrupt"
    assert asked[0]["interrupt_id"] in again["message"]


async def test_an_answer_may_come_as_soon_as_the_question_is_heard(
    http: httpx.AsyncClient, talk: Talk, thread: str
) -> None:
    async with listening(http, thread, "input") as stream:
        for number in range(5):
            await start(http, thread, "ask", input={"tag": f"{number}"})
            question = (await stream.next())["params"]["data"]["interrupt_id"]
            answer = await command(http, thread, "input.respond", interrupt_id=question, response="yes")
            assert answer["type"] == "success", answer
            await talk.end_of(answer["result"]["run_id"])
            assert (await talk.steps())[-2:] == [f"{number}.ask=yes", f"{number}.after"]


async def test_of_two_answers_at_the_same_time_one_counts(http: httpx.AsyncClient, talk: Talk, thread: str) -> None:
    await talk.end_of(await talk.say("A", graph="ask"))
    async with listening(http, thread, "lifecycle", "input") as stream:
        question = (await stream.next())["params"]["data"]["interrupt_id"]
        talk.hold("A.ask")
        replies = await asyncio.gather(
            *(command(http, thread, "input.respond", interrupt_id=question, response=say) for say in ("yes", "no"))
        )
        talk.let("A.ask")
        await stream.until_end()
    assert sorted(reply.get("error", "") for reply in replies) == ["", "no_such_interrupt"]
    assert len(await talk.listed()) == 2


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({}, "invalid_argument"),
        ({"response": "yes"}, "invalid_argument"),
        ({"responses": []}, "invalid_argument"),
        ({"interrupt_id": "nonsense", "response": "yes"}, "no_such_interrupt"),
    ],
)
async def test_an_answer_to_nothing_is_refused(
    http: httpx.AsyncClient, new_thread: str, params: dict[str, Any], code: str
) -> None:
    assert (await command(http, new_thread, "input.respond", **params))["error"] == code


async def test_a_run_goes_on_from_an_earlier_checkpoint(http: httpx.AsyncClient, talk: Talk, thread: str) -> None:
    await talk.end_of(await start(http, thread, "steps", input={"tag": "A"}))
    listed = await command(http, thread, "state.listCheckpoints", limit=3)
    early = listed["result"]["checkpoints"][2]
    assert early["step"] == 1
    forked = await command(http, thread, "state.fork", checkpoint_id=early["id"])
    assert forked["result"]["thread_id"] == thread
    await talk.end_of(forked["result"]["run_id"])
    assert talk.visits == [*whole("A"), "A.n2", "A.n3"]
    run_id = await start(http, thread, "steps", input={"tag": "B"}, forkFrom=early["id"])
    await talk.end_of(run_id)
    assert await talk.steps() == ["A.n1", *whole("B")]
    older = await command(http, thread, "state.listCheckpoints", limit=1, before=early["id"])
    assert older["result"]["checkpoints"][0]["step"] == 0


@pytest.mark.parametrize(
    ("method", "params"),
    [("state.fork", {}), ("run.start", {"assistant_id": "steps", "input": {"tag": "B"}})],
)
async def test_an_unknown_checkpoint_starts_nothing(
    http: httpx.AsyncClient, talk: Talk, thread: str, method: str, params: dict[str, Any]
) -> None:
    await talk.end_of(await talk.say("A"))
    name = "checkpoint_id" if method == "state.fork" else "forkFrom"
    answer = await command(http, thread, method, **params, **{name: str(uuid.uuid4())})
    assert answer["error"] == "no_such_checkpoint"
    assert len(await talk.listed()) == 1


async def test_the_state_is_read_as_a_whole_by_key_and_of_a_subgraph(
    http: httpx.AsyncClient, talk: Talk, thread: str
) -> None:
    talk.hold("A.c2")
    run_id = await start(http, thread, "subgraph", input={"tag": "A"}, durability="sync")
    await talk.started("A.c2")
    [task] = (await talk.state())["tasks"]
    inner = await command(http, thread, "state.get", namespace=[task["checkpoint"]["checkpoint_ns"]], keys=["steps"])
    talk.let("A.c2")
    await talk.end_of(run_id)
    assert inner["result"]["values"] == {"steps": ["A.before", "A.c1"]}
    state = await command(http, thread, "state.get", namespace=[])
    assert state["result"]["values"] == (await talk.state())["values"]
    assert state["result"]["checkpoint"]["id"] == (await talk.state())["checkpoint_id"]
    one = await command(http, thread, "state.get", namespace=[], keys=["tag", "nonsense"])
    assert one["result"]["values"] == {"tag": "A"}
    nowhere = await command(http, thread, "state.get", namespace=["nonsense:1"])
    assert nowhere["error"] == "no_such_namespace"
    of_child = [task["checkpoint"]["checkpoint_ns"]]
    listed = await command(http, thread, "state.listCheckpoints", namespace=of_child)
    assert [each["step"] for each in listed["result"]["checkpoints"]] == [2, 1, 0, -1]
    unlisted = await command(http, thread, "state.listCheckpoints", namespace=["nonsense:1"])
    assert unlisted["result"] == {"checkpoints": []}


async def test_the_tree_shows_the_subgraphs_of_a_run(http: httpx.AsyncClient, talk: Talk, thread: str) -> None:
    run_id = await start(http, thread, "subgraph", input={"tag": "A"})
    await talk.end_of(run_id)
    async with listening(http, thread, "lifecycle") as stream:
        await stream.until_end()
    tree = (await command(http, thread, "agent.getTree", run_id=run_id))["result"]["tree"]
    assert (tree["namespace"], tree["status"], tree["graph_name"]) == ([], "completed", "subgraph")
    [child] = tree["children"]
    assert (child["namespace"][0].split(":")[0], child["status"], child["graph_name"]) == (
        "child",
        "completed",
        "child",
    )


async def test_a_message_is_put_into_the_state(http: httpx.AsyncClient, talk: Talk, thread: str) -> None:
    message = {"role": "user", "content": "and in nyc?"}
    early = await command(http, thread, "input.inject", namespace=[], message=message)
    assert early["error"] == "invalid_argument"  # nobody knows which graph it is for
    await talk.end_of(await start(http, thread, "agent", input=ask("sf")))
    assert (await command(http, thread, "input.inject", namespace=[], message=message))["type"] == "success"
    messages = (await talk.state())["values"]["messages"]
    assert [(each["type"], each["content"]) for each in messages][-1] == ("human", "and in nyc?")
    talk.hold("nyc.model")
    await start(http, thread, "agent", input=ask("nyc"))
    busy = await command(http, thread, "input.inject", namespace=[], message=message)
    talk.let("nyc.model")
    assert busy["error"] == "not_supported"


async def test_a_graph_without_messages_takes_none(http: httpx.AsyncClient, talk: Talk, thread: str) -> None:
    await talk.end_of(await talk.say("A"))
    before = len(await talk.history())
    answer = await command(http, thread, "input.inject", message={"role": "user", "content": "hello"})
    assert answer["error"] == "not_supported"
    assert len(await talk.history()) == before


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("nonsense", {}, "unknown_command"),
        ("run.start", {}, "invalid_argument"),
        ("run.start", {"assistant_id": "nonsense"}, "invalid_argument"),
        ("run.start", {"assistant_id": str(uuid.UUID(int=0))}, "unknown_error"),
        ("run.start", {"assistant_id": "steps", "multitask_strategy": "nonsense"}, "invalid_argument"),
        ("run.start", {"assistant_id": "steps", "run_id": "nonsense"}, "invalid_argument"),
        ("run.cancel", {"run_id": "nonsense"}, "no_such_run"),
        ("agent.getTree", {}, "no_such_run"),
        ("state.get", {}, "unknown_error"),
        ("state.listCheckpoints", {"limit": 0}, "invalid_argument"),
        ("state.fork", {"checkpoint_id": "nonsense"}, "no_such_checkpoint"),
        ("input.inject", {"message": {"role": "ai", "content": ""}}, "invalid_argument"),
        ("subscription.subscribe", {"channels": ["values"]}, "not_supported"),
    ],
)
async def test_a_command_that_cannot_be_carried_out_says_why_and_changes_nothing(
    http: httpx.AsyncClient, new_thread: str, method: str, params: dict[str, Any], code: str
) -> None:
    answer = await command(http, new_thread, method, **params)
    assert (answer["type"], answer["error"]) == ("error", code)
    assert answer["message"]
    assert (await http.get(f"/threads/{new_thread}")).status_code == 404


@pytest.mark.parametrize(
    ("content", "number"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b'{"method": "run.start"}', None),
        (b'{"id": -1, "method": "run.start"}', -1),
        (b'{"id": 3}', 3),
        (b'{"id": 3, "method": 4}', 3),
        (b'{"id": 3, "method": "run.start", "params": {"assistant_id": "\\u0000"}}', None),
        (b'{"id": 3, "method": "run.start", "params": ' + b"[" * 300 + b"]" * 300 + b"}", None),
    ],
)
async def test_what_is_no_command_is_refused(
    http: httpx.AsyncClient, new_thread: str, content: bytes, number: int | None
) -> None:
    answer = await http.post(f"/threads/{new_thread}/commands", content=content)
    assert answer.status_code == 400
    assert (answer.json()["type"], answer.json()["error"], answer.json()["id"]) == ("error", "invalid_argument", number)


async def test_params_may_be_null_and_unknown_ones_are_ignored(http: httpx.AsyncClient, new_thread: str) -> None:
    answer = await http.post(
        f"/threads/{new_thread}/commands", json={"id": 1, "method": "agent.getTree", "params": None, "more": 1}
    )
    assert answer.json()["error"] == "no_such_run"


async def test_a_command_sent_twice_with_its_key_starts_one_run(
    http: httpx.AsyncClient, talk: Talk, thread: str
) -> None:
    body = {"id": 1, "method": "run.start", "params": {"assistant_id": "steps", "input": {"tag": "A"}}}
    sent = [
        await http.post(f"/threads/{thread}/commands", json=body, headers={"idempotency-key": "once"}) for _ in range(2)
    ]
    assert len({answer.json()["result"]["run_id"] for answer in sent}) == 1
    assert len(await talk.listed()) == 1


async def test_all_channels_can_be_asked_for(http: httpx.AsyncClient, new_thread: str) -> None:
    async with listening(http, new_thread, *ALL, "custom:mine") as stream:
        await start(http, new_thread, "agent", input=ask("sf"))
        methods = {event["method"] for event in await stream.until_end()}
    assert methods >= {"lifecycle", "values", "updates", "messages", "tools", "checkpoints", "tasks"}
