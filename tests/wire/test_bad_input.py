"""Bad input: refused with a 4xx that names what is wrong, and nothing has changed."""

import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from starlette.routing import Route

from turnkeeper.http.app import ROUTES

ABSENT = "01900000-0000-7000-8000-000000000000"
JSON = {"content-type": "application/json"}
RUN_PATHS = ("/threads/{thread}/runs", "/threads/{thread}/runs/stream", "/threads/{thread}/runs/wait",
             "/runs", "/runs/stream", "/runs/wait")  # fmt: skip

HTTP_ROUTES = [route for route in ROUTES if isinstance(route, Route)]


class Place(NamedTuple):
    """A thread with a past, to see whether it stays as it is."""

    thread: str
    run: str
    assistant: str
    checkpoint: str
    cron: str

    def path(self, template: str) -> str:
        """A path of the API with these ids in it."""
        return template.replace(":path}", "}").format(
            thread=self.thread,
            thread_id=self.thread,
            run_id=self.run,
            assistant_id=self.assistant,
            checkpoint_id=self.checkpoint,
            cron_id=self.cron,
            namespace="child",
        )


@pytest.fixture(scope="module")
async def place(client: LangGraphClient) -> Place:
    """An idle thread with one run, for all tests that must not change it."""
    return await new_place(client)


async def new_place(client: LangGraphClient) -> Place:
    thread = (await client.threads.create())["thread_id"]
    run = await client.runs.create(thread, "steps", input={"tag": "A"})
    await client.runs.join(thread, run["run_id"])
    state = await client.threads.get_state(thread)
    assistant = await client.assistants.create("steps", name="kept")
    cron: Any = await client.crons.create_for_thread(thread, "steps", schedule="@yearly")
    checkpoint = str(state["checkpoint"]["checkpoint_id"])
    return Place(thread, run["run_id"], assistant["assistant_id"], checkpoint, cron["cron_id"])


@pytest.fixture
async def unchanged(http: httpx.AsyncClient, place: Place) -> AsyncIterator[None]:
    """Whatever the test does, it must change nothing."""
    before = await everything(http, place)
    yield
    assert await everything(http, place) == before


async def everything(http: httpx.AsyncClient, place: Place) -> list[Any]:
    """What a client can see of the server."""
    answers = [
        await http.post("/threads/search", json={"limit": 10}),
        await http.post("/threads/count", json={}),
        await http.post("/assistants/search", json={"limit": 1000}),
        await http.post("/runs/crons/search", json={"limit": 1000}),
        await http.get(place.path("/threads/{thread}/runs?limit=1000")),
        await http.post(place.path("/threads/{thread}/history"), json={"limit": 1000}),
    ]
    assert [answer.status_code for answer in answers] == [200] * len(answers)
    return [answer.json() for answer in answers]


def refused(answer: httpx.Response, *statuses: int) -> str:
    """Why the request was refused, in one text."""
    assert answer.status_code in statuses, f"{answer.status_code} {answer.text}"
    assert answer.headers["content-type"] == "application/json"
    [(key, detail)] = answer.json().items()
    assert key == "detail"
    assert isinstance(detail, str)
    assert detail
    assert "Traceback" not in detail
    return detail


WRONG_IN_A_RUN: dict[str, list[Any]] = {
    "assistant_id": [5, None, [], {}, True],
    "command": [5, "x", [], {"update": 5}, {"update": [["a"]]}, {"goto": 5}, {"goto": [5]}],
    "config": [
        5, "x", [], {"tags": "x"}, {"tags": [5]}, {"recursion_limit": "x"}, {"recursion_limit": 1.5},
        {"recursion_limit": True}, {"configurable": 5}, {"configurable": []}, {"metadata": 5},
    ],
    "context": [5, "x", []],
    "metadata": [5, "x", [], {"turnkeeper": 5}, {"turnkeeper": {"priority": 101}}, {"turnkeeper": {"urgency": 1}}],
    "priority": [101, -101, 1.5, "high", True],
    "fairness_key": ["", "k" * 256, 5],
    "concurrency_key": ["", "k" * 256, 5],
    "checkpoint": [5, "x", [], {"checkpoint_id": 5}, {"checkpoint_ns": 5}, {"checkpoint_map": 5}],
    "checkpoint_id": [5, {}, []],
    "checkpoint_during": [5, "x", "true"],
    "durability": [5, "never", True, []],
    "interrupt_before": [5, "n1", {}, [5]],
    "interrupt_after": [5, "n1", {}, [5]],
    "stream_mode": [5, "everything", ["values", "everything"], [5], {}],
    "stream_subgraphs": ["x", 1, []],
    "stream_resumable": ["x", 1, []],
    "feedback_keys": [5, "x", [5]],
    "webhook": [5, {}, []],
    "multitask_strategy": [5, "queue", [], True],
    "if_not_exists": [5, "maybe", True],
    "on_disconnect": [5, "stop", True],
    "on_completion": [5, "forget", True],
    "after_seconds": ["x", "5", True, [], {}],
    "langsmith_tracer": [5, "x"],
    "strict_resume": ["x", 1],
}  # fmt: skip


CRON_PATHS = [("POST", "/runs/crons"), ("POST", "/threads/{thread}/runs/crons"), ("PATCH", "/runs/crons/{cron_id}")]
GOOD_CRON = {"assistant_id": "steps", "schedule": "@yearly"}
WRONG_IN_A_CRON: list[tuple[Any, str]] = [
    ({"schedule": 5}, "$.schedule"),
    ({"schedule": ""}, "five fields"),
    ({"schedule": "* * * *"}, "five fields"),
    ({"schedule": "99 * * * *"}, "Bad minute"),
    ({"schedule": "0 0 30 2 *"}, "Bad day-of-month"),
    ({"schedule": "* " * 10_000}, "five fields"),
    ({"timezone": 5}, "$.timezone"),
    ({"timezone": ""}, "Europe/Berlin"),
    ({"timezone": "Mars/Olympus"}, "Europe/Berlin"),
    ({"timezone": "../../etc/passwd"}, "Europe/Berlin"),
    ({"end_time": 5}, "$.end_time"),
    ({"end_time": "foo"}, "ISO 8601"),
    ({"end_time": "2020-01-01T00:00:00Z"}, "has passed"),
    ({"enabled": "yes"}, "$.enabled"),
    ({"on_run_completed": "burn"}, "allowed are delete, keep"),
    ({"run_id": ABSENT}, "run_id: not allowed"),
    ({"checkpoint_id": ABSENT}, "checkpoint_id: not allowed"),
    ({"after_seconds": 5}, "after_seconds: not allowed"),
    ({"on_completion": "keep"}, "on_completion: not allowed"),
]


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(("method", "path"), CRON_PATHS)
async def test_a_wrong_field_of_a_cron_s_runs_is_named_as_that_of_a_run(
    http: httpx.AsyncClient, place: Place, method: str, path: str
) -> None:
    good = GOOD_CRON if method == "POST" else {}
    for field, wrongs in WRONG_IN_A_RUN.items():
        detail = refused(await http.request(method, place.path(path), json={**good, field: wrongs[0]}), 422)
        assert f"$.{field}" in detail
        assert "xpected" in detail or "allowed are" in detail
    both = {"context": {"a": 1}, "config": {"configurable": {"b": 2}}}
    assert "context" in refused(await http.request(method, place.path(path), json={**good, **both}), 400)


@pytest.mark.usefixtures("unchanged")
async def test_a_cron_of_an_unknown_thread_or_assistant_is_refused(http: httpx.AsyncClient, place: Place) -> None:
    for path, assistant, status in (
        (f"/threads/{ABSENT}/runs/crons", "steps", 404),
        ("/threads/x/runs/crons", "steps", 422),
        (place.path("/threads/{thread}/runs/crons"), ABSENT, 404),
        ("/runs/crons", ABSENT, 404),
        ("/runs/crons", "stepz", 422),
    ):
        refused(await http.post(path, json={"assistant_id": assistant, "schedule": "@yearly"}), status)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("field", WRONG_IN_A_RUN)
async def test_a_wrong_field_of_a_run_is_named_with_what_it_may_hold(
    http: httpx.AsyncClient, place: Place, field: str
) -> None:
    for number, wrong in enumerate(WRONG_IN_A_RUN[field]):
        for path in RUN_PATHS[:: 3 if number else 1]:  # with a thread and without; the first one everywhere
            body = {"assistant_id": "steps", "input": {"tag": "B"}, field: wrong}
            detail = refused(await http.post(place.path(path), json=body), 422)
            assert f"$.{field}" in detail
            assert "xpected" in detail or "allowed are" in detail


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("method", "path", "body", "named"),
    [
        ("POST", "/assistants", {}, "graph_id"),
        ("POST", "/assistants", {"graph_id": 5}, "graph_id"),
        ("POST", "/assistants", {"graph_id": "steps", "assistant_id": "x"}, "assistant ID"),
        ("POST", "/assistants", {"graph_id": "steps", "config": 5}, "config"),
        ("POST", "/assistants", {"graph_id": "steps", "config": {"configurable": 5}}, "$.config.configurable"),
        ("POST", "/assistants", {"graph_id": "steps", "config": {"recursion_limit": "x"}}, "$.config.recursion_limit"),
        ("POST", "/assistants", {"graph_id": "steps", "config": {"tags": [5]}}, "$.config.tags"),
        ("POST", "/assistants", {"graph_id": "steps", "context": 5}, "context"),
        ("POST", "/assistants", {"graph_id": "steps", "metadata": []}, "metadata"),
        ("POST", "/assistants", {"graph_id": "steps", "name": 5}, "name"),
        ("POST", "/assistants", {"graph_id": "steps", "description": 5}, "description"),
        ("POST", "/assistants", {"graph_id": "steps", "if_exists": "x"}, "do_nothing"),
        ("PATCH", "/assistants/{assistant_id}", {"graph_id": 5}, "graph_id"),
        ("PATCH", "/assistants/{assistant_id}", {"config": {"configurable": [5]}}, "$.config.configurable"),
        ("PATCH", "/assistants/{assistant_id}", {"metadata": "x"}, "metadata"),
        ("PATCH", "/assistants/{assistant_id}", {"name": []}, "name"),
        ("POST", "/assistants/search", {"metadata": 5}, "metadata"),
        ("POST", "/assistants/search", {"metadata": "x"}, "metadata"),
        ("POST", "/assistants/search", {"graph_id": 5}, "graph_id"),
        ("POST", "/assistants/search", {"name": 5}, "name"),
        ("POST", "/assistants/search", {"limit": 0}, "limit"),
        ("POST", "/assistants/search", {"limit": 1001}, "limit"),
        ("POST", "/assistants/search", {"limit": "5"}, "limit"),
        ("POST", "/assistants/search", {"offset": -1}, "offset"),
        ("POST", "/assistants/search", {"offset": 2**64}, "offset"),
        ("POST", "/assistants/search", {"offset": 2**63}, "offset"),
        ("POST", "/assistants/search", {"sort_by": "size"}, "updated_at"),
        ("POST", "/assistants/search", {"sort_order": "up"}, "desc"),
        ("POST", "/assistants/search", {"select": ["size"]}, "graph_id"),
        ("POST", "/assistants/search", {"select": "name"}, "select"),
        ("POST", "/assistants/count", {"metadata": []}, "metadata"),
        ("POST", "/threads", {"thread_id": "x"}, "thread ID"),
        ("POST", "/threads", {"thread_id": 5}, "thread_id"),
        ("POST", "/threads", {"metadata": 5}, "metadata"),
        ("POST", "/threads", {"if_exists": "x"}, "do_nothing"),
        ("POST", "/threads", {"ttl": 5}, "ttl"),
        ("POST", "/threads", {"ttl": {"ttl": "x"}}, "ttl"),
        ("POST", "/threads", {"ttl": {"strategy": "burn"}}, "keep_latest"),
        ("POST", "/threads", {"supersteps": 5}, "supersteps"),
        ("POST", "/threads", {"supersteps": [{}]}, "updates"),
        ("POST", "/threads", {"supersteps": [{"updates": [{"values": {}}]}]}, "as_node"),
        ("PATCH", "/threads/{thread_id}", {"metadata": 5}, "metadata"),
        ("PATCH", "/threads/{thread_id}", {"ttl": 5}, "ttl"),
        ("POST", "/threads/search", {"metadata": 5}, "metadata"),
        ("POST", "/threads/search", {"values": "x"}, "values"),
        ("POST", "/threads/search", {"ids": ["x"]}, "thread ID"),
        ("POST", "/threads/search", {"ids": 5}, "ids"),
        ("POST", "/threads/search", {"status": "tired"}, "interrupted"),
        ("POST", "/threads/search", {"limit": -1}, "limit"),
        ("POST", "/threads/search", {"offset": "x"}, "offset"),
        ("POST", "/threads/search", {"sort_by": "size"}, "state_updated_at"),
        ("POST", "/threads/search", {"sort_order": 5}, "sort_order"),
        ("POST", "/threads/search", {"select": ["size"]}, "interrupts"),
        ("POST", "/threads/search", {"extract": ["x"]}, "extract"),
        ("POST", "/threads/search", {"extract": {"x": "size"}}, "extract"),
        ("POST", "/threads/search", {"extract": {"x": "values[*]"}}, "extract"),
        ("POST", "/threads/search", {"extract": {"x": f"values[{'9' * 5000}]"}}, "extract"),
        ("POST", "/threads/search", {"extract": {f"x{n}": "values.a" for n in range(11)}}, "at most 10"),
        ("POST", "/threads/count", {"status": "tired"}, "busy"),
        ("POST", "/threads/{thread_id}/state", {"values": {}, "as_node": 5}, "as_node"),
        ("POST", "/threads/{thread_id}/state", {"checkpoint": 5}, "checkpoint"),
        ("POST", "/threads/{thread_id}/state", {"checkpoint_id": 5}, "checkpoint_id"),
        ("POST", "/threads/{thread_id}/state/checkpoint", {}, "checkpoint"),
        ("POST", "/threads/{thread_id}/state/checkpoint", {"checkpoint": "x"}, "checkpoint"),
        ("POST", "/threads/{thread_id}/state/checkpoint", {"checkpoint": {}, "subgraphs": "x"}, "subgraphs"),
        ("POST", "/threads/{thread_id}/history", {"limit": 0}, "limit"),
        ("POST", "/threads/{thread_id}/history", {"limit": 1001}, "limit"),
        ("POST", "/threads/{thread_id}/history", {"before": 5}, "before"),
        ("POST", "/threads/{thread_id}/history", {"before": {"checkpoint_id": 5}}, "checkpoint_id"),
        ("POST", "/threads/{thread_id}/history", {"metadata": 5}, "metadata"),
        ("POST", "/threads/{thread_id}/history", {"checkpoint": 5}, "checkpoint"),
        ("POST", "/runs/cancel", {}, "run_ids"),
        ("POST", "/runs/cancel", {"status": "done"}, "pending"),
        ("POST", "/runs/cancel", {"status": "all", "thread_id": ABSENT, "run_ids": [ABSENT]}, "status"),
        ("POST", "/runs/cancel", {"thread_id": "x", "run_ids": [ABSENT]}, "thread ID"),
        ("POST", "/runs/cancel", {"thread_id": ABSENT, "run_ids": ["x"]}, "run ID"),
        ("POST", "/runs/cancel", {"thread_id": ABSENT, "run_ids": "x"}, "run_ids"),
        *(
            (method, path, {**(GOOD_CRON if method == "POST" else {}), **body}, named)
            for method, path in CRON_PATHS
            for body, named in WRONG_IN_A_CRON
        ),
        *(
            ("POST", path, body, named)
            for method, path in CRON_PATHS
            if method == "POST"
            for body, named in (
                ({"assistant_id": "steps"}, "schedule"),
                ({"schedule": "@daily"}, "assistant_id"),
                ({"schedule": None, "assistant_id": "steps"}, "schedule"),
            )
        ),
        ("PATCH", "/runs/crons/{cron_id}", {"assistant_id": "fails"}, "keeps its assistant"),
        ("POST", "/runs/crons/search", {"assistant_id": "stepz"}, "'stepz'"),
        ("POST", "/runs/crons/search", {"thread_id": "x"}, "thread ID"),
        ("POST", "/runs/crons/search", {"enabled": "x"}, "enabled"),
        ("POST", "/runs/crons/search", {"metadata": 5}, "metadata"),
        ("POST", "/runs/crons/search", {"limit": 0}, "limit"),
        ("POST", "/runs/crons/search", {"offset": -1}, "offset"),
        ("POST", "/runs/crons/search", {"sort_by": "size"}, "next_run_date"),
        ("POST", "/runs/crons/search", {"sort_order": "up"}, "desc"),
        ("POST", "/runs/crons/search", {"select": ["size"]}, "next_run_date"),
        ("POST", "/runs/crons/count", {"thread_id": 5}, "thread_id"),
        ("POST", "/runs/batch", [], "length"),
        ("POST", "/runs/batch", {}, "array"),
        ("POST", "/runs/batch", ["steps"], "$[0]"),
    ],
)
async def test_a_wrong_field_is_named(
    http: httpx.AsyncClient, place: Place, method: str, path: str, body: Any, named: str
) -> None:
    assert named in refused(await http.request(method, place.path(path), json=body), 422)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("method", "path", "named"),
    [
        ("GET", "/threads/{thread_id}/runs?limit=abc", "limit"),
        ("GET", "/threads/{thread_id}/runs?limit=0", "limit"),
        ("GET", "/threads/{thread_id}/runs?limit=-1", "limit"),
        ("GET", "/threads/{thread_id}/runs?limit=1001", "limit"),
        ("GET", "/threads/{thread_id}/runs?offset=-1", "offset"),
        ("GET", "/threads/{thread_id}/runs?offset=99999999999999999999", "offset"),
        ("GET", "/threads/{thread_id}/runs?status=done", "success"),
        ("GET", "/threads/{thread_id}/runs?select=size", "run_id"),
        ("GET", "/threads/{thread_id}/runs?select=[5]", "select"),
        ("GET", "/threads/{thread_id}/runs?select=[", "select"),
        ("GET", "/threads/{thread_id}/runs/{run_id}/join?cancel_on_disconnect=maybe", "cancel_on_disconnect"),
        ("GET", "/threads/{thread_id}/runs/{run_id}/stream?cancel_on_disconnect=2", "cancel_on_disconnect"),
        ("GET", "/threads/{thread_id}/runs/{run_id}/stream?stream_mode=everything", "messages-tuple"),
        ("POST", "/threads/{thread_id}/runs/{run_id}/cancel?wait=maybe", "wait"),
        ("POST", "/threads/{thread_id}/runs/{run_id}/cancel?action=kill", "rollback"),
        ("GET", "/threads/{thread_id}/state?subgraphs=maybe", "subgraphs"),
        ("GET", "/threads/{thread_id}/history?limit=x", "limit"),
        ("GET", "/threads/{thread_id}/history?limit=0", "limit"),
        ("DELETE", "/assistants/{assistant_id}?delete_threads=maybe", "delete_threads"),
    ],
)
async def test_a_wrong_word_in_the_query_is_named(
    http: httpx.AsyncClient, place: Place, method: str, path: str, named: str
) -> None:
    assert named in refused(await http.request(method, place.path(path)), 422)


UNKNOWN = [
    ("GET", "/threads/{id}"),
    ("PATCH", "/threads/{id}"),
    ("DELETE", "/threads/{id}"),
    ("POST", "/threads/{id}/copy"),
    ("GET", "/threads/{id}/state"),
    ("POST", "/threads/{id}/state"),
    ("GET", "/threads/{id}/history"),
    ("POST", "/threads/{id}/history"),
    ("GET", "/threads/{id}/runs"),
    ("GET", "/threads/{thread}/runs/{id}"),
    ("DELETE", "/threads/{thread}/runs/{id}"),
    ("POST", "/threads/{thread}/runs/{id}/cancel"),
    ("GET", "/runs/crons/{id}"),
    ("PATCH", "/runs/crons/{id}"),
    ("DELETE", "/runs/crons/{id}"),
    ("GET", "/assistants/{id}"),
    ("PATCH", "/assistants/{id}"),
    ("DELETE", "/assistants/{id}"),
]


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(("method", "path"), UNKNOWN)
async def test_an_id_that_does_not_exist_is_a_404_and_one_that_is_none_a_422(
    http: httpx.AsyncClient, place: Place, method: str, path: str
) -> None:
    body: Any = {"json": {}} if method in ("POST", "PATCH") else {}
    for known, status in ((ABSENT, 404), ("x", 422), ("5", 422), ("%00", 422), (ABSENT + "0", 422), ("💥", 422)):
        answer = await http.request(method, path.format(id=known, thread=place.thread), **body)
        detail = refused(answer, status)
        if status == 422:
            assert "must be a UUID" in detail


async def test_a_run_is_not_found_through_another_thread(
    http: httpx.AsyncClient, place: Place, thread: str, unchanged: None
) -> None:
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel")):
        refused(await http.request(method, f"/threads/{thread}/runs/{place.run}{path}"), 404)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("path", RUN_PATHS)
async def test_an_unknown_assistant_is_refused_before_anything_happens(
    http: httpx.AsyncClient, place: Place, path: str
) -> None:
    by_name = await http.post(place.path(path), json={"assistant_id": "stepz"})
    detail = refused(by_name, 422)
    assert "'stepz'" in detail
    assert "steps, fails, parallel" in detail
    refused(await http.post(place.path(path), json={"assistant_id": ABSENT}), 404)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("path", RUN_PATHS[:3])
async def test_an_unknown_thread_is_refused_before_anything_happens(http: httpx.AsyncClient, path: str) -> None:
    refused(await http.post(path.format(thread=ABSENT), json={"assistant_id": "steps"}), 404)
    refused(await http.post(path.format(thread="x"), json={"assistant_id": "steps"}), 422)


@pytest.mark.usefixtures("unchanged")
async def test_an_unknown_graph_is_refused_with_those_there_are(http: httpx.AsyncClient, place: Place) -> None:
    made = await http.post("/assistants", json={"graph_id": "stepz"})
    changed = await http.patch(place.path("/assistants/{assistant_id}"), json={"graph_id": "stepz"})
    for answer in (made, changed):
        assert "'steps'" in refused(answer, 404)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("path", RUN_PATHS)
async def test_context_and_configurable_at_once_are_refused(http: httpx.AsyncClient, place: Place, path: str) -> None:
    body = {"assistant_id": "steps", "context": {"a": 1}, "config": {"configurable": {"b": 2}}}
    assert "context" in refused(await http.post(place.path(path), json=body), 400)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("bad", "statuses"),
    [
        ({"input": {}}, (422,)),
        ({"assistant_id": "stepz"}, (422,)),
        ({"assistant_id": ABSENT}, (404,)),
        ({"assistant_id": "steps", "stream_mode": "everything"}, (422,)),
        ({"assistant_id": "steps", "context": {"a": 1}, "config": {"configurable": {"b": 1}}}, (400,)),
        (None, (422,)),
    ],
)
async def test_a_batch_with_one_bad_item_creates_none(http: httpx.AsyncClient, bad: Any, statuses: tuple[int]) -> None:
    good = {"assistant_id": "steps", "input": {"tag": "B"}, "on_completion": "keep"}
    refused(await http.post("/runs/batch", json=[good, bad, good]), *statuses)


NO_JSON = {
    "empty": b"",
    "open": b'{"assistant_id": "steps"',
    "two": b"{}{}",
    "single quotes": b"{'assistant_id': 'steps'}",
    "trailing comma": b'{"assistant_id": "steps",}',
    "comment": b'{"assistant_id": "steps"} // x',
    "nan": b'{"assistant_id": "steps", "input": NaN}',
    "infinity": b'{"assistant_id": "steps", "input": {"x": -Infinity}}',
    "too big a float": b'{"assistant_id": "steps", "input": {"x": 1e999}}',
    "too long a number": b'{"assistant_id": "steps", "input": {"x": ' + b"9" * 5000 + b"}}",
    "raw nul": b'{"assistant_id": "steps", "input": "a\x00b"}',
    "escaped nul": b'{"assistant_id": "steps", "input": "a\\u0000b"}',
    "nul in a key": b'{"assistant_id": "steps", "metadata": {"a\\u0000b": 1}}',
    "control character": b'{"assistant_id": "steps", "input": "a\x01b"}',
    "lone high surrogate": b'{"assistant_id": "steps", "input": "\\ud800"}',
    "lone low surrogate": b'{"assistant_id": "steps", "input": ["\\udc00"]}',
    "surrogates the wrong way round": b'{"assistant_id": "steps", "metadata": {"x": "\\udc00\\ud800"}}',
    "surrogate as UTF-8": b'{"assistant_id": "steps", "input": "\xed\xa0\x80"}',
    "latin-1": b'{"assistant_id": "steps", "input": "\xe9"}',
    "UTF-16": '{"assistant_id": "steps"}'.encode("utf-16"),
    "UTF-32": '{"assistant_id": "steps"}'.encode("utf-32"),
    "BOM": b'\xef\xbb\xbf{"assistant_id": "steps"}',
    "text": b"hello",
    "form": b"assistant_id=steps",
    "number": b"5",
    "string": b'"steps"',
    "null": b"null",
    "list": b"[]",
    "gzip": b"\x1f\x8b\x08\x00",
}


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("body", NO_JSON.values(), ids=NO_JSON)
async def test_what_is_no_json_object_is_refused(http: httpx.AsyncClient, place: Place, body: bytes) -> None:
    for path in (*RUN_PATHS, "/runs/crons", "/assistants"):
        refused(await http.post(place.path(path), content=body, headers=JSON), 422)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
@pytest.mark.parametrize("depth", [250, 100_000])
async def test_a_body_nested_too_deep_is_refused(
    http: httpx.AsyncClient, place: Place, opening: bytes, depth: int
) -> None:
    closing = b"]" if opening == b"[" else b"}"
    body = b'{"assistant_id": "steps", "input": %b1%b}' % (opening * depth, closing * depth)
    for path in (*RUN_PATHS, "/threads", "/threads/{thread}/state"):
        refused(await http.post(place.path(path), content=body, headers=JSON), 400, 422)


@pytest.mark.parametrize(
    "value",
    [["[" * 1000] * 10, "{" * 1000 + '\\"', {'"[{': "\\" * 999}, [[]] * 100_000, [{"a": [{}]}] * 10_000, "é" * 1000],
    ids=["brackets", "braces and quotes", "quotes in keys", "wide", "many objects", "umlauts"],
)
async def test_a_body_that_is_wide_or_talks_of_brackets_is_not_too_deep(http: httpx.AsyncClient, value: Any) -> None:
    answer = await http.post("/threads", json={"metadata": {"x": value}})
    assert answer.status_code == 200
    assert (await http.delete(f"/threads/{answer.json()['thread_id']}")).status_code == 204


@pytest.mark.usefixtures("unchanged")
async def test_a_body_that_is_too_long_is_refused(http: httpx.AsyncClient, place: Place) -> None:
    body = json.dumps({"assistant_id": "steps", "input": "x" * 10_000_000}).encode()

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 1_000_000):
            yield body[start : start + 1_000_000]

    for path in ("/threads/{thread}/runs", "/threads/{thread}/runs/wait", "/threads"):
        assert "max_body" in refused(await http.post(place.path(path), content=body, headers=JSON), 413)
    assert "max_body" in refused(await http.post(place.path("/threads/{thread}/runs"), content=chunks()), 413)


async def test_a_long_input_within_the_limit_is_taken(client: LangGraphClient, thread: str) -> None:
    said = "é" * 2_000_000
    values: Any = await client.runs.wait(thread, "plain", input={"said": said})
    assert values["said"] == said
    await client.threads.delete(thread)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("path", sorted({route.path for route in HTTP_ROUTES}))
async def test_a_wrong_method_is_a_405(http: httpx.AsyncClient, place: Place, path: str) -> None:
    known = {method for route in HTTP_ROUTES if route.path == path for method in route.methods or ()}
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"} - known:
        templates = {route.path for route in HTTP_ROUTES if method in (route.methods or ())}
        if any(takes(template, place.path(path)) for template in templates):
            continue  # another route takes this very path, with an id where this one has a word
        assert refused(await http.request(method, place.path(path)), 405) == "Method Not Allowed"


def takes(template: str, path: str) -> bool:
    """Whether a route would take the path."""
    ours, theirs = path.split("/"), template.split("/")
    return len(ours) == len(theirs) and all(t.startswith("{") or t == o for o, t in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("path", ["/nowhere", "/threads/x/y/z", "/runs/crons/x/y/z", "/assistants/x/y/z", "/%00"])
async def test_an_unknown_route_is_a_404(http: httpx.AsyncClient, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        assert refused(await http.request(method, path), 404) == "Not Found"


GARBAGE = [
    *NO_JSON.values(),
    b"{}",
    b"[null]",
    b"[{}]",
    b'{"a": 1}',
    b'{"limit": -1, "offset": {}}',
    b'{"metadata": null, "values": null, "checkpoint": null, "config": null, "input": null}',
    b'{"metadata": {"graph_id": []}}',
    b'{"metadata": {"graph_id": "nope", "assistant_id": {}}}',
    b'{"values": 5}',
    b'{"values": []}',
    b'{"values": {"steps": 5, "tag": {}}, "as_node": "n1"}',
    b'{"values": [["a", 1]], "as_node": "n1"}',
    b'{"values": null, "as_node": "__end__"}',
    b'{"values": null, "as_node": "__start__"}',
    b'{"values": null, "as_node": "__copy__"}',
    b'{"checkpoint": {"checkpoint_ns": "a|b:c", "checkpoint_id": "x", "checkpoint_map": {"": "x"}}}',
    b'{"checkpoint": {"checkpoint_ns": "a|b:c"}}',
    b'{"checkpoint": {"checkpoint_map": {"": 5}}}',
    b'{"before": {"configurable": {"checkpoint_id": 5}}}',
    b'{"before": {"configurable": {"checkpoint_id": "x", "checkpoint_ns": 5}}}',
    b'{"before": "x"}',
    b'{"metadata": {"$or": [{"a": {"$gt": null}}]}, "extract": {"": "values.a"}}',
    b'{"select": [], "ids": []}',
    b'{"name": "%_\\\\", "graph_id": ""}',
    b'{"thread_id": "", "assistant_id": "", "run_ids": [], "status": null}',
]


@pytest.mark.parametrize("route", HTTP_ROUTES, ids=lambda route: f"{min(route.methods or [])} {route.path}")
async def test_no_garbage_makes_the_server_stumble(
    http: httpx.AsyncClient, client: LangGraphClient, route: Any
) -> None:
    place = await new_place(client)
    [method] = route.methods - {"HEAD"}
    for body in GARBAGE[:: 10 if method == "GET" else 1]:  # nobody reads the body of a GET
        async with http.stream(method, place.path(route.path), content=body, headers=JSON) as answer:
            assert answer.status_code < 500, f"{body!r}: {await answer.aread()}"
    again: Any = await client.runs.wait(None, "steps", input={"tag": "B"})
    assert again["steps"] == ["B.n1", "B.n2", "B.n3"]


@pytest.mark.parametrize("graph_id", [5, [], {}, None, True, "nowhere", ""])
async def test_any_graph_id_in_the_metadata_leaves_a_thread_readable(
    client: LangGraphClient, http: httpx.AsyncClient, graph_id: Any
) -> None:
    thread = (await client.threads.create(metadata={"graph_id": graph_id}))["thread_id"]
    assert (await client.threads.get(thread))["metadata"] == {"graph_id": graph_id}
    for answer in (
        await http.get(f"/threads/{thread}/state"),
        await http.post(f"/threads/{thread}/history", json={}),
        await http.post(f"/threads/{thread}/state", json={"values": {"tag": "x"}}),
    ):
        assert answer.status_code in (200, 400, 404), answer.text
    values: Any = await client.runs.wait(thread, "steps", input={"tag": "A"})
    assert values["steps"] == ["A.n1", "A.n2", "A.n3"]


@pytest.mark.parametrize(
    "key", ["__pregel_read", "__pregel_send", "__pregel_task_id", "__pregel_resuming", "__pregel_checkpointer",
            "checkpoint_ns", "checkpoint_map", "thread_id", "checkpoint_id", "run_id"],
)  # fmt: skip
@pytest.mark.parametrize("value", [5, "x", {"": "x"}])
async def test_no_word_in_configurable_gets_between_a_run_and_its_thread(
    client: LangGraphClient, thread: str, key: str, value: Any
) -> None:
    if key == "checkpoint_id" and value == "x":
        pytest.skip("names a checkpoint to go on from, as the SDKs do")
    values: Any = await client.runs.wait(thread, "steps", input={"tag": "A"}, config={"configurable": {key: value}})
    assert values["steps"] == ["A.n1", "A.n2", "A.n3"]
    assert (await client.threads.get_state(thread))["values"] == values


WIDE = {"wide": 2**70, "negative": -(2**70), "unsigned": 2**64 - 1, "list": [2**64]}


async def test_numbers_over_64_bits_in_metadata_come_back_as_they_were(
    client: LangGraphClient, http: httpx.AsyncClient
) -> None:
    mark = {"mark": str(uuid4())}
    made = await http.post("/threads", content=json.dumps({"metadata": {**WIDE, **mark}}))
    thread = made.json()["thread_id"]
    assistant = (await http.post("/assistants", content=json.dumps({"graph_id": "steps", "metadata": WIDE}))).json()
    run = (
        await http.post(
            f"/threads/{thread}/runs",
            content=json.dumps({"assistant_id": "steps", "input": {"tag": "A"}, "metadata": WIDE}),
        )
    ).json()
    await client.runs.join(thread, run["run_id"])
    for path in (
        f"/threads/{thread}",
        f"/threads/{thread}/runs/{run['run_id']}",
        f"/assistants/{assistant['assistant_id']}",
    ):
        assert json.loads((await http.get(path)).text)["metadata"].items() >= WIDE.items()
    assert (await http.get(f"/threads/{thread}/state")).status_code == 200
    assert (await http.post(f"/threads/{thread}/history", json={"limit": 10})).status_code == 200
    found = await http.post("/threads/search", content=json.dumps({"metadata": {**mark, **WIDE}}))
    assert [each["thread_id"] for each in found.json()] == [thread]
    assert (await http.post("/threads/search", json={"limit": 1000})).status_code == 200


async def test_a_number_over_64_bits_in_an_input_is_answered_and_poisons_nothing(
    http: httpx.AsyncClient, thread: str
) -> None:
    body = json.dumps({"assistant_id": "plain", "input": {"said": 2**70}})
    answer = await http.post(f"/threads/{thread}/runs/wait", content=body)
    assert answer.status_code == 200
    await assert_readable(http, thread)


ODD = ["wide", "negative", "nan", "infinity", "bytes", "set", "surrogate", "surrogate_key", "nul", "date", "keys",
       "wide_key", "opaque", "function", "class", "error", "complex", "endless", "hostile"]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "durability"), [*((kind, "async") for kind in ODD), ("wide", "sync"), ("nan", "exit")]
)
async def test_a_node_that_returns_what_json_cannot_say_poisons_nothing(
    client: LangGraphClient, http: httpx.AsyncClient, thread: str, kind: str, durability: Any
) -> None:
    run = await client.runs.create(thread, "odd", input={"kind": kind}, durability=durability)
    answer = await http.get(f"/threads/{thread}/runs/{run['run_id']}/join")
    assert answer.status_code == 200
    ended = (await client.runs.get(thread, run["run_id"]))["status"]
    values = answer.json()
    assert (ended == "error") == ("__error__" in values)
    assert ended in ("success", "error")
    await assert_readable(http, thread)
    again: Any = await client.runs.wait(thread, "steps", input={"tag": "A"})
    assert again["steps"] == ["A.n1", "A.n2", "A.n3"]


@pytest.mark.parametrize("kind", ODD)
async def test_what_json_cannot_say_does_not_break_a_stream(http: httpx.AsyncClient, kind: str) -> None:
    modes = ["values", "updates", "debug", "tasks", "checkpoints", "events", "messages", "custom"]
    body = {"assistant_id": "odd", "input": {"kind": kind}, "stream_mode": modes}
    answer = await http.post("/runs/stream", json=body)
    assert answer.status_code == 200
    lines = answer.text.split("\r\n")
    events = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    data = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert len(data) == len(events)
    assert events[0] == "metadata"
    assert events[-1] in ("error", "values", "events", "debug", "checkpoints")


async def assert_readable(http: httpx.AsyncClient, thread: str) -> None:
    """Everything that shows the thread answers with JSON."""
    answers = [
        await http.get(f"/threads/{thread}"),
        await http.get(f"/threads/{thread}/state"),
        await http.get(f"/threads/{thread}/state?subgraphs=true"),
        await http.post(f"/threads/{thread}/history", json={"limit": 100}),
        await http.get(f"/threads/{thread}/runs"),
        await http.post("/threads/search", json={"ids": [thread]}),
        await http.post("/threads/search", json={"values": {"odd": {"a": 1}}}),
        await http.post("/threads/search", json={"values": {"kind": "wide"}, "extract": {"odd": "values.odd"}}),
        await http.post("/threads/count", json={"values": {"odd": 1}}),
        await http.post(f"/threads/{thread}/copy"),
    ]
    for answer in answers:
        assert answer.status_code == 200, answer.text
        answer.json()
    copied = answers[-1].json()["thread_id"]
    assert (await http.delete(f"/threads/{copied}")).status_code == 204
