"""Runs without a thread: they get one of their own, which goes with them."""

import json
from typing import Any

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient, SyncLangGraphClient
from langgraph_sdk.errors import NotFoundError

ALL = ["A.n1", "A.n2", "A.n3"]
BODY = {"assistant_id": "steps", "input": {"tag": "A"}}


async def test_a_run_needs_no_thread(client: LangGraphClient) -> None:
    assert await client.runs.wait(None, "steps", input={"tag": "A"}) == {"tag": "A", "steps": ALL}
    parts = [part async for part in client.runs.stream(None, "steps", input={"tag": "A"}, stream_mode="updates")]
    assert [part.event for part in parts] == ["metadata", "updates", "updates", "updates"]


@pytest.mark.parametrize("call", ["", "/stream", "/wait"])
async def test_its_thread_is_never_seen_and_goes_with_it(
    http: httpx.AsyncClient, client: LangGraphClient, call: str
) -> None:
    before = await client.threads.count()
    answer = await http.post(f"/runs{call}", json=BODY)
    assert answer.headers["content-location"].startswith("/runs/")
    run_id = answer.headers["content-location"].removeprefix("/runs/")
    assert await client.threads.count() == before
    if call:
        place, _, rest = answer.headers["location"].removeprefix("/threads/").partition("/")
        assert rest == f"runs/{run_id}{'/stream' if call == '/stream' else '/join'}"
        thread = place
    else:
        thread = answer.json()["thread_id"]
        await client.runs.join(thread, run_id)
    for path in (f"/threads/{thread}", f"/threads/{thread}/state", f"/threads/{thread}/runs/{run_id}"):
        assert (await http.get(path)).status_code == 404
    joined = await http.get(f"/threads/{thread}/runs/{run_id}/join")
    assert joined.json()["__error__"]["error"] == "HTTPException"
    streamed = await http.get(f"/threads/{thread}/runs/{run_id}/stream")
    known = call == "/stream"  # whose stream was read may be asked for again for a moment: a connection may have broken
    assert streamed.text.startswith("event: metadata\r\n" if known else "event: error\r\n")
    assert streamed.headers["content-type"].startswith("text/event-stream")


async def test_while_it_waits_it_can_be_seen_and_cancelled(client: LangGraphClient) -> None:
    run = await client.runs.create(None, "steps", input={"tag": "A"}, after_seconds=3600)
    thread = run["thread_id"]
    assert (await client.runs.get(thread, run["run_id"]))["status"] == "pending"
    assert thread not in [each["thread_id"] for each in await client.threads.search(limit=1000)]
    await client.runs.cancel(thread, run["run_id"], wait=True)
    with pytest.raises(NotFoundError):
        await client.threads.get(thread)


@pytest.mark.parametrize("on_completion", ["keep", "continue"])
async def test_its_thread_can_be_kept(client: LangGraphClient, on_completion: Any) -> None:
    run = await client.runs.create(None, "steps", input={"tag": "A"}, on_completion=on_completion)
    await client.runs.join(run["thread_id"], run["run_id"])
    assert (await client.threads.get_state(run["thread_id"]))["values"] == {"tag": "A", "steps": ALL}
    assert [each["thread_id"] for each in await client.threads.search(ids=[run["thread_id"]])] == [run["thread_id"]]
    again: Any = await client.runs.wait(run["thread_id"], "steps", input={"tag": "B"})
    assert again["steps"] == [*ALL, "B.n1", "B.n2", "B.n3"]


async def test_errors_and_questions_come_back_too(client: LangGraphClient) -> None:
    with pytest.raises(Exception, match="ValueError: boom!"):
        await client.runs.wait(None, "fails", input={"tag": "A"})
    asked: Any = await client.runs.wait(None, "ask", input={"tag": "A"})
    assert asked["__interrupt__"][0]["value"]["tag"] == "A"
    asked = await client.runs.wait(None, "function", input={"n": 1})
    assert asked["__interrupt__"][0]["value"] == "go on?"


async def test_a_strategy_is_accepted_and_means_nothing(http: httpx.AsyncClient) -> None:
    for strategy in ("reject", "enqueue", "interrupt", "rollback"):
        answer = await http.post("/runs/wait", json={**BODY, "multitask_strategy": strategy, "if_not_exists": "reject"})
        assert answer.json()["steps"] == ALL


async def test_a_batch_runs_each_on_its_own(client: LangGraphClient, http: httpx.AsyncClient) -> None:
    payloads: list[Any] = [{"assistant_id": "steps", "input": {"tag": tag}, "after_seconds": 3600} for tag in "AB"]
    runs: list[Any] = await client.runs.create_batch(payloads)
    assert [run["kwargs"]["input"] for run in runs] == [{"tag": "A"}, {"tag": "B"}]
    assert len({run["thread_id"] for run in runs}) == 2
    for run in runs:
        await client.runs.cancel(run["thread_id"], run["run_id"])
    keep = {**BODY, "on_completion": "keep", "threadId": "camel", "assistantId": "extra"}
    answer = await http.post("/runs/batch", json=[keep, {**keep, "assistant_id": "ask"}])
    assert answer.status_code == 200
    for run in answer.json():
        joined: Any = await client.runs.join(run["thread_id"], run["run_id"])
        assert joined["steps"] in (ALL, ["A.before"])


async def test_all_waiting_runs_are_cancelled_at_once(client: LangGraphClient, thread: str) -> None:
    runs = [await client.runs.create(thread, "steps", input={"tag": "A"}, after_seconds=3600) for _ in range(2)]
    await client.runs.cancel_many(status="pending")
    for run in runs:
        assert (await client.runs.get(thread, run["run_id"]))["status"] == "interrupted"
    with pytest.raises(NotFoundError):
        await client.runs.cancel_many(status="all")


def test_the_synchronous_client_does_the_same(sync_client: SyncLangGraphClient) -> None:
    assert sync_client.runs.wait(None, "steps", input={"tag": "A"}) == {"tag": "A", "steps": ALL}
    parts = list(sync_client.runs.stream(None, "steps", input={"tag": "A"}, stream_mode=["values"]))
    assert parts[-1].data == {"tag": "A", "steps": ALL}
    assert json.dumps(parts[0].data)
