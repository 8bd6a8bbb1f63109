"""`GET /threads/{id}/runs/{id}/stream` with `Last-Event-ID`: who comes back finds what was missed, once, in order."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient, SyncLangGraphClient

from tests.wire.live import DEADLINE, Gates
from tests.wire.talk import Talk
from turnkeeper.http.sse import ENDED, STOPPED

RESUMABLE = pytest.mark.parametrize("resumable", [True, False], ids=["resumable", "volatile"])
FROM_THE_START = ("-1", "0", "-")
MODES = ["values", "updates"]


class Event(NamedTuple):
    """An event as it came over the wire."""

    id: int
    name: str
    data: str


def events(text: str) -> list[Event]:
    """The events of a stream, which have increasing ids."""
    found = re.findall(r"event: (.+)\r\ndata: (.+)\r\nid: (\d+)\r\n\r\n", text)
    assert "".join(f"event: {name}\r\ndata: {data}\r\nid: {seq}\r\n\r\n" for name, data, seq in found) == text
    ids = [int(seq) for *_, seq in found]
    assert ids == sorted(set(ids))
    return [Event(int(seq), name, data) for name, data, seq in found]


class Stream:
    """One run's stream as it can be read again and again."""

    def __init__(self, http: httpx.AsyncClient, path: str) -> None:
        self.path = path
        self._http = http

    async def text(self, after: int | str | None = None, query: str = "") -> str:
        """All of it up to the run's end."""
        async with asyncio.timeout(DEADLINE):
            answer = await self._http.get(f"{self.path}{query}", headers=resuming(after))
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        return answer.text

    async def read(self, after: int | str | None = None, query: str = "") -> list[Event]:
        return events(await self.text(after, query))

    async def live(self, after: int | str | None = None) -> AsyncIterator[Event]:
        """Its events as they come."""
        async with self._http.stream("GET", self.path, headers=resuming(after)) as answer:
            block = ""
            async for line in answer.aiter_lines():
                block += f"{line}\r\n"
                if not line:
                    yield events(block)[0]
                    block = ""


def resuming(after: int | str | None) -> dict[str, str]:
    return {} if after is None else {"last-event-id": str(after)}


async def begun(http: httpx.AsyncClient, thread: str, graph: str = "steps", **body: Any) -> Stream:
    """A run that goes on while its creator has left: the stream was asked for, and then dropped."""
    body = {"assistant_id": graph, "input": {"tag": "A"}, "stream_mode": MODES, **body}
    async with http.stream("POST", f"/threads/{thread}/runs/stream", json=body) as answer:
        assert answer.status_code == 200
        await anext(answer.aiter_bytes())
        return Stream(http, answer.headers["location"])


async def ended(http: httpx.AsyncClient, thread: str, graph: str = "steps", **body: Any) -> tuple[Stream, list[Event]]:
    """A run that has ended, and what its stream said."""
    body = {"assistant_id": graph, "input": {"tag": "A"}, "stream_mode": MODES, **body}
    answer = await http.post(f"/threads/{thread}/runs/stream", json=body)
    assert answer.status_code == 200
    return Stream(http, answer.headers["location"]), events(answer.text)


def same(one: list[Event], other: list[Event]) -> bool:
    """Whether two streams are the same. Each has an id of its own for the first event, which is no frame."""
    assert one[0].name == other[0].name == "metadata"
    return [event._replace(id=0) for event in one[:1]] + one[1:] == [
        event._replace(id=0) for event in other[:1]
    ] + other[1:]


# What a client may ask for.


@RESUMABLE
async def test_a_stream_can_be_read_again_from_the_start(http: httpx.AsyncClient, thread: str, resumable: bool) -> None:
    stream, said = await ended(http, thread, stream_resumable=resumable)
    assert len(said) == 8
    for start in FROM_THE_START:
        assert same(await stream.read(start), said)


@RESUMABLE
@pytest.mark.parametrize("graph", ["steps", "fails", "ask", "subgraph"])
async def test_a_stream_can_be_resumed_after_any_event(
    http: httpx.AsyncClient, thread: str, resumable: bool, graph: str
) -> None:
    stream, said = await ended(http, thread, graph, stream_resumable=resumable, stream_subgraphs=True)
    for place, event in enumerate(said, 1):
        assert await stream.read(event.id) == said[place:]
    replayed = await stream.read("-1")
    assert await stream.read(replayed[0].id) == said[1:]


@RESUMABLE
async def test_who_does_not_say_what_it_saw_gets_only_what_is_still_to_come(
    http: httpx.AsyncClient, thread: str, resumable: bool
) -> None:
    stream, said = await ended(http, thread, stream_resumable=resumable)
    assert await stream.read() == [Event(ENDED, "metadata", said[0].data)]
    assert await stream.read("") == await stream.read()
    assert await stream.read(ENDED) == []


@RESUMABLE
@pytest.mark.parametrize("seen", ["abc", "-2", "1.5", "1795000000000-0", "+1", "1 2", "0x10", "--1", "9" * 30, "null"])
async def test_an_id_that_cannot_be_one_is_refused(
    http: httpx.AsyncClient, thread: str, resumable: bool, seen: str
) -> None:
    stream, said = await ended(http, thread, stream_resumable=resumable)
    answer = await http.get(stream.path, headers={"last-event-id": seen})
    assert answer.status_code == 422
    assert "Last-Event-ID" in answer.json()["detail"]
    assert seen in answer.json()["detail"]
    assert same(await stream.read("-1"), said)


@RESUMABLE
async def test_an_id_of_the_future_is_followed_by_what_is_to_come(
    talk: Talk, http: httpx.AsyncClient, resumable: bool
) -> None:
    talk.hold("A.n2")
    stream = await begun(http, talk.thread_id, stream_resumable=resumable)
    await talk.started("A.n2")
    again = stream.live("-1")
    await anext(again)
    async with http.stream("GET", stream.path, headers=resuming(2**62)) as to_come:
        talk.let("A.n2")
        names = [event.name for event in events((await to_come.aread()).decode())]
    rest = [event.name async for event in again]
    assert names in (rest[3:], rest[2:])
    assert await stream.read(2**62) == []


@RESUMABLE
@pytest.mark.parametrize(("query", "kept"), [("updates", 3), ("values", 4), ("updates,values", 7), ("custom", 0)])
async def test_a_replay_can_be_limited_to_some_modes(
    http: httpx.AsyncClient, thread: str, resumable: bool, query: str, kept: int
) -> None:
    stream, said = await ended(http, thread, stream_resumable=resumable)
    found = await stream.read("-1", f"?stream_mode={query}")
    assert same(found, [event for event in said if event.name in ("metadata", *query.split(","))])
    assert len(found) == kept + 1


async def test_no_mode_leaves_out_how_a_run_ended(http: httpx.AsyncClient, talk: Talk) -> None:
    failed, said = await ended(http, talk.thread_id, "fails", stream_resumable=True)
    assert same(await failed.read("-1", "?stream_mode=custom"), [said[0], said[-1]])
    assert said[-1].name == "error"
    talk.hold("B.n2")
    stopped = await begun(http, talk.thread_id, input={"tag": "B"}, stream_resumable=True)
    await talk.started("B.n2")
    await http.post(stopped.path.replace("/stream", "/cancel?wait=true"))
    assert [event.name for event in await stopped.read("-1", "?stream_mode=custom")] == ["metadata", "end"]


async def test_a_client_that_reconnects_asks_for_the_same_modes_again(http: httpx.AsyncClient, thread: str) -> None:
    """The Python SDK goes where `Location` says, without the parameters it was called with."""
    stream, _ = await ended(http, thread)
    for query in ("", "?stream_mode=updates&stream_mode=values&cancel_on_disconnect=false"):
        answer = await http.get(stream.path + query)
        assert answer.headers["location"] == stream.path + query


# What the run is doing meanwhile.


@RESUMABLE
async def test_the_stream_of_a_run_that_waits_begins_before_the_run(
    http: httpx.AsyncClient, talk: Talk, resumable: bool
) -> None:
    talk.hold("first.n1")
    await talk.say("first")
    await talk.started("first.n1")
    stream = await begun(http, talk.thread_id, stream_resumable=resumable, multitask_strategy="enqueue")
    listeners = [stream.live(start) for start in (*FROM_THE_START, None)]
    greetings = [await anext(each) for each in listeners]
    assert {each.name for each in greetings} == {"metadata"}
    talk.let("first.n1")
    said = [[event async for event in each] for each in listeners]
    assert [event.name for event in said[0]] == ["values", *["updates", "values"] * 3]
    assert said == [said[0]] * 4
    assert await stream.read(greetings[-1].id) == said[0]


@RESUMABLE
async def test_nothing_is_missed_while_a_run_starts(http: httpx.AsyncClient, resumable: bool) -> None:
    """Whoever created it has left again before it said anything."""

    async def watched() -> list[list[Event]]:
        thread = (await http.post("/threads", json={})).json()["thread_id"]
        stream = await begun(http, thread, stream_resumable=resumable)
        return list(await asyncio.gather(stream.read("-1"), stream.read("-1")))

    for one, other in await asyncio.gather(*[watched() for _ in range(20)]):
        assert one == other
        assert [event.name for event in one] == ["metadata", "values", *["updates", "values"] * 3]


async def test_a_run_nobody_watched_can_be_read_when_it_was_made_to_be(http: httpx.AsyncClient, thread: str) -> None:
    body = {"assistant_id": "steps", "input": {"tag": "A"}, "stream_mode": MODES}
    for resumable, length in ((True, 8), (False, 1)):
        run = (await http.post(f"/threads/{thread}/runs", json={**body, "stream_resumable": resumable})).json()
        path = f"/threads/{thread}/runs/{run['run_id']}"
        await http.get(f"{path}/join")
        assert len(await Stream(http, f"{path}/stream").read("-1")) == length


@RESUMABLE
async def test_a_replay_goes_over_into_what_is_said_live(http: httpx.AsyncClient, talk: Talk, resumable: bool) -> None:
    talk.hold("A.n2")
    stream = await begun(http, talk.thread_id, stream_resumable=resumable)
    await talk.started("A.n2")
    listener = stream.live("-1")
    before = [await anext(listener) for _ in range(4)]
    assert [event.name for event in before[:2]] == ["metadata", "values"]
    resumed = stream.live(before[1].id)
    assert [await anext(resumed) for _ in range(2)] == before[2:]
    talk.let("A.n2")
    rest = [event async for event in listener]
    assert [event async for event in resumed] == rest
    assert await stream.read("-1") == before + rest
    assert len(rest) == 4


@RESUMABLE
async def test_everybody_gets_the_same_bytes(http: httpx.AsyncClient, talk: Talk, resumable: bool) -> None:
    talk.hold("A.n2", "A.n3")
    stream = await begun(http, talk.thread_id, stream_resumable=resumable)
    early = asyncio.create_task(stream.text("-1"))
    await talk.started("A.n2")
    later = asyncio.create_task(stream.text("-1"))
    talk.let("A.n2")
    await talk.started("A.n3")
    last = asyncio.create_task(stream.text("-1"))
    await http.get(f"/threads/{talk.thread_id}")
    talk.let("A.n3")
    texts = {await early, await later, await last, await stream.text("-1"), await stream.text("0")}
    assert len(texts) == 1


@RESUMABLE
async def test_the_error_of_a_run_is_read_again_once(http: httpx.AsyncClient, thread: str, resumable: bool) -> None:
    stream, said = await ended(http, thread, "fails", stream_resumable=resumable)
    assert (said[-1].name, said[-1].data) == ("error", '{"error":"ValueError","message":"boom!"}')
    assert await stream.read(said[-2].id) == said[-1:]
    assert await stream.read(said[-1].id) == []
    late = await stream.read()
    assert [(event.name, event.data) for event in late] == [("metadata", said[0].data), said[-1][1:]]
    assert await stream.read(late[0].id) == late[1:]
    assert await stream.read(late[1].id) == []


@RESUMABLE
async def test_a_run_that_ran_out_of_time_says_so_once(http: httpx.AsyncClient, talk: Talk, resumable: bool) -> None:
    talk.hold("A.n2")
    stream, said = await ended(http, talk.thread_id, stream_resumable=resumable, run_timeout=0.2)
    assert [event.name for event in said[-2:]] == ["error", "end"]
    for place, event in enumerate(said, 1):
        assert await stream.read(event.id) == said[place:]


@RESUMABLE
@pytest.mark.parametrize("started", [True, False], ids=["running", "queued"])
@pytest.mark.parametrize(("action", "status"), [("interrupt", "interrupted"), ("rollback", "rolled_back")])
async def test_whoever_comes_back_learns_that_the_run_was_stopped(
    http: httpx.AsyncClient, talk: Talk, resumable: bool, started: bool, action: str, status: str
) -> None:
    talk.hold("A.n2")
    if not started:
        talk.hold("first.n1")
        await talk.say("first")
        await talk.started("first.n1")
    stream = await begun(http, talk.thread_id, stream_resumable=resumable, multitask_strategy="enqueue")
    if started:
        await talk.started("A.n2")
    watching = stream.live("-1")
    said = [await anext(watching)]
    answer = await http.post(stream.path.replace("/stream", f"/cancel?wait=true&action={action}"))
    assert answer.status_code == 200
    said += [event async for event in watching]
    assert [event.name for event in said] == ["metadata", *["values", "updates", "values"] * started, "end"]
    assert f'"status":"{status}"' in said[-1].data
    assert said[-1].id == STOPPED
    again = await stream.read("-1")
    if resumable and action == "rollback":  # the run is gone, and with it what it said
        assert again == [said[0], said[-1]]
    else:
        assert again == said
    assert await stream.read(said[0].id) == again[1:]
    assert await stream.read(STOPPED) == []
    talk.let("first.n1")


@RESUMABLE
@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
async def test_a_run_that_gives_way_to_another_ends_for_whoever_watched_it(
    http: httpx.AsyncClient, talk: Talk, resumable: bool, strategy: str
) -> None:
    talk.hold("A.n2")
    stream = await begun(http, talk.thread_id, stream_resumable=resumable)
    await talk.started("A.n2")
    await talk.end_of(await talk.say("B", strategy))
    said = await stream.read("-1")
    assert (said[0].name, said[-1].name) == ("metadata", "end")
    assert await stream.read(said[-1].id) == []


# Runs that are gone.


@RESUMABLE
async def test_a_run_without_a_thread_can_be_resumed_after_its_end(http: httpx.AsyncClient, resumable: bool) -> None:
    body = {"assistant_id": "steps", "input": {"tag": "A"}, "stream_resumable": resumable, "stream_mode": MODES}
    answer = await http.post("/runs/stream", json=body)
    said, stream = events(answer.text), Stream(http, answer.headers["location"])
    assert len(said) == 8
    for place, event in enumerate(said, 1):
        assert await stream.read(event.id) == said[place:]
    joined = (await http.get(stream.path.replace("/stream", "/join"))).json()
    assert joined == {"__error__": {"error": "HTTPException", "message": "404: Run not found"}}


@RESUMABLE
@pytest.mark.parametrize("what", ["run", "thread"])
async def test_of_what_was_deleted_nothing_can_be_read(
    http: httpx.AsyncClient, thread: str, resumable: bool, what: str
) -> None:
    stream, _ = await ended(http, thread, stream_resumable=resumable)
    path = stream.path.removesuffix("/stream") if what == "run" else f"/threads/{thread}"
    assert (await http.delete(path)).status_code == 204
    for after in ("-1", 1, None):
        assert (await stream.text(after)).startswith("event: error\r\n")


# The clients.


@RESUMABLE
async def test_the_clients_resume_where_they_are_told_to(
    http: httpx.AsyncClient, client: LangGraphClient, sync_client: SyncLangGraphClient, thread: str, resumable: bool
) -> None:
    stream, said = await ended(http, thread, stream_resumable=resumable)
    run_id = stream.path.split("/")[-2]
    for after, rest in (("-1", said), (str(said[2].id), said[3:])):
        found = [part async for part in client.runs.join_stream(thread, run_id, last_event_id=after)]
        assert [part.event for part in found] == [event.name for event in rest]
        assert [part.id for part in found[1:]] == [str(event.id) for event in rest[1:]]
        assert list(sync_client.runs.join_stream(thread, run_id, last_event_id=after)) == found
    updates = client.runs.join_stream(thread, run_id, last_event_id="-1", stream_mode="updates")
    assert [part.event async for part in updates] == ["metadata", *["updates"] * 3]


async def test_a_run_is_cancelled_when_whoever_resumed_it_to_that_end_leaves(
    http: httpx.AsyncClient, talk: Talk, gates: Gates
) -> None:
    talk.hold("A.n2")
    stream = await begun(http, talk.thread_id, stream_resumable=True)
    await talk.started("A.n2")
    for leaving in ("false", "true"):
        path = f"{stream.path}?cancel_on_disconnect={leaving}"
        async with http.stream("GET", path, headers=resuming("-1")) as answer:
            await anext(answer.aiter_bytes())
    await talk.noted("A.n2 was cancelled")
    assert (await stream.read("-1"))[-1].name == "end"
