"""Event streams of runs: names, data and order as the SDKs decode them."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient, SyncLangGraphClient

from tests.wire.live import Gates

ABSENT = "01900000-0000-7000-8000-000000000000"
ALL = ["A.n1", "A.n2", "A.n3"]
QUESTION: Any = {"messages": [{"role": "user", "content": "What is the weather in Oslo?", "id": "q1"}]}

Event = tuple[str, Any]


async def streamed(client: LangGraphClient, thread: str | None, graph: str, given: Any, **options: Any) -> list[Event]:
    """The events of a whole run."""
    stream = client.runs.stream(thread, graph, input=given, **options)
    return [(part.event, part.data) async for part in stream]


def events(text: str) -> list[Event]:
    """What a stream said, read strictly: CR LF, one line of JSON and an id per event, and ids that increase."""
    assert text.endswith("\r\n\r\n")
    found: list[Event] = []
    ids: list[int] = []
    for block in text.removesuffix("\r\n\r\n").split("\r\n\r\n"):
        name, data, seq = block.split("\r\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
        ids.append(int(seq.removeprefix("id: ")))
    assert all(earlier < later for earlier, later in pairwise(ids))
    return found


@asynccontextmanager
async def reading(http: httpx.AsyncClient, method: str, path: str, **options: Any) -> AsyncGenerator[Any]:
    """A stream whose events are taken one by one; leaving the block drops the connection."""
    async with http.stream(method, path, **options) as answer:
        assert answer.status_code == 200
        yield _events(answer)


async def _events(answer: httpx.Response) -> AsyncIterator[Event]:
    name = ""
    async for line in answer.aiter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


# What every stream has.


async def test_a_stream_is_an_event_stream_that_begins_with_its_run(
    http: httpx.AsyncClient, client: LangGraphClient, thread: str
) -> None:
    answer = await http.post(f"/threads/{thread}/runs/stream", json={"assistant_id": "steps", "input": {"tag": "A"}})
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-accel-buffering"] == "no"
    [run] = await client.runs.list(thread)
    assert events(answer.text) == [
        ("metadata", {"run_id": run["run_id"], "attempt": 1}),
        ("values", {"tag": "A", "steps": []}),
        ("values", {"tag": "A", "steps": ["A.n1"]}),
        ("values", {"tag": "A", "steps": ["A.n1", "A.n2"]}),
        ("values", {"tag": "A", "steps": ALL}),
    ]


async def test_the_first_events_come_while_the_run_goes_on(
    http: httpx.AsyncClient, gates: Gates, client: LangGraphClient, thread: str
) -> None:
    gates.hold(thread, "A.n2")
    body = {"assistant_id": "steps", "input": {"tag": "A"}, "stream_mode": "updates"}
    async with reading(http, "POST", f"/threads/{thread}/runs/stream", json=body) as stream:
        assert (await anext(stream))[0] == "metadata"
        assert await anext(stream) == ("updates", {"n1": {"steps": ["A.n1"]}})
        assert (await client.threads.get(thread))["status"] == "busy"
        gates.let(thread, "A.n2")
        assert [event async for event in stream] == [
            ("updates", {"n2": {"steps": ["A.n2"]}}),
            ("updates", {"n3": {"steps": ["A.n3"]}}),
        ]


@pytest.mark.parametrize(("graph", "status"), [("steps", "success"), ("fails", "error"), ("ask", "success")])
async def test_the_run_has_ended_when_its_stream_has(
    client: LangGraphClient, http: httpx.AsyncClient, thread: str, graph: str, status: str
) -> None:
    for tag in "ABCDE":
        body = {"assistant_id": graph, "input": {"tag": tag}}
        answer = await http.post(f"/threads/{thread}/runs/stream", json=body)
        ended = await http.get(answer.headers["content-location"])
        assert ended.json()["status"] == status
        assert (await client.threads.get(thread))["status"] != "busy"


async def test_an_error_is_the_last_event(client: LangGraphClient, http: httpx.AsyncClient, thread: str) -> None:
    answer = await http.post(f"/threads/{thread}/runs/stream", json={"assistant_id": "fails", "input": {"tag": "A"}})
    said = events(answer.text)
    assert [name for name, _ in said] == ["metadata", "values", "values", "error"]
    assert said[-1][1] == {"error": "ValueError", "message": "boom!"}


async def test_a_question_is_an_update_and_a_value(client: LangGraphClient, thread: str) -> None:
    said = await streamed(client, thread, "ask", {"tag": "A"}, stream_mode=["values", "updates"])
    assert [name for name, _ in said] == ["metadata", "values", "updates", "values", "updates", "values"]
    [question] = said[-2][1]["__interrupt__"]
    assert question["value"] == {"question": "go on?", "tag": "A"}
    assert said[-1][1] == {"tag": "A", "steps": ["A.before"], "__interrupt__": [question]}
    resumed = client.runs.stream(thread, "ask", command={"resume": "yes"}, stream_mode="updates")
    assert [part.data async for part in resumed][1:] == [
        {"ask": {"steps": ["A.ask=yes"]}},
        {"after": {"steps": ["A.after"]}},
    ]


async def test_a_breakpoint_is_an_interrupt_without_a_question(client: LangGraphClient, thread: str) -> None:
    said = await streamed(
        client, thread, "steps", {"tag": "A"}, stream_mode=["values", "updates"], interrupt_before=["n2"]
    )
    assert said[-1] in [
        ("updates", {"__interrupt__": []}),
        ("values", {"tag": "A", "steps": ["A.n1"], "__interrupt__": []}),
    ]


# The modes.

WITHOUT_WORDS = {
    "values": ["values"] * 4,
    "updates": ["updates"] * 3,
    "tasks": ["tasks"] * 6,
    "checkpoints": ["checkpoints"] * 5,
    "debug": ["debug"] * 11,
    "custom": [],
    "messages": [],
    "messages-tuple": [],
    "tools": [],
    "lifecycle": ["lifecycle"] * 2,
}


@pytest.mark.parametrize("mode", WITHOUT_WORDS)
@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("subgraphs", [False, True])
async def test_a_mode_has_its_own_events_and_no_others(
    client: LangGraphClient, mode: str, listed: bool, subgraphs: bool
) -> None:
    said = await streamed(
        client, None, "steps", {"tag": "A"}, stream_mode=[mode] if listed else mode, stream_subgraphs=subgraphs
    )
    assert [name for name, _ in said] == ["metadata", *WITHOUT_WORDS[mode]]


async def test_all_modes_at_once_lose_nothing(client: LangGraphClient) -> None:
    modes = [*WITHOUT_WORDS, "events"]
    said = await streamed(client, None, "steps", {"tag": "A"}, stream_mode=modes)
    for mode, expected in WITHOUT_WORDS.items():
        assert [name for name, _ in said if name == mode] == expected
    assert [name for name, _ in said].count("events") > 0
    assert {name for name, _ in said} <= {"metadata", *modes}


async def test_updates_are_what_each_node_returned(client: LangGraphClient) -> None:
    said = await streamed(client, None, "steps", {"tag": "A"}, stream_mode="updates")
    assert [data for _, data in said[1:]] == [{name: {"steps": [f"A.{name}"]}} for name in ("n1", "n2", "n3")]


async def test_tasks_begin_and_end(client: LangGraphClient) -> None:
    said = await streamed(client, None, "fails", {"tag": "A"}, stream_mode="tasks")
    begin, end, boom, failed = [data for name, data in said if name == "tasks"]
    assert (begin["name"], begin["input"], begin["triggers"]) == ("n1", {"tag": "A", "steps": []}, ["branch:to:n1"])
    assert (end["id"], end["error"], end["result"]) == (begin["id"], None, {"steps": ["A.n1"]})
    assert end["interrupts"] == []
    assert failed["id"] == boom["id"]
    assert failed["error"] == {"error": "ValueError", "message": "boom!"}


async def test_checkpoints_say_where_they_are(client: LangGraphClient, thread: str) -> None:
    said = await streamed(client, thread, "steps", {"tag": "A"}, stream_mode="checkpoints")
    history: list[Any] = await client.threads.get_history(thread, limit=10)
    assert len(said[1:]) == len(history)
    for (_, data), state in zip(said[1:], history[::-1], strict=True):
        configurable = data["config"]["configurable"]
        assert configurable["checkpoint_id"] == state["checkpoint_id"]
        assert configurable["thread_id"] == thread
        assert data["values"] == state["values"]
        assert data["next"] == state["next"]
        assert data["metadata"]["step"] == state["metadata"]["step"]
        assert not [key for key in configurable if key.startswith("__")]
        assert (data["parent_config"] is None) == (state["parent_checkpoint"] is None)


async def test_debug_events_carry_their_kind(client: LangGraphClient) -> None:
    said = await streamed(client, None, "fails", {"tag": "A"}, stream_mode="debug")
    kinds = [data["type"] for name, data in said if name == "debug"]
    assert kinds[:4] == ["checkpoint", "checkpoint", "task", "task_result"]
    for name, data in said:
        if name == "debug":
            assert set(data) >= {"step", "timestamp", "type", "payload"}
    failed = said[-2][1]
    assert failed["payload"]["error"] == {"error": "ValueError", "message": "boom!"}


async def test_custom_events_are_what_the_node_wrote(client: LangGraphClient) -> None:
    said = await streamed(client, None, "plain", {"said": {"a": [1, "é"]}}, stream_mode="custom")
    assert said[1:] == [("custom", {"said": {"a": [1, "é"]}})]


async def test_langchain_events_are_passed_on_but_for_the_runs_own_stream(client: LangGraphClient, thread: str) -> None:
    said = await streamed(client, thread, "agent", QUESTION, stream_mode=["events", "values"])
    run_id = said[0][1]["run_id"]
    langchain = [data for name, data in said if name == "events"]
    assert langchain[0]["event"] == "on_chain_start"
    assert langchain[0]["run_id"] == run_id
    assert not [each for each in langchain if each["event"] == "on_chain_stream" and each["run_id"] == run_id]
    words = [e["data"]["chunk"]["content"] for e in langchain if e["event"] == "on_chat_model_stream"]
    assert "".join(words) == "It is sunny in Oslo."
    tools = [each["name"] for each in langchain if each["event"] == "on_tool_end"]
    assert tools == ["get_weather"]
    assert {"metadata", "tags", "parent_ids", "name"} <= set(langchain[1])
    values = [data for name, data in said if name == "values"]
    assert values[-1]["messages"][-1]["content"] == "It is sunny in Oslo."
    assert (await client.threads.get_state(thread))["values"] == values[-1]


# Messages.


async def test_message_chunks_come_with_where_they_come_from(client: LangGraphClient, thread: str) -> None:
    said = await streamed(client, thread, "agent", QUESTION, stream_mode="messages-tuple")
    assert {name for name, _ in said[1:]} == {"messages"}
    run_id = said[0][1]["run_id"]
    chunks = [data for _, data in said[1:]]
    for message, metadata in chunks:
        assert message["id"]
        assert metadata["langgraph_node"] == ("tools" if message["type"] == "tool" else "model")
        assert (metadata["run_id"], metadata["thread_id"], metadata["graph_id"]) == (run_id, thread, "agent")
        assert metadata["langgraph_checkpoint_ns"].startswith(metadata["langgraph_node"] + ":")
    whole: Any = (await client.threads.get_state(thread))["values"]
    answer = whole["messages"][-1]
    last = [message for message, _ in chunks if message["id"] == answer["id"]]
    assert {message["type"] for message in last} == {"AIMessageChunk"}
    assert len(last) > 2
    assert "".join(message["content"] for message in last) == answer["content"] == "It is sunny in Oslo."
    assert [m["id"] for m in whole["messages"]][1:] == list(dict.fromkeys(message["id"] for message, _ in chunks))


async def test_whole_messages_grow_as_they_come(client: LangGraphClient, thread: str) -> None:
    said = (await streamed(client, thread, "agent", QUESTION, stream_mode="messages"))[1:]
    whole: Any = (await client.threads.get_state(thread))["values"]
    call, result, answer = whole["messages"][1:]
    described = [data for name, data in said if name == "messages/metadata"]
    assert [list(each) for each in described] == [[call["id"]], [result["id"]], [answer["id"]]]
    assert described[0][call["id"]]["metadata"]["langgraph_node"] == "model"
    complete = [data for name, data in said if name == "messages/complete"]
    assert [message["id"] for [message] in complete] == [result["id"]]
    partial = [data[0] for name, data in said if name == "messages/partial" and data[0]["id"] == answer["id"]]
    assert {message["type"] for message in partial} == {"ai"}
    contents = [message["content"] for message in partial]
    assert contents[-1] == answer["content"]
    assert all(later.startswith(earlier) for earlier, later in pairwise(contents))
    calls = [data[0] for name, data in said if name == "messages/partial" and data[0]["id"] == call["id"]]
    assert calls[-1]["tool_calls"] == call["tool_calls"]
    assert {name for name, _ in said} == {"messages/metadata", "messages/partial", "messages/complete"}


async def test_of_both_message_modes_the_chunks_win(client: LangGraphClient) -> None:
    said = await streamed(client, None, "agent", QUESTION, stream_mode=["messages", "messages-tuple"])
    assert {name for name, _ in said} == {"metadata", "messages"}


async def test_messages_and_values_agree_on_ids(client: LangGraphClient) -> None:
    said = await streamed(client, None, "agent", QUESTION, stream_mode=["values", "messages-tuple", "updates"])
    final = [data for name, data in said if name == "values"][-1]["messages"]
    assert final[0]["id"] == "q1"
    assert {message[0]["id"] for name, message in said if name == "messages"} == {each["id"] for each in final[1:]}
    updates = [data for name, data in said if name == "updates"]
    assert [update["messages"][0]["id"] for each in updates for update in each.values()] == [m["id"] for m in final[1:]]


# Subgraphs.


async def test_the_events_of_a_subgraph_are_named_for_it(client: LangGraphClient, thread: str) -> None:
    modes = ["values", "updates", "tasks", "checkpoints", "debug", "events"]
    said = await streamed(client, thread, "subgraph", {"tag": "A"}, stream_mode=modes, stream_subgraphs=True)
    inner = [name for name, _ in said if "|" in name]
    [namespace] = {name.partition("|")[2] for name in inner}
    name, _, task_id = namespace.partition(":")
    assert name == "child"
    child = next(data for event, data in said if event == "tasks" and data["name"] == "child")
    assert child["id"] == task_id
    assert {each.partition("|")[0] for each in inner} == {"values", "updates", "tasks", "checkpoints", "debug"}
    steps = [list(data) for event, data in said if event.startswith("updates")]
    assert steps == [["before"], ["c1"], ["c2"], ["child"], ["after"]]


async def test_without_being_asked_a_stream_has_no_subgraphs(client: LangGraphClient) -> None:
    said = await streamed(client, None, "subgraph", {"tag": "A"}, stream_mode=["values", "updates", "debug"])
    assert not [name for name, _ in said if "|" in name]
    assert [list(data) for name, data in said if name == "updates"] == [["before"], ["child"], ["after"]]


async def test_the_newer_event_format_knows_its_namespace(client: LangGraphClient, thread: str) -> None:
    stream: Any = client.runs.stream(
        thread, "subgraph", input={"tag": "A"}, stream_mode=["updates"], stream_subgraphs=True, version="v2"
    )
    parts = [part async for part in stream if part["type"] == "updates"]
    assert [bool(part["ns"]) for part in parts] == [False, True, True, False, False]


# Joining.


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", {"values", "updates"}),
        ("stream_mode=", {"values", "updates"}),
        ("stream_mode=updates", {"updates"}),
        ("stream_mode=updates&stream_mode=values", {"values", "updates"}),
        ("stream_mode=updates,values", {"values", "updates"}),
        ('stream_mode=["values"]', {"values"}),
        ("stream_mode=messages-tuple", set[str]()),
    ],
)
async def test_who_joins_late_gets_what_is_still_to_come(
    client: LangGraphClient, http: httpx.AsyncClient, gates: Gates, thread: str, query: str, names: set[str]
) -> None:
    gates.hold(thread, "A.n2")
    run = await client.runs.create(thread, "steps", input={"tag": "A"}, stream_mode=["values", "updates"])
    await gates.started(thread, "A.n2")
    path = f"/threads/{thread}/runs/{run['run_id']}/stream?cancel_on_disconnect=false&{query}"
    async with reading(http, "GET", path) as stream:
        gates.let(thread, "A.n2")
        said = [event async for event in stream]
    assert said[0] == ("metadata", {"run_id": run["run_id"], "attempt": 1})
    assert {name for name, _ in said[1:]} == names
    for name, last in (("updates", {"n3": {"steps": ["A.n3"]}}), ("values", {"tag": "A", "steps": ALL})):
        assert [data for event, data in said if event == name][-1:] == [last] * (name in names)


async def test_the_client_joins_with_what_it_sends_by_default(
    client: LangGraphClient, gates: Gates, thread: str
) -> None:
    gates.hold(thread, "A.n1")
    run = await client.runs.create(thread, "steps", input={"tag": "A"})
    stream = client.runs.join_stream(thread, run["run_id"])
    reader = asyncio.ensure_future(anext(stream))
    await gates.started(thread, "A.n1")
    await client.runs.list(thread)
    gates.let(thread, "A.n1")
    parts: list[Any] = [await reader, *[part async for part in stream]]
    assert (parts[0].event, parts[0].data) == ("metadata", {"run_id": run["run_id"], "attempt": 1})
    assert parts[-1].data == {"tag": "A", "steps": ALL}


async def test_the_stream_of_a_run_that_has_ended_ends_at_once(
    client: LangGraphClient, http: httpx.AsyncClient, thread: str
) -> None:
    for graph, said in (("steps", []), ("fails", [("error", {"error": "ValueError", "message": "boom!"})])):
        run = await client.runs.create(thread, graph, input={"tag": "A"})
        expected = [("metadata", {"run_id": run["run_id"], "attempt": 1}), *said]
        await client.runs.join(thread, run["run_id"])
        answer = await http.get(
            f"/threads/{thread}/runs/{run['run_id']}/stream?stream_mode=&cancel_on_disconnect=false"
        )
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert events(answer.text) == expected
        parts = [(part.event, part.data) async for part in client.runs.join_stream(thread, run["run_id"])]
        assert parts == expected


async def test_the_stream_of_a_run_that_does_not_exist_is_an_error(http: httpx.AsyncClient, thread: str) -> None:
    answer = await http.get(f"/threads/{thread}/runs/{ABSENT}/stream")
    assert answer.status_code == 200
    assert answer.text == (
        'event: error\r\ndata: {"error":"HTTPException","message":"404: Run not found"}\r\n\r\n'
    )  # nothing comes after it, so it has no id


async def test_all_who_listen_hear_the_same(
    client: LangGraphClient, http: httpx.AsyncClient, gates: Gates, thread: str
) -> None:
    gates.hold(thread, "A.n1")
    body = {"assistant_id": "steps", "input": {"tag": "A"}}
    async with (
        reading(http, "POST", f"/threads/{thread}/runs/stream", json=body) as first,
    ):
        assert (await anext(first))[0] == "metadata"
        assert (await anext(first))[1]["steps"] == []
        [run] = await client.runs.list(thread)
        async with reading(http, "GET", f"/threads/{thread}/runs/{run['run_id']}/stream") as second:
            assert (await anext(second))[0] == "metadata"
            gates.let(thread, "A.n1")
            assert [event async for event in second] == [event async for event in first]


# Leaving.


@pytest.mark.parametrize("call", ["stream", "wait"])
async def test_a_run_that_was_told_so_stops_when_its_client_leaves(
    client: LangGraphClient, http: httpx.AsyncClient, gates: Gates, thread: str, call: str
) -> None:
    gates.hold(thread, "A.n2")
    body = {"assistant_id": "steps", "input": {"tag": "A"}, "on_disconnect": "cancel"}
    async with http.stream("POST", f"/threads/{thread}/runs/{call}", json=body) as answer:
        await gates.started(thread, "A.n2")
        run_id = answer.headers["content-location"].rpartition("/")[2]
    await gates.noted(thread, "A.n2 was cancelled")
    await client.runs.join(thread, run_id)
    assert (await client.runs.get(thread, run_id))["status"] == "interrupted"
    assert (await client.threads.get_state(thread))["values"] == {"tag": "A", "steps": ["A.n1"]}


@pytest.mark.parametrize("call", ["stream", "wait"])
async def test_any_other_run_goes_on_when_its_client_leaves(
    client: LangGraphClient, http: httpx.AsyncClient, gates: Gates, thread: str, call: str
) -> None:
    gates.hold(thread, "A.n2")
    body = {"assistant_id": "steps", "input": {"tag": "A"}}
    async with http.stream("POST", f"/threads/{thread}/runs/{call}", json=body) as answer:
        await gates.started(thread, "A.n2")
        run_id = answer.headers["content-location"].rpartition("/")[2]
    await client.threads.get(thread)
    gates.let(thread, "A.n2")
    assert await client.runs.join(thread, run_id) == {"tag": "A", "steps": ALL}
    assert (await client.runs.get(thread, run_id))["status"] == "success"


@pytest.mark.parametrize("call", ["stream", "join"])
@pytest.mark.parametrize("said", ["true", "1"])
async def test_a_run_stops_when_somebody_leaves_who_joined_to_that_end(
    client: LangGraphClient, http: httpx.AsyncClient, gates: Gates, thread: str, call: str, said: str
) -> None:
    gates.hold(thread, "A.n2")
    run = await client.runs.create(thread, "steps", input={"tag": "A"})
    await gates.started(thread, "A.n2")
    path = f"/threads/{thread}/runs/{run['run_id']}"
    for leaving in ("false", said):
        assert (await client.runs.get(thread, run["run_id"]))["status"] == "running"
        async with http.stream("GET", f"{path}/{call}?cancel_on_disconnect={leaving}") as answer:
            assert answer.status_code == 200
    await gates.noted(thread, "A.n2 was cancelled")
    await client.runs.join(thread, run["run_id"])
    assert (await client.runs.get(thread, run["run_id"]))["status"] == "interrupted"


async def test_a_client_that_stays_to_the_end_cancels_nothing(client: LangGraphClient, thread: str) -> None:
    for tag in "ABC":
        await streamed(client, thread, "steps", {"tag": tag}, on_disconnect="cancel")
        await client.runs.wait(thread, "steps", input={"tag": tag}, on_disconnect="cancel")
    assert {run["status"] for run in await client.runs.list(thread)} == {"success"}


def test_the_synchronous_client_does_the_same(sync_client: SyncLangGraphClient) -> None:
    thread = sync_client.threads.create()["thread_id"]
    parts = list(sync_client.runs.stream(thread, "steps", input={"tag": "A"}, stream_mode=["values", "updates"]))
    assert [part.event for part in parts[:2]] == ["metadata", "values"]
    assert parts[-1].data == {"tag": "A", "steps": ALL}
    [run] = sync_client.runs.list(thread)
    assert [part.event for part in sync_client.runs.join_stream(thread, run["run_id"])] == ["metadata"]
