"""The state of threads: read, edited, listed back through time; by the SDK and by LangGraph's `RemoteGraph`."""

from itertools import pairwise
from typing import Any

import httpx
import pytest
from langgraph.pregel.remote import RemoteGraph
from langgraph.types import Command
from langgraph_sdk.client import LangGraphClient, SyncLangGraphClient
from langgraph_sdk.errors import BadRequestError, ConflictError, NotFoundError

from tests.wire.live import Gates

ABSENT = "01900000-0000-7000-8000-000000000000"
ALL = ["A.n1", "A.n2", "A.n3"]


async def run(client: LangGraphClient, thread: str, tag: str = "A", graph: str = "steps") -> Any:
    """A whole run of a graph."""
    return await client.runs.wait(thread, graph, input={"tag": tag}, raise_error=False)


async def test_a_thread_that_never_ran_has_an_empty_state(client: LangGraphClient, http: httpx.AsyncClient) -> None:
    for metadata in ({}, {"graph_id": "steps"}):
        thread = (await client.threads.create(metadata=metadata))["thread_id"]
        expected = {
            "values": {}, "next": [], "tasks": [], "metadata": None, "created_at": None, "checkpoint": None,
            "parent_checkpoint": None, "interrupts": [], "checkpoint_id": None, "parent_checkpoint_id": None,
        }  # fmt: skip
        assert (await http.get(f"/threads/{thread}/state")).json() == expected
        at = await http.post(f"/threads/{thread}/state/checkpoint", json={"checkpoint": {"thread_id": thread}})
        address = {"thread_id": thread, "checkpoint_ns": "", "checkpoint_id": None}
        assert at.json() == {**expected, "checkpoint": address, "metadata": {"thread_id": thread}}
        assert await client.threads.get_history(thread) == []


async def test_a_state_says_where_it_stands(client: LangGraphClient, thread: str) -> None:
    await run(client, thread)
    state: Any = await client.threads.get_state(thread)
    newest = (await client.runs.list(thread))[0]
    assert state["values"] == {"tag": "A", "steps": ALL}
    assert (state["next"], state["tasks"], state["interrupts"]) == ([], [], [])
    assert state["created_at"].endswith("+00:00")
    assert state["checkpoint"].items() >= {"thread_id": thread, "checkpoint_ns": ""}.items()
    assert state["checkpoint_id"] == state["checkpoint"]["checkpoint_id"]
    assert state["parent_checkpoint_id"] == state["parent_checkpoint"]["checkpoint_id"]
    expected = {"source": "loop", "step": 3, "run_id": newest["run_id"], "thread_id": thread, "graph_id": "steps"}
    expected["assistant_id"] = newest["assistant_id"]
    assert {**state["metadata"], **expected} == state["metadata"]


async def test_a_state_can_be_read_at_any_checkpoint(client: LangGraphClient, thread: str) -> None:
    await run(client, thread)
    for past in await client.threads.get_history(thread, limit=10):
        checkpoint: Any = past["checkpoint"]
        by_id = await client.threads.get_state(thread, checkpoint_id=checkpoint["checkpoint_id"])
        by_address = await client.threads.get_state(thread, checkpoint=checkpoint)
        assert by_id == by_address == past


@pytest.mark.parametrize("address", [{}, {"thread_id": "ours"}, {"checkpoint_ns": ""}, {"checkpoint_id": None}])
async def test_an_address_without_a_checkpoint_means_the_newest(
    client: LangGraphClient, thread: str, address: Any
) -> None:
    await run(client, thread)
    address = {**address, "thread_id": thread} if "thread_id" in address else address
    assert await client.threads.get_state(thread, checkpoint=address) == await client.threads.get_state(thread)


async def test_what_does_not_exist_is_not_found(client: LangGraphClient, thread: str) -> None:
    with pytest.raises(NotFoundError, match="not found"):
        await client.threads.get_state(ABSENT)
    with pytest.raises(NotFoundError):
        await client.threads.get_history(ABSENT)
    with pytest.raises(NotFoundError):
        await client.threads.update_state(ABSENT, {"tag": "x"})
    await run(client, thread)
    for checkpoint in (ABSENT, "nonsense"):
        address: Any = {"checkpoint_id": checkpoint}
        with pytest.raises(NotFoundError, match=checkpoint):
            await client.threads.get_state(thread, checkpoint_id=checkpoint)
        with pytest.raises(NotFoundError, match=checkpoint):
            await client.threads.get_state(thread, checkpoint=address)


async def test_an_edit_is_made_as_a_node_would(client: LangGraphClient, thread: str) -> None:
    await run(client, thread)
    saved: Any = await client.threads.update_state(thread, {"steps": ["edit"]}, as_node="n1")
    assert set(saved) == {"checkpoint", "configurable", "checkpoint_id"}
    assert saved["checkpoint"] == saved["configurable"]
    assert set(saved["checkpoint"]) == {"thread_id", "checkpoint_ns", "checkpoint_id"}
    state: Any = await client.threads.get_state(thread)
    assert state["checkpoint"]["checkpoint_id"] == saved["checkpoint_id"] == saved["checkpoint"]["checkpoint_id"]
    assert state["values"]["steps"] == [*ALL, "edit"]
    assert state["next"] == ["n2"]
    assert state["metadata"]["source"] == "update"
    seen: Any = await client.threads.get(thread)
    assert (seen["status"], seen["values"]) == ("interrupted", state["values"])
    assert await client.runs.wait(thread, "steps", input=None) == {"tag": "A", "steps": [*ALL, "edit", "A.n2", "A.n3"]}
    assert (await client.threads.get(thread))["status"] == "idle"


async def test_an_edit_without_a_node_continues_after_the_last_one(client: LangGraphClient, thread: str) -> None:
    await run(client, thread)
    await client.threads.update_state(thread, {"steps": ["edit"]})
    state: Any = await client.threads.get_state(thread)
    assert (state["next"], state["values"]["steps"]) == ([], [*ALL, "edit"])
    assert (await client.threads.get(thread))["status"] == "idle"


async def test_a_thread_can_be_filled_before_its_first_run(client: LangGraphClient) -> None:
    thread = (await client.threads.create(graph_id="steps"))["thread_id"]
    await client.threads.update_state(thread, {"tag": "P", "steps": ["P.n1"]}, as_node="n1")
    assert (await client.threads.get_state(thread))["next"] == ["n2"]
    assert (await client.threads.get(thread))["values"] == {"tag": "P", "steps": ["P.n1"]}


async def test_a_thread_without_a_graph_cannot_be_edited(client: LangGraphClient, thread: str) -> None:
    with pytest.raises(BadRequestError, match="graph"):
        await client.threads.update_state(thread, {"tag": "x"})


async def test_a_question_can_be_answered_or_skipped_by_an_edit(client: LangGraphClient, thread: str) -> None:
    await run(client, thread, graph="ask")
    await client.threads.update_state(thread, {"steps": ["skipped"]}, as_node="ask")
    seen: Any = await client.threads.get(thread)
    assert (seen["status"], seen["interrupts"]) == ("interrupted", {})
    values: Any = await client.runs.wait(thread, "ask", input=None)
    assert values["steps"] == ["A.before", "skipped", "A.after"]


async def test_an_older_state_can_be_forked(client: LangGraphClient, thread: str) -> None:
    await run(client, thread)
    history = await client.threads.get_history(thread, limit=10)
    after_n1: Any = next(state for state in history if state["next"] == ["n2"])
    for address in ({"checkpoint": after_n1["checkpoint"]}, {"checkpoint_id": after_n1["checkpoint_id"]}):
        saved: Any = await client.threads.update_state(thread, {"steps": ["fork"]}, as_node="n2", **address)
        state: Any = await client.threads.get_state(thread)
        assert state["checkpoint_id"] == saved["checkpoint_id"]
        assert state["parent_checkpoint_id"] == after_n1["checkpoint_id"]
        assert state["values"]["steps"] == ["A.n1", "fork"]
        assert (await client.threads.get(thread))["values"] == state["values"]
    assert await client.runs.wait(thread, "steps", input=None) == {"tag": "A", "steps": ["A.n1", "fork", "A.n3"]}
    assert (await client.threads.get_state(thread, checkpoint_id=history[0]["checkpoint"]["checkpoint_id"]))[
        "values"
    ] == {"tag": "A", "steps": ALL}


async def test_an_older_state_can_be_forked_as_it_is(client: LangGraphClient, thread: str) -> None:
    await run(client, thread)
    after_n1: Any = (await client.threads.get_history(thread, limit=10))[2]
    await client.threads.update_state(thread, None, checkpoint=after_n1["checkpoint"])
    state: Any = await client.threads.get_state(thread)
    assert (state["next"], state["values"]["steps"]) == (["n2"], ["A.n1"])


async def unchanged(client: LangGraphClient, thread: str, before: Any) -> None:
    assert [await client.threads.get(thread), await client.threads.get_history(thread, limit=100)] == before


@pytest.mark.parametrize(
    ("values", "as_node", "said"),
    [
        ({"steps": ["x"]}, "n9", "n9"),
        ({"steps": 5}, "n1", "TypeError"),
        ({"steps": None}, "n1", "TypeError"),
        ([{"tag": "x"}], "n1", ""),
        ([5], "n1", ""),
        ("text", "n1", ""),
        (5, "n1", ""),
    ],
)
async def test_an_edit_the_graph_does_not_take_is_refused(
    http: httpx.AsyncClient, client: LangGraphClient, thread: str, values: Any, as_node: str, said: str
) -> None:
    await run(client, thread)
    before = [await client.threads.get(thread), await client.threads.get_history(thread, limit=100)]
    answer = await http.post(f"/threads/{thread}/state", json={"values": values, "as_node": as_node})
    assert answer.status_code == 400, answer.text
    assert said in answer.json()["detail"]
    assert "Traceback" not in answer.text
    await unchanged(client, thread, before)


@pytest.mark.parametrize("values", [{"total": "x"}, {"ratio": 0}, {"known": {}}, {"known": 5}, {"total": None}])
async def test_a_value_a_reducer_does_not_take_is_refused(
    http: httpx.AsyncClient, client: LangGraphClient, thread: str, values: Any
) -> None:
    await client.runs.wait(thread, "strict", input={"total": 1, "ratio": 1.0, "known": {"key": "a", "value": "b"}})
    before = [await client.threads.get(thread), await client.threads.get_history(thread, limit=100)]
    answer = await http.post(f"/threads/{thread}/state", json={"values": values, "as_node": "add"})
    assert answer.status_code == 400, answer.text
    assert isinstance(answer.json()["detail"], str)
    await unchanged(client, thread, before)


@pytest.mark.parametrize("checkpoint", [ABSENT, "nonsense"])
async def test_an_edit_of_a_checkpoint_that_does_not_exist_is_refused(
    client: LangGraphClient, thread: str, checkpoint: str
) -> None:
    await run(client, thread)
    before = [await client.threads.get(thread), await client.threads.get_history(thread, limit=100)]
    with pytest.raises(NotFoundError, match=checkpoint):
        await client.threads.update_state(thread, {"steps": ["x"]}, as_node="n1", checkpoint_id=checkpoint)
    await unchanged(client, thread, before)


@pytest.mark.parametrize("state", ["waiting", "running"])
async def test_a_busy_thread_is_not_edited(
    http: httpx.AsyncClient, client: LangGraphClient, gates: Gates, thread: str, state: str
) -> None:
    await run(client, thread, "P")
    gates.hold(thread, "A.n2")
    options: Any = {"after_seconds": 3600} if state == "waiting" else {}
    made = await client.runs.create(thread, "steps", input={"tag": "A"}, durability="sync", **options)
    if state == "running":
        await gates.started(thread, "A.n2")
    before = await client.threads.get_history(thread, limit=100)
    answer = await http.post(f"/threads/{thread}/state", json={"values": {"steps": ["x"]}, "as_node": "n1"})
    assert answer.status_code == 409, answer.text
    assert len(answer.json()["detail"]) < 200
    with pytest.raises(ConflictError):
        await client.threads.update_state(thread, None)
    assert await client.threads.get_history(thread, limit=100) == before
    gates.let(thread, "A.n2")
    await client.runs.cancel(thread, made["run_id"], wait=True) if state == "waiting" else await client.runs.join(
        thread, made["run_id"]
    )
    await client.threads.update_state(thread, {"steps": ["x"]}, as_node="n1")


async def test_a_running_thread_shows_how_far_it_is(client: LangGraphClient, gates: Gates, thread: str) -> None:
    gates.hold(thread, "A.n2")
    made = await client.runs.create(thread, "steps", input={"tag": "A"}, durability="sync")
    await gates.started(thread, "A.n2")
    state: Any = await client.threads.get_state(thread)
    assert (state["values"]["steps"], state["next"]) == (["A.n1"], ["n2"])
    assert [task["name"] for task in state["tasks"]] == ["n2"]
    gates.let(thread, "A.n2")
    await client.runs.join(thread, made["run_id"])


async def test_a_failed_task_shows_its_error(client: LangGraphClient, thread: str) -> None:
    await run(client, thread, graph="fails")
    state: Any = await client.threads.get_state(thread)
    assert state["next"] == ["boom"]
    [task] = state["tasks"]
    assert (task["name"], task["error"], task["interrupts"]) == ("boom", "ValueError('boom!')", [])
    assert task["path"] == ["__pregel_pull", "boom"]


async def test_a_question_is_found_at_its_task(client: LangGraphClient, thread: str) -> None:
    await run(client, thread, graph="ask")
    state: Any = await client.threads.get_state(thread)
    [task] = state["tasks"]
    [question] = task["interrupts"]
    assert question["value"] == {"question": "go on?", "tag": "A"}
    assert question["id"]
    assert state["interrupts"] == [question]


async def test_history_goes_back_to_the_beginning(client: LangGraphClient, thread: str) -> None:
    await run(client, thread)
    history: list[Any] = await client.threads.get_history(thread, limit=100)
    assert [state["next"] for state in history] == [[], ["n3"], ["n2"], ["n1"], ["__start__"]]
    assert [state["metadata"]["step"] for state in history] == [3, 2, 1, 0, -1]
    for newer, older in pairwise(history):
        assert newer["parent_checkpoint"] == older["checkpoint"]
    assert history[-1]["parent_checkpoint"] is None
    assert history[0] == await client.threads.get_state(thread)


async def test_history_comes_in_pages_whichever_way_the_place_is_named(
    client: LangGraphClient, http: httpx.AsyncClient, thread: str
) -> None:
    await run(client, thread)
    history: list[Any] = await client.threads.get_history(thread)
    checkpoint = history[1]["checkpoint"]
    shapes: list[Any] = [
        checkpoint["checkpoint_id"],
        {"checkpoint_id": checkpoint["checkpoint_id"]},
        checkpoint,
        {"configurable": checkpoint},
        {"configurable": {"checkpoint_id": checkpoint["checkpoint_id"]}},
    ]
    for before in shapes:
        assert await client.threads.get_history(thread, limit=2, before=before) == history[2:4]
    by_query = await http.get(f"/threads/{thread}/history?limit=2&before={checkpoint['checkpoint_id']}")
    assert by_query.json() == history[2:4]
    assert (await http.get(f"/threads/{thread}/history?limit=&before=")).json() == history
    assert len((await http.post(f"/threads/{thread}/history", json={})).json()) == 1


async def test_history_can_be_filtered_by_what_made_it(client: LangGraphClient, thread: str) -> None:
    first = await client.runs.create(thread, "steps", input={"tag": "A"}, metadata={"mark": 1})
    await client.runs.join(thread, first["run_id"])
    await run(client, thread, "B")
    await client.threads.update_state(thread, {"steps": ["x"]}, as_node="n1")

    async def count(metadata: Any) -> int:
        return len(await client.threads.get_history(thread, limit=100, metadata=metadata))

    assert await count({}) == 11
    assert await count({"source": "update"}) == 1
    assert await count({"source": "input"}) == 2
    assert await count({"run_id": first["run_id"]}) == 5
    assert await count({"mark": 1, "step": 2}) == 1
    assert await count({"mark": 2}) == 0


async def test_the_state_of_a_subgraph_is_shown_when_asked_for(
    client: LangGraphClient, gates: Gates, thread: str
) -> None:
    gates.hold(thread, "A.c2")
    made = await client.runs.create(thread, "subgraph", input={"tag": "A"}, durability="sync")
    await gates.started(thread, "A.c2")
    plain: Any = await client.threads.get_state(thread)
    [task] = plain["tasks"]
    assert (task["name"], task["state"]) == ("child", None)
    assert task["checkpoint"] == {"thread_id": thread, "checkpoint_ns": f"child:{task['id']}"}
    whole: Any = await client.threads.get_state(thread, subgraphs=True)
    [nested] = whole["tasks"]
    assert nested["checkpoint"] is None
    assert (nested["state"]["values"]["steps"], nested["state"]["next"]) == (["A.before", "A.c1"], ["c2"])
    address = nested["state"]["checkpoint"]
    assert address["checkpoint_ns"] == task["checkpoint"]["checkpoint_ns"]
    for place in (task["checkpoint"], address):
        inner: Any = await client.threads.get_state(thread, checkpoint=place)
        assert (inner["values"], inner["next"]) == (nested["state"]["values"], ["c2"])
    history: list[Any] = await client.threads.get_history(thread, checkpoint=task["checkpoint"])
    assert [state["next"] for state in history] == [["c2"], ["c1"], ["__start__"]]
    gates.let(thread, "A.c2")
    await client.runs.join(thread, made["run_id"])


async def test_the_state_of_a_subgraph_can_be_edited(client: LangGraphClient, gates: Gates, thread: str) -> None:
    gates.hold(thread, "A.c2")
    made = await client.runs.create(thread, "subgraph", input={"tag": "A"}, durability="sync")
    await gates.started(thread, "A.c2")
    await client.runs.cancel(thread, made["run_id"], wait=True)
    gates.let(thread, "A.c2")
    state: Any = await client.threads.get_state(thread)
    address = state["tasks"][0]["checkpoint"]
    saved: Any = await client.threads.update_state(thread, {"steps": ["edit"]}, as_node="c2", checkpoint=address)
    assert saved["checkpoint"]["checkpoint_ns"] == address["checkpoint_ns"]
    inner: Any = await client.threads.get_state(thread, checkpoint=address)
    assert inner["values"]["steps"] == ["A.before", "A.c1", "edit"]
    values: Any = await client.runs.wait(thread, "subgraph", input=None)
    assert values["steps"] == ["A.before", "A.c1", "edit", "A.after"]


# What RemoteGraph does with our answers.


@pytest.fixture
def remote(client: LangGraphClient, sync_client: SyncLangGraphClient) -> RemoteGraph:
    """The graph `ask` as a node of somebody else's graph would see it."""
    return RemoteGraph("ask", client=client, sync_client=sync_client)


async def test_a_remote_graph_is_invoked_and_resumed(remote: RemoteGraph, thread: str) -> None:
    config: Any = {"configurable": {"thread_id": thread}, "tags": ["remote"], "metadata": {"from": "afar"}}
    asked: Any = await remote.ainvoke({"tag": "A"}, config)
    assert asked["__interrupt__"][0]["value"] == {"question": "go on?", "tag": "A"}
    snapshot: Any = await remote.aget_state(config)
    assert snapshot.next == ("ask",)
    assert snapshot.interrupts[0].value == {"question": "go on?", "tag": "A"}
    assert snapshot.metadata["from"] == "afar"
    answered: Any = await remote.ainvoke(Command(resume="yes"), config)
    assert answered["steps"] == ["A.before", "A.ask=yes", "A.after"]


async def test_a_remote_graph_without_a_thread_is_invoked(remote: RemoteGraph) -> None:
    asked: Any = await remote.ainvoke({"tag": "A"})
    assert asked["steps"] == ["A.before"]


async def test_a_remote_graph_makes_the_thread_it_needs(remote: RemoteGraph) -> None:
    thread = "0190ffff-0000-7000-8000-00000000beef"
    asked: Any = await remote.ainvoke({"tag": "A"}, {"configurable": {"thread_id": thread}})
    assert asked["steps"] == ["A.before"]


async def test_a_remote_graph_streams(remote: RemoteGraph, thread: str) -> None:
    config: Any = {"configurable": {"thread_id": thread}}
    updates: list[Any] = [each async for each in remote.astream({"tag": "A"}, config, stream_mode="updates")]
    assert updates[0] == {"before": {"steps": ["A.before"]}}
    assert "__interrupt__" in updates[1]
    both: list[Any] = [
        each async for each in remote.astream(Command(resume="ok"), config, stream_mode=["values", "updates"])
    ]
    assert ("updates", {"ask": {"steps": ["A.ask=ok"]}}) in [part[:2] for part in both]
    assert both[-1][:2] == ("values", {"tag": "A", "steps": ["A.before", "A.ask=ok", "A.after"]})


async def test_a_remote_graph_streams_its_subgraphs(client: LangGraphClient, thread: str) -> None:
    remote = RemoteGraph("subgraph", client=client)
    config: Any = {"configurable": {"thread_id": thread}}
    stream = remote.astream({"tag": "A"}, config, stream_mode="updates", subgraphs=True)
    seen = [(namespace, *update) async for namespace, update in stream]
    assert [node for _, node in seen] == ["before", "c1", "c2", "child", "after"]
    assert [bool(namespace) for namespace, _ in seen] == [False, True, True, False, False]


async def test_a_remote_graph_streams_messages(client: LangGraphClient, thread: str) -> None:
    remote = RemoteGraph("agent", client=client)
    given = {"messages": [{"role": "user", "content": "What is the weather in Oslo?"}]}
    stream = remote.astream(given, {"configurable": {"thread_id": thread}}, stream_mode="messages")
    chunks: list[Any] = [part async for part in stream]
    assert "".join(m["content"] for m, _ in chunks if m["type"] == "AIMessageChunk") == "It is sunny in Oslo."
    assert {metadata["langgraph_node"] for _, metadata in chunks} == {"model", "tools"}


async def test_the_error_of_a_remote_graph_is_raised(client: LangGraphClient, thread: str) -> None:
    remote = RemoteGraph("fails", client=client)
    with pytest.raises(Exception, match="boom!"):
        await remote.ainvoke({"tag": "A"}, {"configurable": {"thread_id": thread}})


async def test_a_remote_graph_is_edited_and_looked_back_on(remote: RemoteGraph, thread: str) -> None:
    config: Any = {"configurable": {"thread_id": thread}}
    await remote.ainvoke({"tag": "A"}, config)
    history = [each async for each in remote.aget_state_history(config)]
    assert [each.next for each in history] == [("ask",), ("before",), ("__start__",)]
    older = [each async for each in remote.aget_state_history(config, before=history[0].config, limit=1)]
    assert [each.config for each in older] == [history[1].config]
    by_filter = [each async for each in remote.aget_state_history(config, filter={"source": "input"})]
    assert [each.config for each in by_filter] == [history[2].config]
    assert (await remote.aget_state(history[1].config)).values == history[1].values
    edited: Any = await remote.aupdate_state(config, {"steps": ["edit"]}, as_node="ask")
    assert edited["configurable"]["thread_id"] == thread
    assert (await remote.aget_state(config)).next == ("after",)
    forked: Any = await remote.aupdate_state(history[1].config, {"steps": ["fork"]}, as_node="before")
    state: Any = await remote.aget_state(config)
    assert state.config["configurable"]["checkpoint_id"] == forked["configurable"]["checkpoint_id"]
    assert (state.values["steps"], state.next) == (["fork"], ("ask",))


def test_a_remote_graph_does_the_same_synchronously(remote: RemoteGraph, sync_client: SyncLangGraphClient) -> None:
    thread = sync_client.threads.create()["thread_id"]
    config: Any = {"configurable": {"thread_id": thread}}
    assert remote.invoke({"tag": "A"}, config)["steps"] == ["A.before"]
    assert remote.get_state(config).next == ("ask",)
    assert len(list(remote.get_state_history(config))) == 3
    parts: list[Any] = list(remote.stream(Command(resume=1), config, stream_mode=["updates"]))
    assert [part[0] for part in parts] == ["updates"] * 2
    remote.update_state(config, {"steps": ["edit"]}, as_node="after")
    assert remote.get_state(config, subgraphs=True).values["steps"][-1] == "edit"
