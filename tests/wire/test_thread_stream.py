"""`GET /threads/{id}/stream`: one stream for all that happens on a thread, which may be lost and found again."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient

from tests.wire.live import DEADLINE, Gates
from tests.wire.talk import Talk

UNKNOWN = "01900000-0000-7000-8000-00000000abcd"


class Event(NamedTuple):
    name: str
    data: Any
    id: str


class Listener:
    """A stream whose events are taken one by one."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self._events = _events(answer)

    async def next(self) -> Event:
        async with asyncio.timeout(DEADLINE):
            return await anext(self._events)

    async def until_done(self, runs: int = 1) -> list[Event]:
        """The events up to the end of as many runs."""
        seen: list[Event] = []
        while sum(is_done(event) for event in seen) < runs:
            seen.append(await self.next())
        return seen


async def _events(answer: httpx.Response) -> AsyncIterator[Event]:
    lines: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            lines[name] = value
        elif "event" in lines:
            yield Event(lines["event"], json.loads(lines["data"]), lines["id"])
            lines = {}


def is_done(event: Event) -> bool:
    return event.name == "metadata" and event.data.get("status") == "run_done"


@asynccontextmanager
async def listening(
    http: httpx.AsyncClient, thread: str, after: str | None = None, **query: Any
) -> AsyncGenerator[Listener]:
    headers = {} if after is None else {"last-event-id": after}
    async with http.stream("GET", f"/threads/{thread}/stream", params=query, headers=headers) as answer:
        assert answer.status_code == 200
        yield Listener(answer)


def started(run_id: str) -> tuple[str, Any]:
    return "metadata", {"run_id": run_id, "attempt": 1}


def done(run_id: str) -> tuple[str, Any]:
    return "metadata", {"status": "run_done", "run_id": run_id}


def values(steps: list[str], tag: str = "A") -> tuple[str, Any]:
    return "values", {"tag": tag, "steps": steps}


def bare(events: list[Event]) -> list[tuple[str, Any]]:
    return [(event.name, event.data) for event in events]


async def test_one_stream_tells_of_every_run_from_before_the_first(http: httpx.AsyncClient, talk: Talk) -> None:
    async with listening(http, talk.thread_id) as listener:
        first = await talk.say("A")
        seen = await listener.until_done()
        second = await talk.say("B")
        seen += await listener.until_done()
    one, two = ["A.n1", "A.n2", "A.n3"], ["B.n1", "B.n2", "B.n3"]
    assert bare(seen) == [
        started(first),
        *(values(one[:n]) for n in range(4)),
        done(first),
        started(second),
        *(values(one + two[:n], "B") for n in range(4)),
        done(second),
    ]
    ids = [int(event.id) for event in seen]
    assert ids == sorted(set(ids))


async def test_a_thread_that_does_not_exist_yet_can_be_listened_to(http: httpx.AsyncClient) -> None:
    async with listening(http, UNKNOWN) as listener:
        body = {"assistant_id": "steps", "input": {"tag": "A"}, "if_not_exists": "create"}
        made = await http.post(f"/threads/{UNKNOWN}/runs", json=body)
        assert (await listener.until_done())[-1].data["run_id"] == made.json()["run_id"]


async def test_lifecycle_tells_of_starts_and_ends_only(http: httpx.AsyncClient, talk: Talk) -> None:
    async with listening(http, talk.thread_id, stream_modes="lifecycle") as listener:
        good, bad = await talk.say("A"), await talk.say("B", graph="fails")
        seen = bare(await listener.until_done(2))
    assert seen[:2] == [started(good), done(good)]
    assert [name for name, _ in seen[2:]] == ["metadata", "error", "metadata"]
    assert (seen[2], seen[-1]) == (started(bad), done(bad))


async def test_a_superseded_run_is_said_to_be_done(http: httpx.AsyncClient, gates: Gates, talk: Talk) -> None:
    gates.hold(talk.thread_id, "A.n2")
    async with listening(http, talk.thread_id, stream_mode="lifecycle") as listener:
        first = await talk.say("A")
        await gates.started(talk.thread_id, "A.n2")
        waiting = await talk.say("B")
        last = await talk.say("C", "interrupt")
        seen = bare(await listener.until_done(3))
    assert {data["run_id"] for _, data in seen if "status" in data} == {first, waiting, last}
    assert seen[0] == started(first)
    assert seen[-2:] == [started(last), done(last)]


async def test_state_update_shows_the_state_after_edits_and_runs(
    http: httpx.AsyncClient, client: LangGraphClient, talk: Talk
) -> None:
    async with listening(http, talk.thread_id, stream_mode="state_update") as listener:
        await talk.end_of(await talk.say("A"))
        after_run = await listener.next()
        await client.threads.update_state(talk.thread_id, {"steps": ["edited"]}, as_node="n3")
        after_edit = await listener.next()
    assert [after_run.name, after_edit.name] == ["state_update", "state_update"]
    assert after_run.data["thread_id"] == talk.thread_id
    assert after_run.data["state"]["values"]["steps"] == ["A.n1", "A.n2", "A.n3"]
    assert after_edit.data["state"] == await talk.state()


@pytest.mark.parametrize("resumable", [True, False])
async def test_a_lost_stream_goes_on_after_any_event(http: httpx.AsyncClient, talk: Talk, *, resumable: bool) -> None:
    """Nothing is missing and nothing comes twice, also where a run ended and another began meanwhile."""
    async with listening(http, talk.thread_id) as listener:
        for tag in "AB":
            await talk.end_of(await talk.say(tag, stream_resumable=resumable))
        whole = await listener.until_done(2)
    for place, event in enumerate(whole[:-1]):
        async with listening(http, talk.thread_id, after=event.id) as listener:
            rest = await listener.until_done(sum(is_done(each) for each in whole[place + 1 :]))
        assert rest == whole[place + 1 :]
    async with listening(http, talk.thread_id, after="-") as listener:
        assert await listener.until_done(2) == whole


async def test_the_sdk_listens_to_a_thread(client: LangGraphClient, talk: Talk) -> None:
    run_id = await talk.say("A", stream_resumable=True)
    await talk.end_of(run_id)
    async with asyncio.timeout(DEADLINE):
        stream = await client.threads.join_stream(talk.thread_id, last_event_id="-", stream_mode="run_modes")
        async for part in stream:
            if part.data == {"status": "run_done", "run_id": run_id}:
                break


@pytest.mark.parametrize("query", ["stream_mode=values", "stream_modes=lifecycle,foo"])
async def test_an_unknown_mode_is_refused_by_name(http: httpx.AsyncClient, thread: str, query: str) -> None:
    answer = await http.get(f"/threads/{thread}/stream?{query}")
    assert answer.status_code == 422
    assert "run_modes, lifecycle, state_update" in answer.json()["detail"]


async def test_a_wrong_event_id_is_refused(http: httpx.AsyncClient, thread: str) -> None:
    answer = await http.get(f"/threads/{thread}/stream", headers={"last-event-id": "yesterday"})
    assert answer.status_code == 422
    assert "Last-Event-ID" in answer.json()["detail"]
