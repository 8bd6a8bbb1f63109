"""Whole streams to the byte, as files to look at: what an upgrade or a rewrite changes on the wire is seen here.

`TURNKEEPER_UPDATE_TRANSCRIPTS=1` writes them anew; read the difference before you commit it.
"""

import os
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.wire.placeholders import Placeholders

FOLDER = Path(__file__).parent / "transcripts"

WEATHER: Any = {"messages": [{"role": "user", "content": "What is the weather in Oslo?", "id": "q1"}]}
SUNNY: Any = {"messages": [{"role": "tool", "content": "It is sunny.", "id": "t1", "tool_call_id": "c1"}]}
TAGGED: Any = {"input": {"tag": "A"}}

STREAMS: dict[str, tuple[dict[str, Any], ...]] = {
    "values": ({"assistant_id": "everything", "input": SUNNY, "stream_mode": "values"},),
    "updates": ({"assistant_id": "everything", "input": SUNNY, "stream_mode": "updates"},),
    "messages-tuple": ({"assistant_id": "agent", "input": WEATHER, "stream_mode": "messages-tuple"},),
    "messages": ({"assistant_id": "agent", "input": WEATHER, "stream_mode": "messages"},),
    "custom": ({"assistant_id": "everything", "input": SUNNY, "stream_mode": "custom"},),
    "tasks": ({"assistant_id": "everything", "input": SUNNY, "stream_mode": "tasks"},),
    "checkpoints": ({"assistant_id": "ask", **TAGGED, "stream_mode": "checkpoints"},),
    "debug": ({"assistant_id": "ask", **TAGGED, "stream_mode": "debug"},),
    "events": ({"assistant_id": "everything", "input": SUNNY, "stream_mode": "events"},),
    "tools": ({"assistant_id": "agent", "input": WEATHER, "stream_mode": "tools"},),
    "lifecycle": ({"assistant_id": "subgraph", **TAGGED, "stream_mode": "lifecycle"},),
    "lists": (
        {
            "assistant_id": "everything",
            "input": SUNNY,
            "stream_mode": ["custom", "values", "messages-tuple", "updates"],
        },
    ),
    "subgraphs": (
        {
            "assistant_id": "everything",
            "input": SUNNY,
            "stream_mode": ["custom", "values", "messages-tuple", "updates", "tasks"],
            "stream_subgraphs": True,
        },
    ),
    "subgraphs-messages": (
        {"assistant_id": "everything", "input": SUNNY, "stream_mode": "messages", "stream_subgraphs": True},
    ),
    "subgraphs-checkpoints": (
        {"assistant_id": "subgraph", **TAGGED, "stream_mode": ["checkpoints", "debug"], "stream_subgraphs": True},
    ),
    "interrupt": ({"assistant_id": "ask", **TAGGED, "stream_mode": ["values", "updates"]},),
    "breakpoint": (
        {"assistant_id": "steps", **TAGGED, "stream_mode": ["values", "updates"], "interrupt_before": ["n2"]},
    ),
    "breakpoint-values": ({"assistant_id": "steps", **TAGGED, "stream_mode": "values", "interrupt_before": ["n2"]},),
    "resume": (
        {"assistant_id": "ask", **TAGGED, "stream_mode": "updates"},
        {"assistant_id": "ask", "command": {"resume": "yes"}, "stream_mode": ["values", "updates", "tasks"]},
    ),
    "goto": (
        {"assistant_id": "steps", **TAGGED, "stream_mode": "updates"},
        {
            "assistant_id": "steps",
            "command": {"goto": "n3", "update": {"tag": "B"}},
            "stream_mode": ["values", "updates", "tasks"],
        },
    ),
    "error": ({"assistant_id": "fails", **TAGGED, "stream_mode": ["values", "updates", "tasks", "debug"]},),
}
"""Requests, each on one new thread; the transcript shows the stream of every one."""


@pytest.mark.parametrize("name", STREAMS)
async def test_a_stream_is_what_it_was(http: httpx.AsyncClient, thread: str, name: str) -> None:
    texts = [await streamed(http, f"/threads/{thread}/runs/stream", body) for body in STREAMS[name]]
    compare(name, written(texts))


async def test_the_stream_of_a_run_without_a_thread_is_what_it_was(http: httpx.AsyncClient) -> None:
    body = {"assistant_id": "steps", **TAGGED, "stream_mode": ["values"]}
    compare("stateless", written([await streamed(http, "/runs/stream", body)]))


async def test_the_stream_of_a_run_that_ran_out_of_time_is_what_it_was(
    http: httpx.AsyncClient, thread: str, gates: Any
) -> None:
    gates.hold(thread, "A.n2")
    body = {"assistant_id": "steps", **TAGGED, "stream_mode": "values", "run_timeout": 0.75}
    compare("timeout", written([await streamed(http, f"/threads/{thread}/runs/stream", body)]))


async def test_a_stream_read_again_is_what_it_was(http: httpx.AsyncClient, thread: str) -> None:
    body = {"assistant_id": "fails", **TAGGED, "stream_mode": ["values", "updates"], "stream_resumable": True}
    answer = await http.post(f"/threads/{thread}/runs/stream", json=body)
    asked = [{"last-event-id": "-1"}, {"last-event-id": re.findall(r"id: (\d+)", answer.text)[2]}, {}]
    again = [await http.get(answer.headers["location"], headers=each) for each in asked]
    compare("replay", written([answer.text, *(each.text for each in again)]))


async def streamed(http: httpx.AsyncClient, path: str, body: dict[str, Any]) -> str:
    answer = await http.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.text


def written(texts: list[str]) -> str:
    """Streams as their transcript has them: what differs is named, lines end as lines do in files."""
    names = Placeholders()
    return "\n".join(_written(text, names) for text in texts)


def _written(text: str, names: Placeholders) -> str:
    ids = [int(seq) for seq in re.findall(r"\r\nid: (\d+)\r\n\r\n", text)]
    assert len(ids) == text.count("\r\n\r\n"), "every event has an id, and data is one line"
    assert all(earlier < later for earlier, later in pairwise(ids))
    text = re.sub(r"(?<=\r\nid: )\d+", "<id>", text)
    text = re.sub(r'("langgraph_version":"|"langchain(?:-core)?":")[^"]+', r"\1<version>", text)
    return names.fill(text).replace("\r\n", "\n")


def compare(name: str, text: str) -> None:
    """Against the file, unless it is to be written."""
    path = FOLDER / f"{name}.txt"
    if os.environ.get("TURNKEEPER_UPDATE_TRANSCRIPTS"):
        FOLDER.mkdir(exist_ok=True)
        path.write_text(text)
    assert text.splitlines() == path.read_text().splitlines()
