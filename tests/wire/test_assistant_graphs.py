"""What clients can ask of an assistant's graph without running it, and of the assistant's earlier versions."""

import uuid
from typing import Any

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient, SyncLangGraphClient
from langgraph_sdk.errors import BadRequestError, NotFoundError, UnprocessableEntityError

from tests.wire.app import nesting

ABSENT = "01900000-0000-7000-8000-000000000000"


# --- drawings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("xray", [False, True, 1, 2, 99])
async def test_a_graph_is_drawn_as_far_down_as_was_asked(client: LangGraphClient, xray: Any) -> None:
    assert await client.assistants.get_graph("deep", xray=xray) == nesting.deep.get_graph(xray=xray).to_json()


async def test_any_assistant_of_a_graph_is_drawn(client: LangGraphClient, sync_client: SyncLangGraphClient) -> None:
    made = await client.assistants.create("deep", context={"tone": "curt"})
    drawn = await client.assistants.get_graph(made["assistant_id"])
    assert drawn == sync_client.assistants.get_graph("deep") == nesting.deep.get_graph().to_json()


async def test_a_graph_is_drawn_as_its_assistant_configures_it(client: LangGraphClient) -> None:
    made = await client.assistants.create("configured", context={"nodes": ["one", "two"]})
    drawn: Any = await client.assistants.get_graph(made["assistant_id"])
    assert [node["id"] for node in drawn["nodes"]] == ["__start__", "one", "two", "__end__"]
    await client.assistants.update(made["assistant_id"], context={"nodes": ["three"]})
    drawn = await client.assistants.get_graph(made["assistant_id"])
    assert [node["id"] for node in drawn["nodes"]] == ["__start__", "three", "__end__"]


async def test_a_graph_its_assistant_does_not_fit_says_why(client: LangGraphClient) -> None:
    for question in (client.assistants.get_graph, client.assistants.get_schemas, client.assistants.get_subgraphs):
        with pytest.raises(BadRequestError, match="'configured' cannot be looked at: KeyError: 'nodes'"):
            await question("configured")


# --- schemas ----------------------------------------------------------------------------------------------------------


async def test_schemas_are_the_graph_s(client: LangGraphClient) -> None:
    described: Any = await client.assistants.get_schemas("deep")
    context = nesting.deep.get_context_jsonschema()
    state = described.pop("state_schema")
    assert described == {
        "graph_id": "deep",
        "input_schema": nesting.deep.get_input_jsonschema(),
        "output_schema": nesting.deep.get_output_jsonschema(),
        "config_schema": context,
        "context_schema": context,
    }
    assert state["properties"] == described["input_schema"]["properties"]
    assert described["output_schema"]["properties"].keys() == {"steps"}


async def test_messages_are_described(client: LangGraphClient) -> None:
    described: Any = await client.assistants.get_schemas("agent")
    for schema in ("input_schema", "output_schema", "state_schema"):
        assert described[schema]["properties"]["messages"]["type"] == "array"
        assert "HumanMessage" in described[schema]["$defs"]
    assert (described["context_schema"], described["config_schema"]) == (None, None)


async def test_a_type_of_the_standard_library_is_described(client: LangGraphClient) -> None:
    described: Any = await client.assistants.get_schemas("steps")
    fields = {"tag": {"title": "Tag", "type": "string"}}
    fields |= {"steps": {"items": {"type": "string"}, "title": "Steps", "type": "array"}}
    assert described["input_schema"]["properties"] == described["state_schema"]["properties"] == fields
    assert sorted(described["input_schema"]["required"]) == ["steps", "tag"]


async def test_a_field_that_cannot_be_described_does_not_hide_the_others(client: LangGraphClient) -> None:
    described: Any = await client.assistants.get_schemas("strange")
    fields = {"known": {"title": "Known", "type": "integer"}, "unknown": {"title": "Unknown"}}
    for schema in ("input_schema", "output_schema", "state_schema"):
        assert described[schema]["properties"] == fields


@pytest.mark.parametrize("graph", ["function", "odd", "echo", "strict", "subgraph"])
async def test_every_graph_can_be_looked_at(client: LangGraphClient, graph: str) -> None:
    described: Any = await client.assistants.get_schemas(graph)
    assert described["graph_id"] == graph
    assert isinstance(described["state_schema"], dict)
    drawn: Any = await client.assistants.get_graph(graph, xray=True)
    assert {"__start__", "__end__"} <= {node["id"] for node in drawn["nodes"]}


async def test_subgraphs_are_described_by_their_place(client: LangGraphClient) -> None:
    found: Any = await client.assistants.get_subgraphs("deep")
    assert found.keys() == {"middle"}
    deeper: Any = await client.assistants.get_subgraphs("deep", recurse=True)
    assert deeper.keys() == {"middle", "middle|inner"}
    inner = dict(nesting.deep.get_subgraphs(recurse=True))["middle|inner"]
    assert deeper["middle|inner"]["input_schema"] == inner.get_input_jsonschema()
    assert set(deeper["middle"]) == {
        "input_schema", "output_schema", "state_schema", "config_schema", "context_schema",
    }  # fmt: skip
    assert await client.assistants.get_subgraphs("steps") == {}


async def test_a_subgraph_is_found_by_its_place(client: LangGraphClient, sync_client: SyncLangGraphClient) -> None:
    everything: Any = await client.assistants.get_subgraphs("deep", recurse=True)
    only = sync_client.assistants.get_subgraphs("deep", namespace="middle")
    assert only == {"middle": everything["middle"]}
    only = await client.assistants.get_subgraphs("deep", namespace="middle|inner", recurse=True)
    assert only == {"middle|inner": everything["middle|inner"]}
    for nowhere in ("nowhere", "middle|nowhere", "mid", "a/b", "before"):
        assert await client.assistants.get_subgraphs("deep", namespace=nowhere, recurse=True) == {}


# --- versions ---------------------------------------------------------------------------------------------------------


async def test_versions_say_what_the_assistant_was(client: LangGraphClient) -> None:
    made: Any = await client.assistants.create("steps", name="one", metadata={"team": 1}, description="first")
    assistant_id = made["assistant_id"]
    second: Any = await client.assistants.update(assistant_id, name="two", context={"k": 2})
    third: Any = await client.assistants.update(assistant_id, graph_id="ask", metadata={"team": 2})
    versions: Any = await client.assistants.get_versions(assistant_id)
    for found, was in zip(versions, (third, second, made), strict=True):
        assert found == {key: value for key, value in was.items() if key != "updated_at"} | {
            "created_at": was["updated_at"]
        }
    assert [each["version"] for each in versions] == [3, 2, 1]
    assert await client.assistants.get_versions(assistant_id, metadata={"team": 1}) == versions[1:]
    assert await client.assistants.get_versions(assistant_id, limit=1, offset=1) == versions[1:2]


async def test_an_assistant_can_be_what_it_was(client: LangGraphClient, thread: str) -> None:
    made: Any = await client.assistants.create("steps", name="one", description="first", metadata={"team": 1})
    assistant_id = made["assistant_id"]
    await client.assistants.update(assistant_id, graph_id="ask", name="two", metadata={"new": True}, context={"k": 2})
    back: Any = await client.assistants.set_latest(assistant_id, 1)
    assert back == await client.assistants.get(assistant_id)
    assert back == {**made, "updated_at": back["updated_at"]}
    run: Any = await client.runs.wait(thread, assistant_id, input={"tag": "A"})
    assert run["steps"] == ["A.n1", "A.n2", "A.n3"]
    again: Any = await client.assistants.update(assistant_id, description="third")
    assert (again["version"], again["graph_id"], again["name"]) == (3, "steps", "one")
    assert [each["version"] for each in await client.assistants.get_versions(assistant_id)] == [3, 2, 1]


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("xray", ["0", "-1", "foo", "1.5", "9" * 5000, str(2**70)])
async def test_xray_is_checked(http: httpx.AsyncClient, xray: str) -> None:
    answer = await http.get("/assistants/deep/graph", params={"xray": xray})
    assert answer.status_code == 422
    assert "xray" in answer.json()["detail"]
    assert "whole numbers from 1, true and false" in answer.json()["detail"]


@pytest.mark.parametrize("xray", ["", "FALSE", "false"])
async def test_an_empty_xray_counts_as_none(http: httpx.AsyncClient, xray: str) -> None:
    answer = await http.get("/assistants/deep/graph", params={"xray": xray})
    assert answer.json() == nesting.deep.get_graph().to_json()


async def test_recurse_is_checked(http: httpx.AsyncClient) -> None:
    for path in ("/assistants/deep/subgraphs", "/assistants/deep/subgraphs/middle"):
        answer = await http.get(path, params={"recurse": "maybe"})
        assert (answer.status_code, "recurse" in answer.json()["detail"]) == (422, True)


async def test_an_unknown_assistant_has_nothing(client: LangGraphClient) -> None:
    assistants = client.assistants
    for question in (
        assistants.get_graph,
        assistants.get_schemas,
        assistants.get_subgraphs,
        assistants.get_versions,
        lambda given: assistants.set_latest(given, 1),
    ):
        with pytest.raises(NotFoundError, match=ABSENT):
            await question(ABSENT)
        with pytest.raises(UnprocessableEntityError, match="must be a UUID"):
            await question("nowhere")


@pytest.mark.parametrize(
    "body", [{}, {"version": None}, {"version": "1"}, {"version": 0}, {"version": 1.5}, {"version": 2**70}, [], "x"]
)
async def test_a_version_is_a_number(http: httpx.AsyncClient, client: LangGraphClient, body: Any) -> None:
    made = await client.assistants.create("steps")
    answer = await http.post(f"/assistants/{made['assistant_id']}/latest", json=body)
    assert answer.status_code == 422
    assert await client.assistants.get(made["assistant_id"]) == made


async def test_a_version_that_never_was_is_not_found(client: LangGraphClient) -> None:
    made = await client.assistants.create("steps")
    with pytest.raises(NotFoundError, match="no version 99"):
        await client.assistants.set_latest(made["assistant_id"], 99)
    assert await client.assistants.get(made["assistant_id"]) == made


@pytest.mark.parametrize("body", [{"limit": 0}, {"limit": 1001}, {"offset": -1}, {"metadata": []}])
async def test_a_page_of_versions_is_checked(http: httpx.AsyncClient, body: Any) -> None:
    answer = await http.post(f"/assistants/{uuid.uuid4()}/versions", json=body)
    assert answer.status_code == 422
    assert next(iter(body)) in answer.json()["detail"]


async def test_the_body_of_versions_may_be_missing(http: httpx.AsyncClient, client: LangGraphClient) -> None:
    made = await client.assistants.create("steps")
    answer = await http.post(f"/assistants/{made['assistant_id']}/versions")
    assert [each["version"] for each in answer.json()] == [1]
