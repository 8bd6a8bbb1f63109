"""The event protocol of threads over a WebSocket: commands and subscriptions on one connection."""

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.wire.live import DEADLINE, Live
from tests.wire.protocol import Event, ends, run_of, said
from tests.wire.talk import Talk, whole

pytestmark = pytest.mark.anyio


class Socket:
    """One connection: sends commands, sorts what comes into answers and events."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.events: list[Event] = []
        self._number = 0

    async def receive(self) -> Any:
        async with asyncio.timeout(DEADLINE):
            return json.loads(await self.connection.recv())

    async def command(self, method: str, **params: Any) -> Any:
        """The answer to a command; events that come first are kept."""
        self._number += 1
        await self.connection.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while (message := await self.receive())["type"] == "event":
            self.events.append(message)
        assert message["id"] == self._number
        return message

    async def until_end(self) -> list[Event]:
        """All events up to the end of a run, those that came before an answer included."""
        while not any(ends(event) for event in self.events):
            message = await self.receive()
            self.events += [message] if message["type"] == "event" else []
        last = next(index for index, event in enumerate(self.events) if ends(event))
        heard, self.events = self.events[: last + 1], self.events[last + 1 :]
        return heard


@pytest.fixture
async def socket(server: Live, thread: str) -> AsyncIterator[Socket]:
    async with opened(server, thread) as socket:
        yield socket


@asynccontextmanager
async def opened(server: Live, thread_id: str) -> AsyncGenerator[Socket]:
    url = server.url.replace("http", "ws")
    async with connect(f"{url}/threads/{thread_id}/stream/events", proxy=None) as connection:
        yield Socket(connection)


async def test_a_conversation_needs_one_connection(socket: Socket, talk: Talk) -> None:
    subscribed = await socket.command("subscription.subscribe", channels=["lifecycle", "values"])
    assert subscribed["result"]["replayed_events"] == 0
    started = await socket.command("run.start", assistant_id="steps", input={"tag": "A"})
    heard = await socket.until_end()
    assert {run_of(event) for event in heard if event["method"] == "lifecycle"} == {started["result"]["run_id"]}
    assert heard[0]["seq"] > started["meta"]["applied_through_seq"]
    assert [event["params"]["data"]["steps"] for event in heard if event["method"] == "values"][-1] == whole("A")
    assert (await socket.command("state.get", namespace=[]))["result"]["values"]["steps"] == await talk.steps()


async def test_the_past_comes_before_the_answer_and_since_shortens_it(server: Live, talk: Talk, socket: Socket) -> None:
    await socket.command("run.start", assistant_id="steps", input={"tag": "A"})
    await socket.command("subscription.subscribe", channels=["lifecycle", "values"])
    heard = await socket.until_end()
    async with opened(server, talk.thread_id) as other:
        subscribed = await other.command("subscription.subscribe", channels=["lifecycle", "values"])
        assert [event["event_id"] for event in other.events] == [event["event_id"] for event in heard]
        assert subscribed["result"]["replayed_events"] == len(heard)
    async with opened(server, talk.thread_id) as other:
        await other.command("subscription.subscribe", channels=["values", "lifecycle"], since=heard[-3]["seq"])
        assert other.events == heard[-2:]


async def test_all_that_subscribe_in_a_row_hear_of_a_run_before_they_hear_of_its_end(server: Live, talk: Talk) -> None:
    await talk.end_of(await talk.say("before"))
    async with opened(server, talk.thread_id) as socket:
        await socket.command("run.start", assistant_id="steps", input={"tag": "A"})
        await talk.noted("A.n3 ended")
        rows = [["lifecycle"], ["lifecycle", "updates"], ["lifecycle", "values"]]
        for number, channels in enumerate(rows):
            command = {"id": 10 + number, "method": "subscription.subscribe", "params": {"channels": channels}}
            await socket.connection.send(json.dumps(command))
        heard = await socket.until_end()
    seen = {event["event_id"]: said(event) for event in heard}
    assert list(seen.values()).count("updates") == 3
    assert list(seen.values()).count("values") == 4
    assert list(seen.values())[-1] == "completed"


async def test_subscriptions_share_a_connection_and_an_event_comes_once(socket: Socket) -> None:
    channels = [["lifecycle"], ["lifecycle", "values"], ["updates"]]
    names = [
        (await socket.command("subscription.subscribe", channels=each))["result"]["subscription_id"]
        for each in channels
    ]
    assert len(set(names)) == 3
    assert (await socket.command("subscription.unsubscribe", subscription_id=names[2]))["result"] == {}
    again = await socket.command("subscription.unsubscribe", subscription_id=names[2])
    assert again["error"] == "no_such_subscription"
    await socket.command("run.start", assistant_id="steps", input={"tag": "A"})
    heard = await socket.until_end()
    assert [said(event) for event in heard] == ["running", *["values"] * 4, "completed"]


async def test_a_subscription_made_during_a_run_misses_nothing_and_keeps_the_order(socket: Socket, talk: Talk) -> None:
    await socket.command("subscription.subscribe", channels=["lifecycle"])
    talk.hold("A.n2")
    await socket.command("run.start", assistant_id="steps", input={"tag": "A"})
    await talk.started("A.n2")
    await socket.command("subscription.subscribe", channels=["values"])
    talk.let("A.n2")
    await socket.command("subscription.subscribe", channels=["updates", "lifecycle"])
    heard = await socket.until_end()
    for method, count in (("values", 4), ("updates", 3)):
        seqs = [event["seq"] for event in heard if event["method"] == method]
        assert len(seqs) == count
        assert seqs == sorted(seqs)


async def test_a_page_that_opens_in_the_middle_of_a_run_hears_that_it_runs(socket: Socket, talk: Talk) -> None:
    talk.hold("A.n2")
    run_id = await talk.say("A")
    await talk.started("A.n2")
    await socket.command("subscription.subscribe", channels=["lifecycle"])
    assert [said(event) for event in socket.events] == ["running"]
    talk.let("A.n2")
    heard = await socket.until_end()
    assert [(said(event), run_of(event)) for event in heard] == [("running", run_id), ("completed", run_id)]


async def test_a_connection_that_broke_goes_on_where_it_was(server: Live, socket: Socket, talk: Talk) -> None:
    started = await socket.command("run.start", assistant_id="subgraph", input={"tag": "A"})
    await socket.command("subscription.subscribe", channels=["lifecycle"])
    heard = await socket.until_end()
    run_id = started["result"]["run_id"]
    async with opened(server, talk.thread_id) as other:
        again = await other.command(
            "subscription.reconnect", run_id=run_id, last_event_id=str(heard[1]["seq"]), channels=["lifecycle"]
        )
        assert other.events == heard[2:]
        result = again["result"]
        assert (result["restored"], result["missed_events"]) == (True, len(heard) - 2)
        assert {entry["status"] for entry in result["current_namespaces"]} == {"completed"}
        unknown = await other.command("subscription.reconnect", run_id=str(uuid.uuid4()))
        assert unknown["error"] == "no_such_run"


@pytest.mark.parametrize("frame", ["", "{", "[]", '{"id": 3}', b"\xff", '"\ud800"'.encode("utf-8", "surrogatepass")])
async def test_nonsense_is_answered_and_the_connection_lives_on(socket: Socket, frame: str | bytes) -> None:
    await socket.connection.send(frame)
    answer = await socket.receive()
    assert (answer["type"], answer["error"]) == ("error", "invalid_argument")
    assert (await socket.command("nonsense"))["error"] == "unknown_command"
    assert (await socket.command("subscription.subscribe", channels=["nonsense"]))["error"] == "invalid_argument"
    assert (await socket.command("subscription.subscribe", channels=["values"]))["type"] == "success"


async def test_a_thread_id_that_is_none_is_refused_in_a_way_browsers_can_read(server: Live) -> None:
    async with opened(server, "nonsense") as socket:
        with pytest.raises(ConnectionClosed) as closed:
            await socket.receive()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4422
    assert "UUID" in closed.value.rcvd.reason


async def test_a_client_that_leaves_does_not_stop_the_run(server: Live, talk: Talk) -> None:
    talk.hold("A.n2")
    async with opened(server, talk.thread_id) as socket:
        await socket.command("subscription.subscribe", channels=["values"])
        run_id = (await socket.command("run.start", assistant_id="steps", input={"tag": "A"}))["result"]["run_id"]
        await talk.started("A.n2")
    talk.let("A.n2")
    await talk.end_of(run_id)
    assert await talk.steps() == whole("A")
