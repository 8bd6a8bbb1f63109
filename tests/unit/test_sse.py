"""Answers that last: event streams and awaited results, to their end and to the client's."""

import asyncio
import json
from typing import Any

import pytest

from turnkeeper.contracts import Frame
from turnkeeper.http import sse
from turnkeeper.http.sse import EventStream, LastingResponse, WaitedResult, everything, only, render
from turnkeeper.stream.local import LocalEventLog, LocalSubscription
from turnkeeper.types import Ended

RUN = "run"


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
async def log() -> LocalEventLog:
    log = LocalEventLog()
    log.bind(asyncio.get_running_loop())
    return log


@pytest.fixture
async def client() -> Client:
    return Client()


@pytest.fixture
def subscription(log: LocalEventLog) -> LocalSubscription:
    return log.subscribe(RUN, frames=True)


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "HEARTBEAT", 0.001)


def ended(status: Any = "success", reason: str | None = None) -> Ended:
    return Ended(run_id=RUN, thread_id="thread", status=status, reason=reason)


async def result(end: Ended) -> bytes:
    return json.dumps({"status": end.status}).encode()


async def answer(response: LastingResponse, client: Client) -> None:
    await response({"type": "http"}, client.receive, client.send)


# --- what is sent -----------------------------------------------------------------------------------------------------


def test_an_event_is_written_as_the_standard_says() -> None:
    assert render(Frame("values|a:1", b'{"x":1}')) == b'event: values|a:1\r\ndata: {"x":1}\r\n\r\n'


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

    assert [event for event in events if only(modes)(Frame(event, b""))] == picked


async def test_a_stream_ends_with_its_run(log: LocalEventLog, subscription: LocalSubscription, client: Client) -> None:
    for number in range(3):
        log.append(RUN, Frame("values", str(number).encode()))
    log.end(ended())

    await answer(EventStream(subscription, {"x-run": RUN}, on_gone=client.on_gone), client)

    assert client.start["status"] == 200
    assert client.headers[b"content-type"].startswith(b"text/event-stream")
    assert client.headers[b"x-run"] == RUN.encode()
    assert client.text == b"".join(render(Frame("values", str(number).encode())) for number in range(3))
    assert client.complete
    assert client.gone_times == 0
    assert not log.wanted(RUN)


async def test_events_are_sent_as_they_come(
    log: LocalEventLog, subscription: LocalSubscription, client: Client
) -> None:
    answering = asyncio.create_task(answer(EventStream(subscription, {}), client))
    for number in range(3):
        log.append(RUN, Frame("values", str(number).encode()))
        assert await client.chunk() == render(Frame("values", str(number).encode()))
    log.end(ended())

    await answering


async def test_frames_that_were_not_asked_for_are_left_out(
    log: LocalEventLog, subscription: LocalSubscription, client: Client
) -> None:
    log.append(RUN, Frame("updates", b"1"))
    log.append(RUN, Frame("values", b"2"))
    log.end(ended())

    await answer(EventStream(subscription, {}, pick=only(["values"])), client)

    assert client.text == render(Frame("values", b"2"))


@pytest.mark.parametrize(
    ("status", "said"), [("interrupted", "interrupted"), ("timeout", "timeout"), (None, "rolled_back")]
)
async def test_the_stream_of_a_stopped_run_does_not_end_like_a_success(
    log: LocalEventLog, subscription: LocalSubscription, client: Client, status: str | None, said: str
) -> None:
    log.end(ended(status, "enough"))

    await answer(EventStream(subscription, {}), client)

    assert client.chunks[-1].startswith(b"event: end\r\n")
    assert json.loads(client.chunks[-1].partition(b"data: ")[2]) == {"status": said, "reason": "enough"}


@pytest.mark.usefixtures("_impatient")
async def test_a_silent_stream_is_kept_alive(
    log: LocalEventLog, subscription: LocalSubscription, client: Client
) -> None:
    answering = asyncio.create_task(answer(EventStream(subscription, {}), client))

    for _ in range(3):
        assert await client.chunk() == b": heartbeat\r\n\r\n"
    log.end(ended())
    await answering
    assert client.complete


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
        return EventStream(subscription, {}, pick=everything, on_gone=client.on_gone)
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
    assert not log.wanted(RUN)


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


@KINDS
async def test_a_server_that_stops_has_not_lost_its_client(
    log: LocalEventLog, subscription: LocalSubscription, client: Client, kind: str
) -> None:
    answering = asyncio.create_task(answer(lasting(kind, subscription, client), client))
    await asyncio.sleep(0)

    log.close()
    await answering

    assert client.gone_times == 0


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
    answering = asyncio.create_task(answer(EventStream(subscription, {}), client))
    await asyncio.sleep(0)

    client.leave()
    await answering
