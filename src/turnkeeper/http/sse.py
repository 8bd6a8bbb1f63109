"""Answers that last: event streams and awaited results. Both keep the line alive and notice a client that leaves."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec
from starlette.types import Receive, Scope, Send

from turnkeeper.contracts import Frame, Subscription
from turnkeeper.errors import Unavailable
from turnkeeper.types import Ended

HEARTBEAT = 5.0
"""Seconds of silence after which something is sent. The JavaScript SDK reconnects after three such intervals."""

HEARTBEAT_COMMENT = b": heartbeat\r\n\r\n"

STREAM_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
}

ENDED = 2**53 - 3
"""Ids from here on are above those of all frames, and the last that are exact numbers in JavaScript.

What a stream says of a run that has ended is no frame, but has a place, too, so that a client whose connection breaks
then hears it neither twice nor never.
"""

FAILED, STOPPED = ENDED + 1, ENDED + 2

Gone = Callable[[], Awaitable[None]]
Pick = Callable[[Frame], bool]


def everything(_: Frame) -> bool:
    """Pick every frame."""
    return True


def only(modes: Sequence[str]) -> Pick:
    """Pick the frames of some stream modes; what says how a run starts or fails is always picked."""
    if not modes:
        return everything
    names = {"messages" if mode == "messages-tuple" else mode for mode in modes} | {"metadata", "error", "end"}
    return lambda frame: frame.event.partition("|")[0].partition("/")[0] in names


def event(name: str, data: bytes, seq: int | None = None) -> bytes:
    """One event as it goes over the wire; `seq` is what a client resumes after (`Last-Event-ID`)."""
    if seq is None:
        return b"event: %b\r\ndata: %b\r\n\r\n" % (name.encode(), data)
    return b"event: %b\r\ndata: %b\r\nid: %d\r\n\r\n" % (name.encode(), data, seq)


def render(frame: Frame) -> bytes:
    """A frame as it goes over the wire."""
    return event(frame.event, frame.data, frame.seq)


def farewell(ended: Ended, *, error_told: bool, after: int = 0) -> bytes:
    """What a stream ends with: the run's error, unless it was told, and that it was stopped. Both SDKs allow `end`.

    Nobody shall take the end of a stream for success. `after` is the event the client has seen last.
    """
    error = b""
    if ended.status in ("error", "timeout") and ended.error is not None and not (error_told or after >= FAILED):
        error = event("error", bytes(ended.error), FAILED)
    if ended.status not in ("interrupted", "timeout", None) or after >= STOPPED:
        return error
    said = {"status": ended.status or "rolled_back", "reason": ended.reason}
    return error + event("end", msgspec.json.encode(said), STOPPED)


class _BrokenOffError(Exception):
    """The server stops, or the client left: the answer is not completed, so that nobody takes it for a result."""


class LastingResponse:
    """Common to both: headers at once, then a body that ends with the run. `on_gone` is called if the client leaves."""

    def __init__(self, subscription: Subscription, headers: Mapping[str, str], on_gone: Gone | None) -> None:
        self._subscription = subscription
        self._headers = [(name.encode(), value.encode()) for name, value in headers.items()]
        self._on_gone = on_gone

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """Answer the request (ASGI)."""
        watcher = asyncio.create_task(self._watch(receive))
        broken = False
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self._headers})
            await self._body(send)
        except (_BrokenOffError, Unavailable):
            pass
        except OSError:  # the client left while we were sending
            broken = True
        finally:
            self._subscription.close()
            left = broken or watcher.done()
            watcher.cancel()
            if left and self._subscription.ended is None and self._on_gone is not None:
                await self._on_gone()

    async def _body(self, send: Send) -> None:
        raise NotImplementedError

    async def _watch(self, receive: Receive) -> None:
        """Return once the client is gone; closing the subscription ends the body."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self._subscription.close()


class EventsResponse(LastingResponse):
    """Common to event streams: what comes is sent, and a heartbeat at a steady pace, whatever else is sent."""

    def __init__(self, subscription: Subscription, headers: Mapping[str, str], on_gone: Gone | None = None) -> None:
        super().__init__(subscription, {**STREAM_HEADERS, **headers}, on_gone)

    async def _body(self, send: Send) -> None:
        subscription, now = self._subscription, asyncio.get_running_loop().time
        beat = now() + HEARTBEAT
        await _more(send, self._first())
        while not subscription.closed and subscription.ended is None:
            frames = await subscription.batch(max(0.0, beat - now()))
            chunk = await self._rendered(frames)
            if now() >= beat:
                beat = now() + HEARTBEAT
                chunk += HEARTBEAT_COMMENT
            await _more(send, chunk)
        if subscription.ended is None:
            raise _BrokenOffError  # a stream that just ends would say that its run has ended
        await send({"type": "http.response.body", "body": self._last(subscription.ended)})

    def _first(self) -> bytes:
        """What is sent before anything else."""
        return b""

    async def _rendered(self, frames: Sequence[Frame]) -> bytes:
        """Frames as they go over the wire."""
        raise NotImplementedError

    def _last(self, ended: Ended) -> bytes:
        """What is sent once the run has ended. The stream of a thread has no end."""
        raise NotImplementedError


async def _more(send: Send, chunk: bytes) -> None:
    if chunk:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})


class EventStream(EventsResponse):
    """A run's events as they come (`text/event-stream`)."""

    def __init__(
        self,
        subscription: Subscription,
        headers: Mapping[str, str],
        *,
        first: bytes = b"",
        pick: Pick = everything,
        after: int = 0,
        on_gone: Gone | None = None,
    ) -> None:
        """`first` is sent before anything the run says, which goes through `pick`.

        `after`: the event the client has seen last; the subscription begins with it, if it is known.
        """
        super().__init__(subscription, headers, on_gone)
        self._greeting = first
        self._pick = pick
        self._after = after
        self._error_told = False

    def _first(self) -> bytes:
        return self._greeting

    async def _rendered(self, frames: Sequence[Frame]) -> bytes:
        self._error_told = self._error_told or any(frame.event == "error" for frame in frames)
        return b"".join([render(frame) for frame in frames if frame.seq != self._after and self._pick(frame)])

    def _last(self, ended: Ended) -> bytes:
        return farewell(ended, error_told=self._error_told, after=self._after)


class WaitedResult(LastingResponse):
    """A run's result once it has one; until then a line break now and then, which JSON parsers skip."""

    def __init__(
        self,
        subscription: Subscription,
        headers: Mapping[str, str],
        result: Callable[[Ended], Awaitable[bytes]],
        *,
        on_gone: Gone | None = None,
    ) -> None:
        super().__init__(subscription, {"content-type": "application/json", **headers}, on_gone)
        self._result = result

    async def _body(self, send: Send) -> None:
        subscription = self._subscription
        while subscription.ended is None and not subscription.closed:
            await subscription.batch(HEARTBEAT)
            if subscription.ended is None and not subscription.closed:
                await send({"type": "http.response.body", "body": b"\n", "more_body": True})
        if subscription.ended is None:
            raise _BrokenOffError
        await send({"type": "http.response.body", "body": await self._result(subscription.ended)})
