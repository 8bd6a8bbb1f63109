"""The scenario that double texting is named after, word for word, through every client there is.

Create a thread; ask for the weather in sf; while that is being looked up ask for the weather in nyc, once with each
strategy; join the second run; then look at the state. The JavaScript client plays it in `test_javascript.py`.
"""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient, SyncLangGraphClient
from langgraph_sdk.errors import ConflictError, NotFoundError

from tests.wire.live import Gates, Live

STRATEGIES = ("reject", "enqueue", "interrupt", "rollback")
FIRST: Any = {"messages": [{"role": "human", "content": "what's the weather in sf?"}]}
SECOND: Any = {"messages": [{"role": "human", "content": "what's the weather in nyc?"}]}

every_strategy = pytest.mark.parametrize("strategy", STRATEGIES)


def turn(city: str) -> list[list[str]]:
    """A question and its whole answer."""
    return [
        ["human", f"what's the weather in {city}?"],
        ["ai", f"get_weather({city})"],
        ["tool", f"It is sunny in {city}."],
        ["ai", f"It is sunny in {city}."],
    ]


CUT_SHORT = [*turn("sf")[:2], ["tool", "Interrupted before it finished."]]
"""A turn that was interrupted while its tool was at work: providers refuse a tool call without an answer."""


@dataclass(frozen=True)
class Story:
    """How it ended. A status is `None` for a run that is gone or was refused."""

    statuses: list[str | None]
    messages: list[list[str]]
    next: list[str]
    thread: str


EXPECTED = {
    "reject": Story(["success", None], turn("sf"), [], "idle"),
    "enqueue": Story(["success", "success"], turn("sf") + turn("nyc"), [], "idle"),
    "interrupt": Story(["interrupted", "success"], CUT_SHORT + turn("nyc"), [], "idle"),
    "rollback": Story([None, "success"], turn("nyc"), [], "idle"),
}


def told(messages: list[Any]) -> list[list[str]]:
    """Who said what; a tool call is written as one."""
    return [[message["type"], message["content"] or _call(message)] for message in messages]


def _call(message: Any) -> str:
    return ", ".join(f"{call['name']}({call['args']['city']})" for call in message["tool_calls"])


def goes_on(strategy: str) -> bool:
    """Whether the first run is to end by itself; else it is stopped where it is."""
    return strategy in ("reject", "enqueue")


@every_strategy
async def test_by_the_async_python_client(client: LangGraphClient, gates: Gates, strategy: Any) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    gates.hold(thread_id, "sf.tool")
    first = (await client.runs.create(thread_id, "agent", input=FIRST))["run_id"]
    await gates.started(thread_id, "sf.tool")
    second: str | None = None
    try:
        second = (await client.runs.create(thread_id, "agent", input=SECOND, multitask_strategy=strategy))["run_id"]
    except ConflictError:
        assert strategy == "reject"
    if goes_on(strategy):
        gates.let(thread_id, "sf.tool")
    values: Any = await client.runs.join(thread_id, second or first)

    async def status(run_id: str | None) -> str | None:
        try:
            return run_id and (await client.runs.get(thread_id, run_id))["status"]
        except NotFoundError:
            return None

    state: Any = await client.threads.get_state(thread_id)
    assert values == state["values"]
    assert (
        Story(
            [await status(first), await status(second)],
            told(state["values"]["messages"]),
            list(state["next"]),
            (await client.threads.get(thread_id))["status"],
        )
        == EXPECTED[strategy]
    )


@every_strategy
def test_by_the_sync_python_client(sync_client: SyncLangGraphClient, gates: Gates, strategy: Any) -> None:
    client = sync_client
    thread_id = client.threads.create()["thread_id"]
    gates.hold(thread_id, "sf.tool")
    first = client.runs.create(thread_id, "agent", input=FIRST)["run_id"]
    gates.wait_started(thread_id, "sf.tool")
    second: str | None = None
    try:
        second = client.runs.create(thread_id, "agent", input=SECOND, multitask_strategy=strategy)["run_id"]
    except ConflictError:
        assert strategy == "reject"
    if goes_on(strategy):
        gates.let(thread_id, "sf.tool")
    values: Any = client.runs.join(thread_id, second or first)

    def status(run_id: str | None) -> str | None:
        try:
            return run_id and client.runs.get(thread_id, run_id)["status"]
        except NotFoundError:
            return None

    state: Any = client.threads.get_state(thread_id)
    assert values == state["values"]
    assert (
        Story(
            [status(first), status(second)],
            told(state["values"]["messages"]),
            list(state["next"]),
            client.threads.get(thread_id)["status"],
        )
        == EXPECTED[strategy]
    )


class Call(Protocol):
    """One HTTP request: the status of its answer and what is in it."""

    def __call__(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, Any]: ...


@every_strategy
def test_by_plain_http(server: Live, strategy: str) -> None:
    with httpx.Client(base_url=server.url, timeout=20) as http:

        def call(method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, Any]:
            answer = http.request(method, path, json=body)
            return answer.status_code, answer.json()

        assert play(call, server.gates, strategy) == EXPECTED[strategy]


@every_strategy
def test_by_curl(server: Live, strategy: str) -> None:
    def call(method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, Any]:
        command = ["curl", "--silent", "--show-error", "--max-time", "20", "--write-out", "\n%{http_code}"]
        command += ["--request", method, server.url + path]
        if body is not None:
            command += ["--header", "Content-Type: application/json", "--data", json.dumps(body)]
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        content, _, code = answer.rpartition("\n")
        return int(code), json.loads(content)

    assert play(call, server.gates, strategy) == EXPECTED[strategy]


def play(call: Call, gates: Gates, strategy: str) -> Story:
    """The scenario in single requests."""
    thread_id: str = call("POST", "/threads", {})[1]["thread_id"]
    thread, runs = f"/threads/{thread_id}", f"/threads/{thread_id}/runs"
    gates.hold(thread_id, "sf.tool")
    _, first = call("POST", runs, {"assistant_id": "agent", "input": FIRST})
    gates.wait_started(thread_id, "sf.tool")
    body = {"assistant_id": "agent", "input": SECOND, "multitask_strategy": strategy}
    code, second = call("POST", runs, body)
    assert code == (409 if strategy == "reject" else 200)
    if goes_on(strategy):
        gates.let(thread_id, "sf.tool")
    code, values = call("GET", f"{runs}/{(second if code == 200 else first)['run_id']}/join")
    assert code == 200
    _, state = call("GET", f"{thread}/state")
    assert values == state["values"]
    statuses = [call("GET", f"{runs}/{run.get('run_id', thread_id)}")[1].get("status") for run in (first, second)]
    _, seen = call("GET", thread)
    return Story(statuses, told(state["values"]["messages"]), state["next"], seen["status"])
