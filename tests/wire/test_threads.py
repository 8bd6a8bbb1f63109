"""Threads, as the SDK uses them."""

import uuid
from typing import Any

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient, SyncLangGraphClient
from langgraph_sdk.errors import BadRequestError, ConflictError, NotFoundError

from tests.wire.live import Gates

ABSENT = "01900000-0000-7000-8000-000000000000"
ALL = ["A.n1", "A.n2", "A.n3"]


@pytest.fixture
def mark() -> dict[str, str]:
    """Metadata that only this test's threads have."""
    return {"mark": str(uuid.uuid4())}


async def test_a_new_thread_is_idle_and_empty(client: LangGraphClient, mark: dict[str, str]) -> None:
    made: Any = await client.threads.create(metadata=mark)
    assert made == await client.threads.get(made["thread_id"])
    assert uuid.UUID(made["thread_id"]).version == 7
    assert made["created_at"] == made["updated_at"] == made["state_updated_at"]
    assert made["created_at"].endswith("+00:00")
    assert (made["status"], made["values"], made["interrupts"], made["error"]) == ("idle", None, {}, None)
    assert (made["metadata"], made["config"]) == (mark, {})


async def test_a_thread_can_be_given_its_id_and_graph(client: LangGraphClient) -> None:
    thread_id = str(uuid.uuid4())
    made: Any = await client.threads.create(thread_id=thread_id, graph_id="steps", ttl=5)
    assert made["thread_id"] == thread_id
    assert made["metadata"] == {"graph_id": "steps"}


async def test_an_id_is_given_once(client: LangGraphClient, mark: dict[str, str]) -> None:
    made = await client.threads.create(metadata=mark)
    with pytest.raises(ConflictError, match="already exists"):
        await client.threads.create(thread_id=made["thread_id"])
    again = await client.threads.create(thread_id=made["thread_id"], metadata={"x": 1}, if_exists="do_nothing")
    assert again == made


@pytest.mark.parametrize("ttl", [{"ttl": 5, "strategy": "delete"}, {"ttl": 0.5, "strategy": "keep_latest"}, None])
async def test_a_time_to_live_is_accepted(http: httpx.AsyncClient, ttl: Any) -> None:
    made = await http.post("/threads", json={"ttl": ttl})
    assert made.status_code == 200
    changed = await http.patch(f"/threads/{made.json()['thread_id']}", json={"ttl": ttl})
    assert changed.status_code == 200


async def test_a_thread_can_be_born_with_a_past(client: LangGraphClient) -> None:
    made: Any = await client.threads.create(
        graph_id="steps",
        supersteps=[
            {"updates": [{"values": {"tag": "P"}, "as_node": "__start__"}]},
            {"updates": [{"values": {"steps": ["P.n1"]}, "as_node": "n1"}]},
        ],
    )
    assert made["values"] == {"tag": "P", "steps": ["P.n1"]}
    assert made["status"] == "interrupted"
    state = await client.threads.get_state(made["thread_id"])
    assert state["next"] == ["n2"]
    assert await client.runs.wait(made["thread_id"], "steps", input=None) == {
        "tag": "P",
        "steps": ["P.n1", "P.n2", "P.n3"],
    }


@pytest.mark.parametrize(
    ("graph", "update"),
    [
        (None, {"values": {}, "as_node": "n1"}),
        ("steps", {"values": {}, "as_node": "n9"}),
        ("steps", {"values": {"steps": 5}, "as_node": "n1"}),
    ],
)
async def test_a_past_that_cannot_be_leaves_no_thread(client: LangGraphClient, graph: Any, update: Any) -> None:
    before = await client.threads.count()
    with pytest.raises(BadRequestError):
        await client.threads.create(graph_id=graph, supersteps=[{"updates": [update]}])
    assert await client.threads.count() == before


async def test_a_past_is_not_written_over_a_thread_that_exists(client: LangGraphClient, thread: str) -> None:
    await client.runs.wait(thread, "steps", input={"tag": "A"})
    before = await client.threads.get(thread)
    past: Any = [{"updates": [{"values": {"tag": "P"}, "as_node": "__start__"}]}]
    bad: Any = [{"updates": [{"values": {"tag": "P"}, "as_node": "n9"}]}]
    for supersteps in (past, bad):
        again = await client.threads.create(thread_id=thread, supersteps=supersteps, if_exists="do_nothing")
        assert again == before
        assert await client.threads.get(thread) == before


async def test_metadata_is_merged_and_nothing_else_can_be_changed(
    client: LangGraphClient, http: httpx.AsyncClient
) -> None:
    made = await client.threads.create(metadata={"a": 1, "b": {"x": 1}})
    changed: Any = await client.threads.update(made["thread_id"], metadata={"b": {"y": 2}, "c": None})
    assert changed["metadata"] == {"a": 1, "b": {"y": 2}, "c": None}
    answer = await http.patch(f"/threads/{made['thread_id']}", json={"status": "busy", "values": {"x": 1}})
    assert (answer.json()["status"], answer.json()["values"]) == ("idle", None)
    with pytest.raises(NotFoundError):
        await client.threads.update(ABSENT, metadata={})


async def test_a_caller_may_do_without_the_answer(
    client: LangGraphClient, http: httpx.AsyncClient, thread: str
) -> None:
    assert await client.threads.update(thread, metadata={"a": 1}, return_minimal=True) is None
    answer = await http.patch(f"/threads/{thread}", json={"metadata": {"b": 2}}, headers={"prefer": "return=minimal"})
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await client.threads.get(thread))["metadata"] == {"a": 1, "b": 2}


async def test_a_deleted_thread_is_gone_with_its_runs(
    client: LangGraphClient, http: httpx.AsyncClient, thread: str
) -> None:
    run = await client.runs.create(thread, "steps", input={"tag": "A"})
    await client.runs.join(thread, run["run_id"])
    assert (await http.delete(f"/threads/{thread}")).status_code == 204
    for call in (client.threads.get, client.threads.get_state, client.threads.delete, client.runs.list):
        with pytest.raises(NotFoundError):
            await call(thread)
    with pytest.raises(NotFoundError):
        await client.runs.get(thread, run["run_id"])
    assert await client.threads.search(ids=[thread]) == []


async def test_deleting_a_busy_thread_stops_its_run(client: LangGraphClient, gates: Gates, thread: str) -> None:
    gates.hold(thread, "A.n2")
    await client.runs.create(thread, "steps", input={"tag": "A"})
    await gates.started(thread, "A.n2")
    await client.threads.delete(thread)
    assert "A.n2 was cancelled" in gates.log(thread)
    with pytest.raises(NotFoundError):
        await client.threads.get(thread)


async def test_an_id_can_be_used_again_after_the_thread_is_gone(client: LangGraphClient, thread: str) -> None:
    await client.runs.wait(thread, "steps", input={"tag": "A"})
    await client.threads.delete(thread)
    await client.threads.create(thread_id=thread)
    assert (await client.threads.get_state(thread))["values"] == {}
    assert await client.threads.get_history(thread) == []


async def test_the_status_follows_the_runs(client: LangGraphClient, gates: Gates, thread: str) -> None:
    gates.hold(thread, "A.n1", "B.n1")
    run = await client.runs.create(thread, "steps", input={"tag": "A"})
    assert (await client.threads.get(thread))["status"] == "busy"
    await gates.started(thread, "A.n1")
    second = await client.runs.create(thread, "steps", input={"tag": "B"})
    gates.let(thread, "A.n1")
    await client.runs.join(thread, run["run_id"])
    between: Any = await client.threads.get(thread)
    assert (between["status"], between["values"]) == ("busy", {"tag": "A", "steps": ALL})
    gates.let(thread, "B.n1")
    await client.runs.join(thread, second["run_id"])
    ended: Any = await client.threads.get(thread)
    assert (ended["status"], ended["values"]["tag"]) == ("idle", "B")
    assert ended["metadata"]["graph_id"] == "steps"
    assert ended["metadata"]["assistant_id"] == run["assistant_id"]
    assert ended["state_updated_at"] > between["created_at"]


async def test_a_failed_run_leaves_its_error_until_the_next_run(client: LangGraphClient, thread: str) -> None:
    await client.runs.wait(thread, "fails", input={"tag": "A"}, raise_error=False)
    failed: Any = await client.threads.get(thread)
    assert failed["status"] == "error"
    assert failed["error"] == {"error": "ValueError", "message": "boom!"}
    assert failed["values"] == {"tag": "A", "steps": ["A.n1"]}
    await client.runs.wait(thread, "steps", input={"tag": "B"})
    mended: Any = await client.threads.get(thread)
    assert (mended["status"], mended["error"]) == ("idle", None)


async def test_a_question_leaves_the_thread_interrupted(client: LangGraphClient, thread: str) -> None:
    await client.runs.wait(thread, "ask", input={"tag": "A"})
    asked: Any = await client.threads.get(thread)
    assert asked["status"] == "interrupted"
    [[question]] = asked["interrupts"].values()
    assert question["value"] == {"question": "go on?", "tag": "A"}
    state = await client.threads.get_state(thread)
    assert list(asked["interrupts"]) == [task["id"] for task in state["tasks"]]
    await client.runs.wait(thread, "ask", command={"resume": "yes"})
    answered: Any = await client.threads.get(thread)
    assert (answered["status"], answered["interrupts"]) == ("idle", {})
    assert answered["values"]["steps"] == ["A.before", "A.ask=yes", "A.after"]


async def test_search_filters(client: LangGraphClient, gates: Gates, mark: dict[str, str]) -> None:
    new, done, failed, asked, busy = [
        (await client.threads.create(metadata={**mark, "n": n}))["thread_id"] for n in range(5)
    ]
    await client.runs.wait(done, "steps", input={"tag": "done"})
    await client.runs.wait(failed, "fails", input={"tag": "failed"}, raise_error=False)
    await client.runs.wait(asked, "ask", input={"tag": "asked"})
    gates.hold(busy, "busy.n1")
    run = await client.runs.create(busy, "steps", input={"tag": "busy"})

    async def found(**filters: Any) -> list[str]:
        filters["metadata"] = {**mark, **filters.get("metadata", {})}
        threads = await client.threads.search(**filters, sort_by="created_at", sort_order="asc")
        if "ids" not in filters:
            assert await client.threads.count(**filters) == len(threads)
        return [each["thread_id"] for each in threads]

    assert await found() == [new, done, failed, asked, busy]
    assert await found(status="idle") == [new, done]
    assert await found(status="busy") == [busy]
    assert await found(status="error") == [failed]
    assert await found(status="interrupted") == [asked]
    assert await found(metadata={"n": 0}) == [new]
    assert await found(metadata={"n": False}) == []
    assert await found(metadata={"graph_id": "ask"}) == [asked]
    assert await found(values={"tag": "done"}) == [done]
    assert await found(values={"steps": ["asked.before"]}) == [asked]
    assert await found(values={"tag": "done"}, status="error") == []
    assert await found(ids=[done, asked, ABSENT]) == [done, asked]
    assert await found(ids=[done.upper()]) == [done]
    gates.let(busy, "busy.n1")
    await client.runs.join(busy, run["run_id"])


async def test_empty_filters_are_none(client: LangGraphClient, http: httpx.AsyncClient, mark: dict[str, str]) -> None:
    made = await client.threads.create(metadata=mark)
    body = {"metadata": mark, "values": None, "ids": [], "status": None, "select": [], "extract": None, "limit": None}
    answer = await http.post("/threads/search", json=body)
    assert answer.json() == [made]


@pytest.mark.parametrize("sort_by", ["thread_id", "status", "created_at", "updated_at", "state_updated_at"])
async def test_search_sorts_both_ways(client: LangGraphClient, mark: dict[str, str], sort_by: Any) -> None:
    ids = [(await client.threads.create(metadata=mark))["thread_id"] for _ in range(3)]
    await client.runs.wait(ids[1], "ask", input={"tag": "A"})
    up: list[Any] = await client.threads.search(metadata=mark, sort_by=sort_by, sort_order="asc")
    down: list[Any] = await client.threads.search(metadata=mark, sort_by=sort_by, sort_order="desc")
    assert [each[sort_by] for each in up] == sorted(each[sort_by] for each in up)
    assert [each[sort_by] for each in down] == [each[sort_by] for each in up][::-1]
    assert len(up) == len(down) == 3


async def test_the_thread_that_changed_last_comes_first(client: LangGraphClient, mark: dict[str, str]) -> None:
    ids = [(await client.threads.create(metadata=mark))["thread_id"] for _ in range(3)]
    await client.threads.update(ids[1], metadata={"x": 1})
    assert [each["thread_id"] for each in await client.threads.search(metadata=mark)] == [ids[1], ids[2], ids[0]]


async def test_pages_lead_to_the_next(client: LangGraphClient, http: httpx.AsyncClient, mark: dict[str, str]) -> None:
    for _ in range(5):
        await client.threads.create(metadata=mark)
    pages = [await http.post("/threads/search", json={"metadata": mark, "limit": 2, "offset": n}) for n in (0, 2, 4, 9)]
    assert [len(page.json()) for page in pages] == [2, 2, 1, 0]
    assert [page.headers["x-pagination-total"] for page in pages] == ["5"] * 4
    assert [page.headers.get("x-pagination-next") for page in pages] == ["2", "4", None, None]
    assert len({each["thread_id"] for page in pages for each in page.json()}) == 5


async def test_only_the_selected_fields_come(client: LangGraphClient, mark: dict[str, str]) -> None:
    made = await client.threads.create(metadata=mark)
    found: Any = await client.threads.search(metadata=mark, select=["thread_id", "status"])
    assert found == [{"thread_id": made["thread_id"], "status": "idle"}]


async def test_parts_of_threads_are_extracted(client: LangGraphClient, mark: dict[str, str]) -> None:
    made = await client.threads.create(metadata={**mark, "deep": {"list": [{"a": 1}, {"a": 2}]}})
    await client.runs.wait(made["thread_id"], "steps", input={"tag": "A"})
    extract = {
        "last": "values.steps[-1]",
        "first": "values.steps[0]",
        "tag": "values.tag",
        "nested": "metadata.deep.list[1].a",
        "beyond": "values.steps[99]",
        "absent": "values.nothing.at.all",
        "through": "values.tag.x",
    }
    found: Any = await client.threads.search(metadata=mark, extract=extract, select=["thread_id"])
    assert found[0] == {
        "thread_id": made["thread_id"],
        "extracted": {
            "last": "A.n3",
            "first": "A.n1",
            "tag": "A",
            "nested": 2,
            "beyond": None,
            "absent": None,
            "through": None,
        },
    }
    whole: Any = await client.threads.search(metadata=mark, extract={"tag": "values.tag"})
    assert whole[0]["extracted"] == {"tag": "A"}
    assert whole[0]["values"]["steps"] == ALL


async def test_a_copy_has_state_and_history_but_no_runs(client: LangGraphClient, thread: str) -> None:
    await client.threads.update(thread, metadata={"a": 1})
    await client.runs.wait(thread, "steps", input={"tag": "A"})
    copy: Any = await client.threads.copy(thread)
    original: Any = await client.threads.get(thread)
    assert copy["thread_id"] != thread
    for field in ("status", "values", "metadata", "interrupts"):
        assert copy[field] == original[field]
    theirs: Any = await client.threads.get_history(thread, limit=100)
    ours: Any = await client.threads.get_history(copy["thread_id"], limit=100)
    assert [state["values"] for state in ours] == [state["values"] for state in theirs]
    assert [state["checkpoint_id"] for state in ours] == [state["checkpoint_id"] for state in theirs]
    assert {state["checkpoint"]["thread_id"] for state in ours} == {copy["thread_id"]}
    assert await client.runs.list(copy["thread_id"]) == []


async def test_a_copy_goes_its_own_way(client: LangGraphClient, thread: str) -> None:
    await client.runs.wait(thread, "ask", input={"tag": "A"})
    copy: Any = await client.threads.copy(thread)
    assert copy["status"] == "interrupted"
    assert copy["interrupts"]
    values: Any = await client.runs.wait(copy["thread_id"], "ask", command={"resume": "copy"})
    assert values["steps"] == ["A.before", "A.ask=copy", "A.after"]
    assert (await client.threads.get_state(thread))["next"] == ["ask"]
    await client.threads.delete(copy["thread_id"])
    values = await client.runs.wait(thread, "ask", command={"resume": "first"})
    assert values["steps"] == ["A.before", "A.ask=first", "A.after"]


async def test_what_does_not_exist_cannot_be_copied(client: LangGraphClient) -> None:
    before = await client.threads.count()
    with pytest.raises(NotFoundError):
        await client.threads.copy(ABSENT)
    assert await client.threads.count() == before


async def test_a_busy_thread_can_be_copied(client: LangGraphClient, gates: Gates, thread: str) -> None:
    gates.hold(thread, "A.n2")
    run = await client.runs.create(thread, "steps", input={"tag": "A"}, durability="sync")
    await gates.started(thread, "A.n2")
    copy: Any = await client.threads.copy(thread)
    assert copy["status"] != "busy"
    gates.let(thread, "A.n2")
    await client.runs.join(thread, run["run_id"])
    state: Any = await client.threads.get_state(copy["thread_id"])
    assert state["values"]["steps"] == ["A.n1"]


def test_the_synchronous_client_does_the_same(sync_client: SyncLangGraphClient, mark: dict[str, str]) -> None:
    made = sync_client.threads.create(metadata=mark)
    assert sync_client.threads.search(metadata=mark) == [made]
    assert sync_client.threads.count(metadata=mark) == 1
    assert sync_client.threads.update(made["thread_id"], metadata={"x": 1})["metadata"] == {**mark, "x": 1}
    assert sync_client.threads.get_state(made["thread_id"])["values"] == {}
    sync_client.threads.delete(made["thread_id"])
    assert sync_client.threads.count(metadata=mark) == 0
