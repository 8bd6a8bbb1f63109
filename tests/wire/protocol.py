"""The event protocol without a client: commands, and a thread's events as they come over the wire."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx

from tests.wire.live import DEADLINE

ALL = ["values", "updates", "messages", "tools", "lifecycle", "input", "checkpoints", "tasks", "custom"]

Event = dict[str, Any]


async def command(http: httpx.AsyncClient, thread_id: str, method: str, **params: Any) -> Any:
    """What a command is answered with."""
    body = {"id": 7, "method": method, "params": params}
    answer = await http.post(f"/threads/{thread_id}/commands", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["id"] == 7
    return answer.json()


async def start(http: httpx.AsyncClient, thread_id: str, graph: str, /, **params: Any) -> str:
    """Start a run; its id."""
    answer = await command(http, thread_id, "run.start", assistant_id=graph, **params)
    assert answer["type"] == "success", answer
    return answer["result"]["run_id"]


class Heard:
    """The events of an open stream."""

    def __init__(self, chunks: AsyncIterator[str]) -> None:
        self._lines = chunks
        self.raw: list[dict[str, str]] = []
        """The fields of each server-sent event."""

    async def next(self) -> Event:
        """The next event."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(DEADLINE):
            async for line in self._lines:
                if line.startswith(":"):
                    continue
                if not line and fields:
                    self.raw.append(fields)
                    return json.loads(fields["data"])
                name, _, value = line.partition(": ")
                if name:
                    fields[name] = value
        raise AssertionError("the stream ended by itself")

    async def until(self, wanted: Callable[[Event], bool]) -> list[Event]:
        """The events up to the first that is wanted."""
        heard: list[Event] = []
        while not (heard and wanted(heard[-1])):
            heard.append(await self.next())
        return heard

    async def until_end(self) -> list[Event]:
        """The events up to the end of the run."""
        return await self.until(ends)


@asynccontextmanager
async def listening(http: httpx.AsyncClient, thread_id: str, *channels: str, **wanted: Any) -> AsyncGenerator[Heard]:
    """Open a thread's stream."""
    body = {"channels": channels or ALL, **wanted}
    async with http.stream("POST", f"/threads/{thread_id}/stream/events", json=body) as response:
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Heard(response.aiter_lines())


def said(event: Event) -> str:
    """An event in a word: what a lifecycle event says, else the method."""
    return event["params"]["data"]["event"] if event["method"] == "lifecycle" else event["method"]


def ends(event: Event) -> bool:
    """Whether this is the end of a run."""
    return not event["params"]["namespace"] and said(event) in ("completed", "failed", "interrupted")


def run_of(event: Event) -> str:
    """The run a lifecycle event of the root is about."""
    return event["event_id"].split(":")[1]
