"""Assistants, as the SDK uses them."""

import uuid
from typing import Any

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient, SyncLangGraphClient
from langgraph_sdk.errors import ConflictError, NotFoundError, UnprocessableEntityError

NAMESPACE = uuid.UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")
ABSENT = "01900000-0000-7000-8000-000000000000"


@pytest.fixture
def mark() -> dict[str, str]:
    """Metadata that only this test's assistants have."""
    return {"mark": str(uuid.uuid4())}


@pytest.mark.parametrize("graph", ["steps", "agent", "ask"])
async def test_every_graph_has_an_assistant_under_its_well_known_id(client: LangGraphClient, graph: str) -> None:
    assistant: Any = await client.assistants.get(str(uuid.uuid5(NAMESPACE, graph)))
    assert assistant["graph_id"] == assistant["name"] == graph
    assert assistant["metadata"] == {"created_by": "system"}
    assert (assistant["config"], assistant["context"], assistant["version"]) == ({}, {}, 1)
    assert assistant["created_at"].endswith("+00:00")


async def test_all_graphs_are_found_by_their_origin(client: LangGraphClient) -> None:
    found = await client.assistants.search(metadata={"created_by": "system"}, limit=1000)
    assert {"steps", "fails", "parallel", "subgraph", "ask", "agent"} <= {each["graph_id"] for each in found}
    assert len(found) == await client.assistants.count(metadata={"created_by": "system"})


async def test_a_new_assistant_is_what_was_asked_for(client: LangGraphClient, mark: dict[str, str]) -> None:
    assistant_id = str(uuid.uuid4())
    made: Any = await client.assistants.create(
        "echo",
        assistant_id=assistant_id,
        config={"tags": ["a"], "recursion_limit": 7},
        context={"user": "ada"},
        metadata=mark,
        name="Ada",
        description="knows engines",
    )
    assert made == await client.assistants.get(assistant_id)
    assert (
        made.items()
        >= {
            "assistant_id": assistant_id,
            "graph_id": "echo",
            "name": "Ada",
            "description": "knows engines",
            "metadata": mark,
            "context": {"user": "ada"},
            "config": {"tags": ["a"], "recursion_limit": 7, "configurable": {"user": "ada"}},
            "version": 1,
        }.items()
    )
    assert made["created_at"] == made["updated_at"]


async def test_an_assistant_that_is_told_nothing_has_defaults(client: LangGraphClient) -> None:
    made: Any = await client.assistants.create("steps")
    assert uuid.UUID(made["assistant_id"]).version == 7
    assert (made["name"], made["description"], made["config"], made["context"]) == ("Untitled", None, {}, {})
    assert made["metadata"] == {}


async def test_explicit_nulls_count_as_not_given(http: httpx.AsyncClient) -> None:
    body = dict.fromkeys(["assistant_id", "config", "context", "metadata", "name", "description", "if_exists"])
    answer = await http.post("/assistants", json={"graph_id": "steps", **body, "unknown": 1})
    assert answer.status_code == 200
    assert answer.json()["name"] == "Untitled"


@pytest.mark.parametrize(
    "given", [{"config": {"configurable": {"a": 1}}}, {"context": {"a": 1}}], ids=["configurable", "context"]
)
async def test_configurable_and_context_mirror_each_other(client: LangGraphClient, given: Any) -> None:
    made: Any = await client.assistants.create("steps", **given)
    assert made["context"] == made["config"]["configurable"] == {"a": 1}
    other: Any = {"config": {"configurable": {"b": 2}}} if "context" in given else {"context": {"b": 2}}
    changed: Any = await client.assistants.update(made["assistant_id"], **other)
    assert changed["context"] == changed["config"]["configurable"] == {"b": 2}


async def test_context_and_another_configurable_are_refused(http: httpx.AsyncClient) -> None:
    body = {"graph_id": "steps", "context": {"a": 1}, "config": {"configurable": {"b": 1}}}
    answer = await http.post("/assistants", json=body)
    assert answer.status_code == 400
    assert "context" in answer.json()["detail"]


async def test_an_id_is_given_once(client: LangGraphClient) -> None:
    made = await client.assistants.create("steps", name="first")
    with pytest.raises(ConflictError, match="already exists"):
        await client.assistants.create("steps", assistant_id=made["assistant_id"], name="second")
    again = await client.assistants.create(
        "fails", assistant_id=made["assistant_id"], name="second", if_exists="do_nothing"
    )
    assert again == made


async def test_a_change_makes_a_new_version_and_merges_metadata(client: LangGraphClient, mark: dict[str, str]) -> None:
    made: Any = await client.assistants.create("steps", name="one", metadata={**mark, "a": 1, "b": {"x": 1}})
    two: Any = await client.assistants.update(made["assistant_id"], name="two", metadata={"b": {"y": 2}})
    three: Any = await client.assistants.update(made["assistant_id"], graph_id="fails", description="three")
    assert (two["version"], three["version"]) == (2, 3)
    assert two["metadata"] == three["metadata"] == {**mark, "a": 1, "b": {"y": 2}}
    assert (three["name"], three["graph_id"], three["description"]) == ("two", "fails", "three")
    assert three["created_at"] == made["created_at"]
    assert three["updated_at"] > made["updated_at"]
    assert three == await client.assistants.get(made["assistant_id"])


async def test_a_description_can_be_taken_away_and_a_patch_of_nothing_is_none(http: httpx.AsyncClient) -> None:
    made = (await http.post("/assistants", json={"graph_id": "steps", "description": "x"})).json()
    path = f"/assistants/{made['assistant_id']}"
    assert (await http.patch(path, json={})).json() == made
    assert (await http.patch(path, json={"name": None, "config": None})).json() == made
    assert (await http.patch(path, json={"description": None})).json()["description"] is None


async def test_runs_follow_the_newest_version(client: LangGraphClient, thread: str) -> None:
    made = await client.assistants.create("echo", context={"user": "ada"}, config={"tags": ["one"]})
    await client.assistants.update(made["assistant_id"], context={"user": "bob"})
    values: Any = await client.runs.wait(thread, made["assistant_id"], input={})
    assert values["seen"]["context"] == {"user": "bob", "model": "small"}
    run = (await client.runs.list(thread))[0]
    assert run["assistant_id"] == made["assistant_id"]


async def test_a_deleted_assistant_is_gone_and_its_threads_stay(client: LangGraphClient, thread: str) -> None:
    made = await client.assistants.create("steps")
    await client.runs.wait(thread, made["assistant_id"], input={"tag": "A"})
    await client.assistants.delete(made["assistant_id"])
    for call in (client.assistants.get, client.assistants.delete, client.assistants.update):
        with pytest.raises(NotFoundError):
            await call(made["assistant_id"])
    with pytest.raises(NotFoundError):
        await client.runs.create(thread, made["assistant_id"], input={"tag": "B"})
    state: Any = await client.threads.get_state(thread)
    assert state["values"]["steps"] == ["A.n1", "A.n2", "A.n3"]


async def test_an_assistant_can_take_its_threads_with_it(client: LangGraphClient, thread: str) -> None:
    made = await client.assistants.create("steps")
    await client.runs.wait(thread, made["assistant_id"], input={"tag": "A"})
    marked = await client.threads.create(metadata={"assistant_id": made["assistant_id"]})
    other = await client.threads.create()
    await client.assistants.delete(made["assistant_id"], delete_threads=True)
    for gone in (thread, marked["thread_id"]):
        with pytest.raises(NotFoundError):
            await client.threads.get(gone)
    assert await client.threads.get(other["thread_id"])


async def test_search_filters_by_graph_name_and_metadata(client: LangGraphClient, mark: dict[str, str]) -> None:
    for graph, name, extra in (
        ("steps", "Alpha one", {"n": 1, "deep": {"a": 1, "b": 2}}),
        ("fails", "alpha two", {"n": 2}),
        ("steps", "beta", {"n": True}),
    ):
        await client.assistants.create(graph, name=name, metadata={**mark, **extra})

    async def names(metadata: dict[str, Any], **filters: Any) -> list[str]:
        found = await client.assistants.search(metadata={**mark, **metadata}, sort_order="asc", **filters)
        assert len(found) == await client.assistants.count(metadata={**mark, **metadata}, **filters)
        return [each["name"] for each in found]

    assert await names({}) == ["Alpha one", "alpha two", "beta"]
    assert await names({}, graph_id="steps") == ["Alpha one", "beta"]
    assert await names({}, graph_id="nowhere") == []
    assert await names({}, name="ALPHA") == ["Alpha one", "alpha two"]
    assert await names({}, name="a%o") == []
    assert await names({"n": 1}) == ["Alpha one"]
    assert await names({"deep": {"b": 2}}) == ["Alpha one"]
    assert await names({"deep": {"b": 3}}) == []
    assert await names({"absent": None}) == []


@pytest.mark.parametrize("sort_by", ["assistant_id", "graph_id", "name", "created_at", "updated_at"])
async def test_search_sorts_both_ways(client: LangGraphClient, mark: dict[str, str], sort_by: Any) -> None:
    for graph, name in (("steps", "b"), ("fails", "c"), ("ask", "a")):
        await client.assistants.create(graph, name=name, metadata=mark)
    up: list[Any] = await client.assistants.search(metadata=mark, sort_by=sort_by, sort_order="asc")
    down: list[Any] = await client.assistants.search(metadata=mark, sort_by=sort_by, sort_order="desc")
    assert [each[sort_by] for each in up] == sorted(each[sort_by] for each in up)
    assert down == up[::-1]


async def test_pages_lead_to_the_next(client: LangGraphClient, http: httpx.AsyncClient, mark: dict[str, str]) -> None:
    for name in "abcde":
        await client.assistants.create("steps", name=name, metadata=mark)
    seen: list[str] = []
    offset = 0
    while True:
        page: Any = await client.assistants.search(metadata=mark, limit=2, offset=offset, response_format="object")
        seen += [each["name"] for each in page["assistants"]]
        if page["next"] is None:
            break
        offset = int(page["next"])
    assert seen == list("edcba")
    for offset in (0, 4, 100):
        answer = await http.post("/assistants/search", json={"metadata": mark, "limit": 2, "offset": offset})
        assert answer.headers["x-pagination-total"] == "5"
    assert "x-pagination-next" not in answer.headers


async def test_only_the_selected_fields_come(client: LangGraphClient, mark: dict[str, str]) -> None:
    await client.assistants.create("steps", name="a", metadata=mark)
    found: Any = await client.assistants.search(metadata=mark, select=["name", "graph_id"])
    assert found == [{"name": "a", "graph_id": "steps"}]


async def test_a_graph_name_stands_for_its_assistant(client: LangGraphClient, thread: str) -> None:
    by_name = await client.assistants.get("steps")
    assert by_name["assistant_id"] == str(uuid.uuid5(NAMESPACE, "steps"))
    run = await client.runs.create(thread, "steps", input={"tag": "A"})
    assert run["assistant_id"] == by_name["assistant_id"]
    with pytest.raises(UnprocessableEntityError, match="must be a UUID"):
        await client.assistants.get("nowhere")


async def test_an_id_may_be_spelled_in_capitals(client: LangGraphClient, thread: str) -> None:
    made = await client.assistants.create("steps", assistant_id=str(uuid.uuid4()).upper())
    assert made["assistant_id"] == made["assistant_id"].lower()
    assert await client.assistants.get(made["assistant_id"].upper()) == made
    assert await client.runs.wait(thread, made["assistant_id"].upper(), input={"tag": "A"})


def test_the_synchronous_client_does_the_same(sync_client: SyncLangGraphClient, mark: dict[str, str]) -> None:
    made = sync_client.assistants.create("steps", metadata=mark)
    assert sync_client.assistants.search(metadata=mark) == [made]
    assert sync_client.assistants.update(made["assistant_id"], name="x")["version"] == 2
    sync_client.assistants.delete(made["assistant_id"])
    assert sync_client.assistants.count(metadata=mark) == 0
