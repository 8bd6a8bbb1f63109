"""Runs of a thread: made, waited for, joined, listed, cancelled, deleted, and what reaches the graph."""

import asyncio
from typing import Any

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient, SyncLangGraphClient
from langgraph_sdk.errors import NotFoundError

from tests.wire.live import Gates

ABSENT = "01900000-0000-7000-8000-000000000000"
ALL = ["A.n1", "A.n2", "A.n3"]


async def steps(client: LangGraphClient, thread: str) -> list[str]:
    """What ran on the thread and was kept."""
    state: Any = await client.threads.get_state(thread)
    return state["values"]["steps"]


# How a run is made.


async def test_a_new_run_says_all_about_itself(client: LangGraphClient, gates: Gates, thread: str) -> None:
    await client.threads.update(thread, metadata={"owner": "ada", "mark": "thread"})
    gates.hold(thread, "A.n1")
    run: Any = await client.runs.create(thread, "steps", input={"tag": "A"}, metadata={"mark": "run"})
    assistant = await client.assistants.get("steps")
    gates.let(thread, "A.n1")
    assert (run["thread_id"], run["assistant_id"]) == (thread, assistant["assistant_id"])
    assert run["multitask_strategy"] == "enqueue"
    assert run["status"] in ("pending", "running")
    assert run["created_at"].endswith("+00:00")
    assert run["metadata"] == {
        "created_by": "system",
        "owner": "ada",
        "mark": "run",
        "graph_id": "steps",
        "assistant_id": assistant["assistant_id"],
    }
    kwargs = run["kwargs"]
    assert kwargs["input"] == {"tag": "A"}
    assert kwargs["stream_mode"] == ["values"]
    configurable = kwargs["config"]["configurable"]
    assert configurable.items() >= {"run_id": run["run_id"], "thread_id": thread, "graph_id": "steps"}.items()
    assert not [key for key in configurable if key.startswith("__")]
    await client.runs.join(thread, run["run_id"])
    ended: Any = await client.runs.get(thread, run["run_id"])
    assert ended["status"] == "success"
    assert ended["updated_at"] > run["created_at"]
    assert {**ended, "status": run["status"], "updated_at": run["updated_at"]} == run


@pytest.mark.parametrize(
    ("call", "location"), [("", None), ("/stream", "/stream"), ("/wait", "/join")], ids=["create", "stream", "wait"]
)
async def test_headers_say_where_the_run_is(http: httpx.AsyncClient, thread: str, call: str, location: Any) -> None:
    body = {"assistant_id": "steps", "input": {"tag": "A"}}
    answer = await http.post(f"/threads/{thread}/runs{call}", json=body)
    path = answer.headers["content-location"]
    assert path.startswith(f"/threads/{thread}/runs/")
    assert answer.headers.get("location") == (path + location if location else None)
    assert (await http.get(path)).json()["thread_id"] == thread
    if location:
        assert (await http.get(answer.headers["location"])).status_code == 200


async def test_the_client_is_told_the_ids_at_once(client: LangGraphClient, thread: str) -> None:
    told: list[Any] = []
    await client.runs.create(thread, "steps", input={"tag": "A"}, on_run_created=told.append)
    await client.runs.wait(thread, "steps", input={"tag": "B"}, on_run_created=told.append)
    async for _ in client.runs.stream(thread, "steps", input={"tag": "C"}, on_run_created=told.append):
        pass
    listed = [run["run_id"] for run in await client.runs.list(thread)]
    assert [each["run_id"] for each in told] == listed[::-1]
    assert {each["thread_id"] for each in told} == {thread}


async def test_every_null_counts_as_not_given(http: httpx.AsyncClient, thread: str) -> None:
    fields = [
        "command", "config", "context", "metadata", "checkpoint", "checkpoint_id", "checkpoint_during", "durability",
        "interrupt_before", "interrupt_after", "stream_mode", "stream_subgraphs", "stream_resumable", "feedback_keys",
        "webhook", "multitask_strategy", "if_not_exists", "on_disconnect", "on_completion", "after_seconds",
        "langsmith_tracer", "strict_resume",
    ]  # fmt: skip
    body = {"assistant_id": "steps", "input": {"tag": "A"}, **dict.fromkeys(fields), "unknown": 1, "assistantId": "x"}
    answer = await http.post(f"/threads/{thread}/runs/wait", json=body)
    assert answer.json() == {"tag": "A", "steps": ALL}


@pytest.mark.parametrize(
    "options",
    [
        {"webhook": "https://example.org/hook"},
        {"feedback_keys": ["thumbs"]},
        {"durability": "sync"},
        {"durability": "async"},
        {"durability": "exit"},
        {"checkpoint_during": True},
        {"checkpoint_during": False},
        {"stream_resumable": True},
        {"on_disconnect": "continue"},
        {"on_completion": "keep"},
        {"langsmith_tracer": {"project_name": "p"}},
        {"strict_resume": True},
        {"after_seconds": 0},
        {"after_seconds": -5},
        {"config": {"recursion_limit": 50, "tags": ["a"], "max_concurrency": 2, "run_name": "mine"}},
        {"stream_mode": []},
        {"stream_mode": ["values", "values"]},
        {"stream_mode": ["tools", "lifecycle"]},
        {"command": {}},
        {"command": {"resume": None, "update": None, "goto": []}},
    ],
    ids=str,
)
async def test_an_option_the_clients_know_is_accepted(http: httpx.AsyncClient, thread: str, options: Any) -> None:
    body = {"assistant_id": "steps", "input": {"tag": "A"}, **options}
    answer = await http.post(f"/threads/{thread}/runs/wait", json=body)
    assert answer.status_code == 200
    assert answer.json() == {"tag": "A", "steps": ALL}
    [run] = (await http.get(f"/threads/{thread}/runs")).json()
    assert run["status"] == "success"


async def test_a_missing_thread_is_made_only_when_asked_for(client: LangGraphClient, http: httpx.AsyncClient) -> None:
    thread = "01900000-0000-7000-8000-00000000cafe"
    for reject in ({}, {"if_not_exists": "reject"}):
        answer = await http.post(f"/threads/{thread}/runs", json={"assistant_id": "steps", **reject})
        assert answer.status_code == 404
    values = await client.runs.wait(thread, "steps", input={"tag": "A"}, if_not_exists="create")
    assert values == {"tag": "A", "steps": ALL}
    seen = await client.threads.get(thread)
    assert (seen["metadata"] or {})["graph_id"] == "steps"
    again: Any = await client.runs.wait(thread, "steps", input={"tag": "B"}, if_not_exists="create")
    assert again["steps"] == [*ALL, "B.n1", "B.n2", "B.n3"]


async def test_a_run_for_later_waits_its_time(client: LangGraphClient, gates: Gates, thread: str) -> None:
    later = await client.runs.create(thread, "steps", input={"tag": "L"}, after_seconds=3600)
    assert (await client.threads.get(thread))["status"] == "busy"
    fraction: Any = 0.05
    soon = await client.runs.create(thread, "steps", input={"tag": "S"}, after_seconds=fraction)
    await client.runs.join(thread, soon["run_id"])
    assert gates.visits(thread) == ["S.n1", "S.n2", "S.n3"]
    assert (await client.runs.get(thread, later["run_id"]))["status"] == "pending"
    await client.runs.cancel(thread, later["run_id"])
    assert (await client.runs.get(thread, later["run_id"]))["status"] == "interrupted"
    assert (await client.threads.get(thread))["status"] == "idle"


# What reaches the graph.


async def test_what_was_configured_reaches_the_node(client: LangGraphClient, thread: str) -> None:
    await client.threads.update(thread, metadata={"owner": "ada"})
    assistant = await client.assistants.create(
        "plain", config={"configurable": {"a": 1, "b": 1}, "tags": ["assistant"], "recursion_limit": 11}
    )
    config: Any = {"configurable": {"b": 2}, "tags": ["run"], "metadata": {"from": "config"}}
    run = await client.runs.create(thread, assistant["assistant_id"], input={}, config=config, metadata={"mark": 1})
    await client.runs.join(thread, run["run_id"])
    thread_now: Any = await client.threads.get(thread)
    seen = thread_now["values"]["seen"]
    assert seen["configurable"].items() >= {
        "a": 1, "b": 2, "thread_id": thread, "run_id": run["run_id"], "graph_id": "plain",
        "assistant_id": assistant["assistant_id"],
    }.items()  # fmt: skip
    assert seen["context"] == {"a": 1, "b": 2}
    assert seen["recursion_limit"] == 11
    assert "run" in seen["tags"]
    assert seen["metadata"].items() >= {
        "owner": "ada", "mark": 1, "from": "config", "thread_id": thread, "run_id": run["run_id"], "run_attempt": 1,
        "assistant_id": assistant["assistant_id"], "graph_id": "plain", "created_by": "system",
    }.items()  # fmt: skip


@pytest.mark.parametrize("how", ["context", "configurable"])
async def test_a_context_arrives_as_what_the_graph_declares(client: LangGraphClient, thread: str, how: str) -> None:
    given: Any = {"context": {"user": "ada"}} if how == "context" else {"config": {"configurable": {"user": "ada"}}}
    values: Any = await client.runs.wait(thread, "echo", input={}, **given)
    assert values["seen"]["context"] == {"user": "ada", "model": "small"}
    assert values["seen"]["configurable"]["user"] == "ada"
    again: Any = await client.runs.wait(thread, "echo", input={})
    assert again["seen"]["context"] in (None, {"user": "nobody", "model": "small"})


async def test_a_context_the_graph_does_not_declare_fails_the_run(client: LangGraphClient, thread: str) -> None:
    with pytest.raises(Exception, match="TypeError"):
        await client.runs.wait(thread, "echo", input={}, context={"unknown": 1})
    assert (await client.threads.get(thread))["status"] == "error"


async def test_a_runs_own_limit_ends_an_endless_loop(client: LangGraphClient, thread: str) -> None:
    with pytest.raises(Exception, match="GraphRecursionError"):
        await client.runs.wait(thread, "endless", input={"total": 0}, config={"recursion_limit": 7})
    state: Any = await client.threads.get_state(thread)
    assert state["values"]["total"] == 7
    [run] = await client.runs.list(thread)
    assert run["status"] == "error"


async def test_a_limit_of_nothing_fails_the_run(client: LangGraphClient, thread: str) -> None:
    with pytest.raises(Exception, match="recursion_limit"):
        await client.runs.wait(thread, "steps", input={"tag": "A"}, config={"recursion_limit": 0})


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_durability_decides_which_states_are_kept(client: LangGraphClient, thread: str, durability: Any) -> None:
    await client.runs.wait(thread, "steps", input={"tag": "A"}, durability=durability)
    history = await client.threads.get_history(thread, limit=10)
    assert len(history) == (1 if durability == "exit" else 5)
    assert history[0]["values"] == {"tag": "A", "steps": ALL}


async def test_a_command_updates_and_goes_where_it_says(client: LangGraphClient, thread: str) -> None:
    await client.runs.wait(thread, "steps", input={"tag": "A"})
    command: Any = {"update": {"tag": "B", "steps": ["command"]}, "goto": "n2"}
    values: Any = await client.runs.wait(thread, "steps", command=command)
    assert values == {"tag": "B", "steps": [*ALL, "command", "B.n2", "B.n3"]}
    command = {"update": [["tag", "C"], ["steps", ["pairs"]]], "goto": ["n3"]}
    values = await client.runs.wait(thread, "steps", command=command)
    assert values["steps"][-2:] == ["pairs", "C.n3"]
    command = {"goto": {"node": "n3", "input": {"tag": "sent", "steps": []}}}
    values = await client.runs.wait(thread, "steps", command=command)
    assert (values["tag"], values["steps"][-1]) == ("C", "sent.n3")
    command = {"goto": [{"node": "n3", "input": {"tag": "x"}}, {"node": "n3", "input": {"tag": "y"}}]}
    values = await client.runs.wait(thread, "steps", command=command)
    assert sorted(values["steps"][-2:]) == ["x.n3", "y.n3"]


async def test_a_command_wins_over_an_input(client: LangGraphClient, thread: str) -> None:
    await client.runs.wait(thread, "steps", input={"tag": "A"})
    values: Any = await client.runs.wait(thread, "steps", input={"tag": "B"}, command={"goto": "n3"})
    assert values == {"tag": "A", "steps": [*ALL, "A.n3"]}


async def test_a_command_as_langgraph_writes_it_is_understood(http: httpx.AsyncClient, thread: str) -> None:
    ask = {"assistant_id": "ask", "input": {"tag": "A"}}
    await http.post(f"/threads/{thread}/runs/wait", json=ask)
    command = {"graph": None, "update": None, "resume": "yes", "goto": []}
    answer = await http.post(f"/threads/{thread}/runs/wait", json={"assistant_id": "ask", "command": command})
    assert answer.json()["steps"] == ["A.before", "A.ask=yes", "A.after"]


@pytest.mark.parametrize("address", ["checkpoint", "checkpoint_id", "configurable"])
async def test_a_run_goes_on_from_an_older_state(client: LangGraphClient, thread: str, address: str) -> None:
    await client.runs.wait(thread, "steps", input={"tag": "A"})
    after_n1: Any = (await client.threads.get_history(thread, limit=10))[2]
    checkpoint_id = after_n1["checkpoint"]["checkpoint_id"]
    given: Any = {
        "checkpoint": {"checkpoint": after_n1["checkpoint"]},
        "checkpoint_id": {"checkpoint_id": checkpoint_id},
        "configurable": {"config": {"configurable": {"checkpoint_id": checkpoint_id}}},
    }[address]
    again: Any = await client.runs.wait(thread, "steps", input=None, **given)
    assert again == {"tag": "A", "steps": ALL}
    other: Any = await client.runs.wait(thread, "steps", input={"tag": "B"}, **given)
    assert other == {"tag": "B", "steps": ["A.n1", "B.n1", "B.n2", "B.n3"]}
    assert (await client.threads.get_state(thread))["values"] == other


async def test_a_state_that_does_not_exist_fails_the_run_and_leaves_the_thread(
    client: LangGraphClient, thread: str
) -> None:
    await client.runs.wait(thread, "steps", input={"tag": "A"})
    before = await client.threads.get_state(thread)
    with pytest.raises(Exception, match=ABSENT):
        await client.runs.wait(thread, "steps", input={"tag": "B"}, checkpoint_id=ABSENT)
    assert await client.threads.get_state(thread) == before


@pytest.mark.parametrize(
    ("options", "stops", "following"),
    [
        ({"interrupt_before": ["n2"]}, ["A.n1"], ["n2"]),
        ({"interrupt_after": ["n2"]}, ["A.n1", "A.n2"], ["n3"]),
        ({"interrupt_before": "*"}, [], ["n1"]),
        ({"interrupt_after": "*"}, ["A.n1"], ["n2"]),
        ({"interrupt_before": ["unknown"]}, ALL, []),
    ],
    ids=str,
)
async def test_a_run_stops_where_it_was_told_to(
    client: LangGraphClient, thread: str, options: Any, stops: list[str], following: list[str]
) -> None:
    values: Any = await client.runs.wait(thread, "steps", input={"tag": "A"}, **options)
    assert values.get("steps", []) == stops
    state: Any = await client.threads.get_state(thread)
    assert (state["values"]["steps"], state["next"]) == (stops, following)
    [run] = await client.runs.list(thread)
    assert run["status"] == "success"
    assert (await client.threads.get(thread))["status"] == ("interrupted" if following else "idle")
    assert await client.runs.wait(thread, "steps", input=None) == {"tag": "A", "steps": ALL} if following else True


# How a run ends.


async def test_an_error_is_raised_or_given_back(client: LangGraphClient, http: httpx.AsyncClient, thread: str) -> None:
    with pytest.raises(Exception, match="ValueError: boom!"):
        await client.runs.wait(thread, "fails", input={"tag": "A"})
    values = await client.runs.wait(thread, "fails", input={"tag": "B"}, raise_error=False)
    assert values == {"__error__": {"error": "ValueError", "message": "boom!"}}
    answer = await http.post(f"/threads/{thread}/runs/wait", json={"assistant_id": "fails", "input": {"tag": "C"}})
    assert (answer.status_code, answer.json()) == (200, values)
    newest, *_ = await client.runs.list(thread)
    assert newest["status"] == "error"
    assert await client.runs.join(thread, newest["run_id"]) == values


async def test_a_question_is_the_result_and_the_run_a_success(client: LangGraphClient, thread: str) -> None:
    run = await client.runs.create(thread, "ask", input={"tag": "A"})
    joined: Any = await client.runs.join(thread, run["run_id"])
    [question] = joined["__interrupt__"]
    assert question["value"] == {"question": "go on?", "tag": "A"}
    assert question["id"]
    assert joined["steps"] == ["A.before"]
    assert (await client.runs.get(thread, run["run_id"]))["status"] == "success"
    assert (await client.threads.get(thread))["status"] == "interrupted"
    assert await client.runs.join(thread, run["run_id"]) == joined
    waited: Any = await client.runs.wait(thread, "ask", input={"tag": "B"})
    assert waited["__interrupt__"][0]["value"]["tag"] == "B"


async def test_questions_are_answered_by_their_ids(client: LangGraphClient, thread: str) -> None:
    asked: Any = await client.runs.wait(thread, "two_questions", input={"tag": "A"})
    answers = {question["id"]: question["value"].upper() for question in asked["__interrupt__"]}
    values: Any = await client.runs.wait(thread, "two_questions", command={"resume": answers})
    assert sorted(values["steps"]) == ["A.after", "left=LEFT?", "right=RIGHT?"]


@pytest.mark.parametrize("value", [0, False, "", [], {"a": 1}, 2**70, "é💥"], ids=str)
async def test_any_answer_can_be_given_to_a_question(http: httpx.AsyncClient, thread: str, value: Any) -> None:
    await http.post(f"/threads/{thread}/runs/wait", json={"assistant_id": "ask", "input": {"tag": "A"}})
    body = {"assistant_id": "ask", "command": {"resume": value}}
    answer = await http.post(f"/threads/{thread}/runs/wait", json=body)
    assert answer.status_code == 200
    if "__error__" in answer.json():
        assert value == 2**70
    else:
        assert answer.json()["steps"] == ["A.before", f"A.ask={value}", "A.after"]
    assert (await http.get(f"/threads/{thread}/state")).status_code == 200


async def test_a_function_with_a_question_has_an_object_as_its_result(
    client: LangGraphClient, http: httpx.AsyncClient, thread: str
) -> None:
    asked: Any = await client.runs.wait(thread, "function", input={"n": 1})
    assert [question["value"] for question in asked["__interrupt__"]] == ["go on?"]
    [run] = await client.runs.list(thread)
    assert await client.runs.join(thread, run["run_id"]) == asked
    answered = await client.runs.wait(thread, "function", command={"resume": "yes"})
    assert answered == [{"n": 1}, "yes"]
    for path in ("", "/state", "/history"):
        assert (await http.get(f"/threads/{thread}{path}")).status_code == 200


async def test_a_function_that_asks_again_has_its_former_result(
    client: LangGraphClient, http: httpx.AsyncClient, thread: str
) -> None:
    await client.runs.wait(thread, "function", input={"n": 1})
    await client.runs.wait(thread, "function", command={"resume": "yes"})
    again = await http.post(f"/threads/{thread}/runs/wait", json={"assistant_id": "function", "input": {"n": 2}})
    assert [question["value"] for question in again.json()["__interrupt__"]] == ["go on?"]


async def test_a_command_that_cannot_be_carried_out_fails_only_its_own_run(
    client: LangGraphClient, thread: str
) -> None:
    await client.runs.wait(thread, "steps", input={"tag": "A"})
    bad: Any = {"update": {"steps": 5}}
    with pytest.raises(Exception, match="TypeError"):
        await client.runs.wait(thread, "steps", command=bad)
    again: Any = await client.runs.wait(thread, "steps", input={"tag": "B"})
    assert again["steps"] == [*ALL, "B.n1", "B.n2", "B.n3"]


async def test_a_join_returns_what_that_run_left_not_what_came_later(client: LangGraphClient, thread: str) -> None:
    first = await client.runs.create(thread, "steps", input={"tag": "A"})
    second = await client.runs.create(thread, "steps", input={"tag": "B"})
    failed = await client.runs.create(thread, "fails", input={"tag": "C"})
    asked = await client.runs.create(thread, "ask", input={"tag": "D"})
    runs = (first, second, failed, asked)
    joined: list[Any] = [await client.runs.join(thread, run["run_id"]) for run in runs]
    expected = [*ALL, "B.n1", "B.n2", "B.n3"]
    assert joined[0] == {"tag": "A", "steps": ALL}
    assert joined[1] == {"tag": "B", "steps": expected}
    assert joined[2] == {"__error__": {"error": "ValueError", "message": "boom!"}}
    assert joined[3]["__interrupt__"][0]["value"]["tag"] == "D"
    await client.runs.wait(thread, "ask", input={"tag": "E"})
    for run, result in zip(runs, joined, strict=True):
        assert await client.runs.join(thread, run["run_id"]) == result


async def test_an_edit_does_not_change_what_the_last_run_left(client: LangGraphClient, thread: str) -> None:
    run = await client.runs.create(thread, "steps", input={"tag": "A"})
    await client.runs.join(thread, run["run_id"])
    await client.threads.update_state(thread, {"steps": ["edit"]}, as_node="n3")
    assert await client.runs.join(thread, run["run_id"]) == {"tag": "A", "steps": ALL}


async def test_joining_a_run_that_does_not_exist_is_an_error_in_the_result(
    http: httpx.AsyncClient, thread: str
) -> None:
    answer = await http.get(f"/threads/{thread}/runs/{ABSENT}/join")
    assert answer.status_code == 200
    assert answer.json() == {"__error__": {"error": "HTTPException", "message": "404: Run not found"}}


async def test_many_may_wait_for_one_run(client: LangGraphClient, gates: Gates, thread: str) -> None:
    gates.hold(thread, "A.n2")
    run = await client.runs.create(thread, "steps", input={"tag": "A"})
    await gates.started(thread, "A.n2")
    joins = [asyncio.create_task(client.runs.join(thread, run["run_id"])) for _ in range(3)]
    gates.let(thread, "A.n2")
    assert await asyncio.gather(*joins) == [{"tag": "A", "steps": ALL}] * 3


# How runs are found, stopped and removed.


async def test_the_newest_run_is_listed_first(client: LangGraphClient, http: httpx.AsyncClient, thread: str) -> None:
    made = [(await client.runs.create(thread, "steps", input={"tag": str(n)}))["run_id"] for n in range(12)]
    await client.runs.join(thread, made[-1])

    async def listed(**options: Any) -> list[str]:
        return [run["run_id"] for run in await client.runs.list(thread, **options)]

    newest = made[::-1]
    assert await listed() == newest[:10]
    assert await listed(limit=100) == newest
    assert await listed(limit=3, offset=10) == newest[10:]
    assert await listed(offset=50) == []
    assert await listed(limit=100, status="success") == newest
    assert await listed(status="error") == []
    whole = await client.runs.list(thread, limit=1)
    for select in ("select=run_id&select=status", "select=run_id,status", 'select=["run_id","status"]'):
        answer = await http.get(f"/threads/{thread}/runs?limit=1&{select}&status=&offset=")
        assert answer.json() == [{"run_id": whole[0]["run_id"], "status": "success"}]


async def test_a_running_run_is_cancelled(
    client: LangGraphClient, http: httpx.AsyncClient, gates: Gates, thread: str
) -> None:
    gates.hold(thread, "A.n2")
    run = await client.runs.create(thread, "steps", input={"tag": "A"})
    await gates.started(thread, "A.n2")
    path = f"/threads/{thread}/runs/{run['run_id']}"
    answer = await http.post(f"{path}/cancel?wait=true&action=interrupt")
    assert (answer.status_code, answer.json()) == (200, {})
    assert answer.headers["location"] == f"{path}/join"
    ended: Any = await client.runs.get(thread, run["run_id"])
    assert ended["status"] == "interrupted"
    assert "cancel" in ended["cancel_reason"]
    assert await steps(client, thread) == ["A.n1"]
    seen: Any = await client.threads.get(thread)
    assert seen["status"] == "interrupted"
    assert seen["error"]["error"] == "UserInterrupt"
    assert await client.runs.join(thread, run["run_id"]) == {"tag": "A", "steps": ["A.n1"]}
    for action in ("interrupt", "rollback"):
        again = await http.post(f"{path}/cancel?action={action}")
        assert again.status_code == 404


async def test_a_cancelled_run_can_be_taken_back(client: LangGraphClient, gates: Gates, thread: str) -> None:
    await client.runs.wait(thread, "steps", input={"tag": "P"})
    before: list[Any] = [await client.threads.get(thread), await client.threads.get_history(thread, limit=100)]
    gates.hold(thread, "A.n2")
    run = await client.runs.create(thread, "steps", input={"tag": "A"})
    await gates.started(thread, "A.n2")
    await client.runs.cancel(thread, run["run_id"], wait=True, action="rollback")
    with pytest.raises(NotFoundError):
        await client.runs.get(thread, run["run_id"])
    after: list[Any] = [await client.threads.get(thread), await client.threads.get_history(thread, limit=100)]
    assert after[1] == before[1]
    assert after[0]["values"] == before[0]["values"]
    assert after[0]["status"] == "idle"


async def test_cancelling_answers_before_the_run_has_stopped(
    client: LangGraphClient, http: httpx.AsyncClient, gates: Gates, thread: str
) -> None:
    gates.hold(thread, "A.n2")
    run = await client.runs.create(thread, "steps", input={"tag": "A"})
    await gates.started(thread, "A.n2")
    answer = await http.post(f"/threads/{thread}/runs/{run['run_id']}/cancel?wait=0")
    assert answer.status_code == 202
    await client.runs.join(thread, run["run_id"])
    assert (await client.runs.get(thread, run["run_id"]))["status"] == "interrupted"


async def test_several_runs_are_cancelled_at_once(client: LangGraphClient, gates: Gates, thread: str) -> None:
    gates.hold(thread, "A.n1")
    runs = [(await client.runs.create(thread, "steps", input={"tag": tag}))["run_id"] for tag in "ABC"]
    await gates.started(thread, "A.n1")
    await client.runs.cancel_many(thread_id=thread.upper(), run_ids=[runs[0].upper(), runs[2], ABSENT])
    for run in runs:
        await client.runs.join(thread, run)
    assert [(await client.runs.get(thread, run))["status"] for run in runs] == ["interrupted", "success", "interrupted"]
    with pytest.raises(NotFoundError):
        await client.runs.cancel_many(thread_id=thread, run_ids=runs)


async def test_a_run_is_deleted_for_good(client: LangGraphClient, http: httpx.AsyncClient, thread: str) -> None:
    run = await client.runs.create(thread, "steps", input={"tag": "A"})
    await client.runs.join(thread, run["run_id"])
    path = f"/threads/{thread}/runs/{run['run_id']}"
    assert (await http.delete(path)).status_code == 204
    assert (await http.get(path)).status_code == 404
    assert (await http.delete(path)).status_code == 404
    assert await client.runs.list(thread) == []
    assert await steps(client, thread) == ALL


async def test_deleting_a_running_run_stops_it(client: LangGraphClient, gates: Gates, thread: str) -> None:
    gates.hold(thread, "A.n2")
    run = await client.runs.create(thread, "steps", input={"tag": "A"})
    await gates.started(thread, "A.n2")
    await client.runs.delete(thread, run["run_id"])
    assert "A.n2 was cancelled" in gates.log(thread)
    assert (await client.threads.get(thread))["status"] != "busy"


def test_the_synchronous_client_does_the_same(sync_client: SyncLangGraphClient) -> None:
    thread = sync_client.threads.create()["thread_id"]
    run = sync_client.runs.create(thread, "steps", input={"tag": "A"})
    assert sync_client.runs.join(thread, run["run_id"]) == {"tag": "A", "steps": ALL}
    with pytest.raises(Exception, match="boom!"):
        sync_client.runs.wait(thread, "fails", input={"tag": "B"})
    assert [each["status"] for each in sync_client.runs.list(thread)] == ["error", "success"]
    sync_client.runs.delete(thread, run["run_id"])
    later = sync_client.runs.create(thread, "steps", input={"tag": "C"}, after_seconds=3600)
    sync_client.runs.cancel(thread, later["run_id"], wait=True)
    assert sync_client.runs.get(thread, later["run_id"])["status"] == "interrupted"
