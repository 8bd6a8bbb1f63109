"""The routes of the event protocol of threads. The WebSocket's is in `socket`."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from turnkeeper.errors import Impossible, Invalid
from turnkeeper.http.protocol.commands import MalformedError, answer, failure, read
from turnkeeper.http.protocol.events import ProtocolStream
from turnkeeper.http.requests import body, content, path_id
from turnkeeper.services.protocol.commands import ProtocolService, Result
from turnkeeper.services.protocol.filters import EventsWanted, to_filter
from turnkeeper.services.protocol.params import Params
from turnkeeper.services.protocol.refusals import refusal


async def command(request: Request) -> Response:
    """`POST /threads/{thread_id}/commands`. A command that is refused is answered with 200, too."""
    thread_id, key = path_id(request, "thread_id", "thread"), request.headers.get("idempotency-key")

    async def perform(params: Params) -> Result:
        return await _protocol(request).perform(thread_id, params, key)

    try:
        given = read(await content(request))
    except MalformedError as error:
        return Response(error.answer, 400, None, "application/json")
    except (Invalid, Impossible) as error:
        return Response(failure(refusal(error)), 400, None, "application/json")
    return Response(await answer(given, perform), 200, None, "application/json")


async def stream_events(request: Request) -> ASGIApp:
    """`POST /threads/{thread_id}/stream/events`."""
    thread_id = path_id(request, "thread_id", "thread")
    try:
        given = await body(request, EventsWanted)
    except Invalid as error:
        raise Impossible(str(error)) from None
    wanted = to_filter(given)
    await _protocol(request).threads.find(thread_id)
    return ProtocolStream(_protocol(request).events.listen(thread_id, given.since), {}, wanted)


def _protocol(request: Request) -> ProtocolService:
    return request.app.state.protocol
