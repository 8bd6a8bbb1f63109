"""Answers that last: event streams and awaited results, to their end and to the client's."""

import asyncio
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from turnkeeper.contracts import RUN_DONE, EventStore, Frame, Told
from turnkeeper.errors import Unavailable
from turnkeeper.http import sse
from turnkeeper.http.sse import ENDED, EventStream, LastingResponse, Pick, WaitedResult, farewell, only, render
from turnkeeper.storage.sqlite.storage import SqliteStorage
from turnkeeper.stream import subscription as buffering
from turnkeeper.stream.local import LocalEventLog
from turnkeeper.stream.subscription import LocalSubscription
from turnkeeper.types import Ended

THREAD, RUN = "thread", "run"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Client:
    """The other end of an ASGI connection."""

    def __init__(self) -> None:
        self.start: dict[str, Any] = {}
        self.chunks: list[bytes] = []
        self.complete = False
        self.heard = asyncio.Event()
        self.gone_times = 0
        self._left = asyncio.Event()
        self._broken = False

    async def receive(self) -> dict[str, Any]:
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if self._broken:
            raise BrokenPipeError
        if message["type"] == "http.response.start":
            self.start = message
            return
        self.chunks.append(message["body"])
        self.complete = not message.get("more_body", False)
        self.heard.set()

    async def on_gone(self) -> None:
        self.gone_times += 1

    def leave(self) -> None:
        self._left.set()

    def break_line(self) -> None:
        """The next thing sent fails, before anybody has said that the client left."""
        self._broken = True

    async def chunk(self) -> bytes:
        """Wait until something comes."""
        await self.heard.wait()
        self.heard.clear()
        return self.chunks[-1]

    @property
    def text(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.start["headers"])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    storage = SqliteStorage(str(tmp_path / "turnkeeper.db"))
    storage.open()
    yield storage.events
    storage.close()


@pytest.fixture
async def log(store: EventStore) -> LocalEventLog:
    log = LocalEventLog(store)
    await log.start()
    return log


@pytest.fixture
async def client() -> Client:
    return Client()


@pytest.fixture
def subscription(log: LocalEventLog) -> LocalSubscription:
    return log.subscribe(RUN, THREAD, frames=True)


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "HEARTBEAT", 0.001)


def told(number: int, event: str = "values") -> Told:
    return Told(THREAD, RUN, event, str(number).encode())


def ended(status: Any = "success", reason: str | None = None, error: bytes | None = None) -> Ended:
    return Ended(
        run_id=RUN, thread_id=THREAD, status=status, reason=reason, error=None if error is None else msgspec.Raw(error)
    )


def frame(event: str) -> Frame:
    return Frame(1, THREAD, RUN, event, b"")


def own(modes: Sequence[str] = ()) -> Pick:
    """Pick what a run's own stream has of these modes."""
    picked = only(modes)
    return lambda frame: frame.event != RUN_DONE and picked(frame)


def without_ids(text: bytes) -> bytes:
    """Events as they would be without ids, of which they all have one."""
    assert text.count(b"\r\nid: ") == text.count(b"event: ")
    return re.sub(rb"\r\nid: [1-9][0-9]*\r\n", b"\r\n", text)


def values(*numbers: int) -> bytes:
    return b"".join(b"event: values\r\ndata: %d\r\n\r\n" % number for number in numbers)


async def result(end: Ended) -> bytes:
    return json.dumps({"status": end.status}).encode()


async def answer(response: LastingResponse, client: Client) -> None:
    await response({"type": "http"}, client.receive, client.send)


# --- what is sent -----------------------------------------------------------------------------------------------------


def test_an_event_is_written_as_the_standard_says() -> None:
    told = Frame(7, THREAD, RUN, "values|a:1", b'{"x":1}')
    assert render(told) == b'event: values|a:1\r\ndata: {"x":1}\r\nid: 7\r\n\r\n'


@pytest.mark.parametrize(
    ("modes", "picked"),
    [
        ([], ["values", "values|ns", "messages/partial", "updates", "metadata", "error", "end"]),
        (["values"], ["values", "values|ns", "metadata", "error", "end"]),
        (["messages"], ["messages/partial", "metadata", "error", "end"]),
        (["messages-tuple"], ["messages/partial", "metadata", "error", "end"]),
        (["updates", "values"], ["values", "values|ns", "updates", "metadata", "error", "end"]),
    ],
)
def test_only_the_modes_asked_for_are_picked(modes: list[str], picked: list[str]) -> None:
    events = ["values", "values|ns", "messages/partial", "updates", "metadata", "error", "end"]

    assert [event for event in events if only(modes)(frame(event))] == picked


async def test_a_stream_ends_with_its_run(log: LocalEventLog, subscription: LocalSubscription, client: Client) -> None:
    for number in range(3):
        log.append(told(number))
    log.end(ended())

    await answer(EventStream(subscription, {"x-run": RUN}, pick=own(), on_gone=client.on_gone), client)

    assert client.start["status"] == 200
    assert client.headers[b"content-type"].startswith(b"text/event-stream")
    assert client.headers[b"x-run"] == RUN.encode()
    assert without_ids(client.text) == values(0, 1, 2)
    assert client.complete
    assert client.gone_times == 0
    assert log._listeners.all() == []


async def test_events_are_sent_as_they_come(
    log: LocalEventLog, subscription: LocalSubscription, client: Client
) -> None:
    answering = asyncio.create_task(answer(EventStream(subscription, {}, pick=own()), client))
    for number in range(3):
        log.append(told(number))
        assert without_ids(await client.chunk()) == values(number)
    log.end(ended())

    await answering


async def test_frames_that_were_not_asked_for_are_left_out(
    log: LocalEventLog, subscription: LocalSubscription, client: Client
) -> None:
    log.append(told(1, "updates"))
    log.append(told(2))
    log.end(ended())

    await answer(EventStream(subscription, {}, pick=own(["values"])), client)

    assert without_ids(client.text) == values(2)


@pytest.mark.parametrize(
    ("status", "said"), [("interrupted", "interrupted"), ("timeout", "timeout"), (None, "rolled_back")]
)
async def test_the_stream_of_a_stopped_run_does_not_end_like_a_success(
    log: LocalEventLog, subscription: LocalSubscription, client: Client, status: str | None, said: str
) -> None:
    log.end(ended(status, "enough"))

    await answer(EventStream(subscription, {}, pick=own()), client)

    assert client.chunks[-1].startswith(b"event: end\r\n")
    data = re.findall(rb"data: (.*)\r\nid: ", client.chunks[-1])
    assert json.loads(data[-1]) == {"status": said, "reason": "enough"}


@pytest.mark.parametrize("status", ["success", "error", "timeout", "interrupted", None])
@pytest.mark.parametrize("told", [False, True])
def test_nothing_that_is_said_at_the_end_is_said_twice(status: Any, told: bool) -> None:
    """Whatever was seen last before the connection broke, the rest follows, and only that."""
    end = ended(status, "enough", b'{"error":"E","message":"no"}' if status in ("error", "timeout") else None)
    whole = farewell(end, error_told=told)
    said = [each + b"\r\n\r\n" for each in whole.split(b"\r\n\r\n")[:-1]]

    assert len(said) == {"success": 0, "error": 1, "timeout": 2}.get(status, 1) - (told and end.error is not None)
    for number, each in enumerate(said):
        seen = int(each.rpartition(b"id: ")[2])
        assert seen > ENDED
        assert farewell(end, error_told=told, after=seen) == b"".join(said[number + 1 :])


async def test_an_error_that_was_seen_is_not_told_again(log: LocalEventLog, client: Client) -> None:
    """The listener comes back with the id of the error, which was the last thing it saw."""
    first = log.subscribe(RUN, THREAD, frames=True)
    log.append(told(1))
    log.append(Told(THREAD, RUN, "error", b"{}"))
    seen = (await first.batch(1))[-1].seq
    again = log.subscribe(RUN, THREAD, frames=True, after=seen - 1)
    log.end(ended("error", error=b"{}"))

    await answer(EventStream(again, {}, pick=own(), after=seen), client)

    assert client.text == b""
    assert client.complete


async def test_the_database_going_away_breaks_a_replay_off(
    log: LocalEventLog, store: EventStore, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> list[Frame]:
        raise Unavailable("The disk is full.")

    monkeypatch.setattr(store, "read", broken)
    again = log.subscribe(RUN, THREAD, frames=True, after=0)
    await answer(EventStream(again, {}), client)

    assert not client.complete
    assert client.gone_times == 0


@pytest.mark.usefixtures("_impatient")
async def test_a_silent_stream_is_kept_alive(
    log: LocalEventLog, subscription: LocalSubscription, client: Client
) -> None:
    answering = asyncio.create_task(answer(EventStream(subscription, {}, pick=own()), client))

    for _ in range(3):
        assert await client.chunk() == b": heartbeat\r\n\r\n"
    log.end(ended())
    await answering
    assert client.complete


@pytest.mark.usefixtures("_impatient")
async def test_signs_of_life_come_at_a_steady_pace_whatever_else_is_sent(
    log: LocalEventLog, subscription: LocalSubscription, client: Client
) -> None:
    """The JavaScript SDK takes their interval for a promise, and reconnects once it is broken."""
    answering = asyncio.create_task(answer(EventStream(subscription, {}, pick=own()), client))
    while client.text.count(b": heartbeat") < 3:
        log.append(told(1))
        await client.chunk()
    log.end(ended())
    await answering

    assert client.text.count(b"event: values") > 3


def test_clients_hear_from_us_often_enough() -> None:
    assert 0 < sse.HEARTBEAT <= 5


@pytest.mark.usefixtures("_impatient")
async def test_a_result_is_waited_for_with_line_breaks_only(
    log: LocalEventLog, subscription: LocalSubscription, client: Client
) -> None:
    answering = asyncio.create_task(answer(WaitedResult(subscription, {"x-run": RUN}, result), client))

    for _ in range(3):
        assert await client.chunk() == b"\n"
    log.end(ended("error"))
    await answering
    assert client.headers == {b"content-type": b"application/json", b"x-run": RUN.encode()}
    assert json.loads(client.text) == {"status": "error"}
    assert client.complete


async def test_a_result_that_is_there_comes_at_once(
    log: LocalEventLog, subscription: LocalSubscription, client: Client
) -> None:
    log.end(ended())

    await answer(WaitedResult(subscription, {}, result, on_gone=client.on_gone), client)

    assert json.loads(client.text) == {"status": "success"}
    assert client.gone_times == 0


# --- who leaves -------------------------------------------------------------------------------------------------------

KINDS = pytest.mark.parametrize("kind", ["stream", "result"])


def lasting(kind: str, subscription: LocalSubscription, client: Client) -> LastingResponse:
    if kind == "stream":
        return EventStream(subscription, {}, pick=own(), on_gone=client.on_gone)
    return WaitedResult(subscription, {}, result, on_gone=client.on_gone)


@KINDS
async def test_a_client_that_leaves_is_noticed_once(
    log: LocalEventLog, subscription: LocalSubscription, client: Client, kind: str
) -> None:
    answering = asyncio.create_task(answer(lasting(kind, subscription, client), client))
    await asyncio.sleep(0)

    client.leave()
    await answering

    assert client.gone_times == 1
    assert subscription.closed
    assert log._listeners.all() == []


@KINDS
@pytest.mark.usefixtures("_impatient")
async def test_a_line_that_breaks_while_we_send_is_noticed_too(
    subscription: LocalSubscription, client: Client, kind: str
) -> None:
    answering = asyncio.create_task(answer(lasting(kind, subscription, client), client))
    await client.chunk()

    client.break_line()
    await answering

    assert client.gone_times == 1
    assert subscription.closed


@KINDS
async def test_a_client_that_leaves_after_the_end_cancels_nothing(
    log: LocalEventLog, subscription: LocalSubscription, client: Client, kind: str
) -> None:
    log.end(ended())
    await asyncio.sleep(0)
    client.leave()

    await answer(lasting(kind, subscription, client), client)

    assert client.gone_times == 0


async def test_a_stream_that_was_read_too_slowly_is_broken_off(
    log: LocalEventLog, subscription: LocalSubscription, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its client comes back for the rest; a stream that just ends would say that the run has."""
    monkeypatch.setattr(buffering, "MAX_BUFFERED", 3)
    for number in range(5):
        log.append(told(number))
    log.end(ended())
    await asyncio.sleep(0)

    await answer(EventStream(subscription, {}, on_gone=client.on_gone), client)

    assert not client.complete
    assert client.gone_times == 0


@KINDS
async def test_a_server_that_stops_has_not_lost_its_client(
    log: LocalEventLog, subscription: LocalSubscription, client: Client, kind: str
) -> None:
    answering = asyncio.create_task(answer(lasting(kind, subscription, client), client))
    await asyncio.sleep(0)

    log.close()
    await answering

    assert client.gone_times == 0
    assert not client.complete


async def test_a_result_that_never_came_is_not_taken_for_one(
    log: LocalEventLog, subscription: LocalSubscription, client: Client
) -> None:
    """The answer is broken off, so that clients see an error instead of nothing."""
    answering = asyncio.create_task(answer(WaitedResult(subscription, {}, result), client))
    await asyncio.sleep(0)
    log.close()
    await answering

    assert not client.complete


async def test_nobody_needs_to_be_told(subscription: LocalSubscription, client: Client) -> None:
    answering = asyncio.create_task(answer(EventStream(subscription, {}, pick=own()), client))
    await asyncio.sleep(0)

    client.leave()
    await answering
