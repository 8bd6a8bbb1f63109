"""Answers that last: event streams and awaited results. Both keep the line alive and notice a client that leaves."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec
from starlette.types import Receive, Scope, Send

from turnkeeper.contracts import Frame, Subscription
from turnkeeper.types import Ended

HEARTBEAT = 5.0
"""Seconds of silence after which something is sent. The JavaScript SDK reconnects after three such intervals."""

STREAM_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
}

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


def render(frame: Frame) -> bytes:
    """One event as it goes over the wire."""
    return b"event: %b\r\ndata: %b\r\n\r\n" % (frame.event.encode(), frame.data)


def farewell(ended: Ended) -> bytes:
    """The last event of a run that was stopped: nobody shall take its stream's end for success. Both SDKs allow it."""
    if ended.status not in ("interrupted", "timeout", None):
        return b""
    said = {"status": ended.status or "rolled_back", "reason": ended.reason}
    return render(Frame("end", msgspec.json.encode(said)))


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
        except _BrokenOffError:
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


class EventStream(LastingResponse):
    """A run's events as they come (`text/event-stream`)."""

    def __init__(
        self,
        subscription: Subscription,
        headers: Mapping[str, str],
        *,
        first: bytes = b"",
        pick: Pick = everything,
        on_gone: Gone | None = None,
    ) -> None:
        """`first` is sent before anything the run says, which goes through `pick`."""
        super().__init__(subscription, {**STREAM_HEADERS, **headers}, on_gone)
        self._first = first
        self._pick = pick

    async def _body(self, send: Send) -> None:
        subscription, pick = self._subscription, self._pick
        if self._first:
            await send({"type": "http.response.body", "body": self._first, "more_body": True})
        while not subscription.closed and subscription.ended is None:
            frames = await subscription.batch(HEARTBEAT)
            chunk = b"".join([render(frame) for frame in frames if pick(frame)])
            if not chunk and not frames and subscription.ended is None and not subscription.closed:
                chunk = b": heartbeat\r\n\r\n"
            if chunk:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        last = b"" if subscription.ended is None else farewell(subscription.ended)
        await send({"type": "http.response.body", "body": last})


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
