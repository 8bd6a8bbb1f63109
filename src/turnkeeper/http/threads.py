"""The routes of threads and of their state."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from turnkeeper.http.requests import as_uuid, body, flag, number, path_id
from turnkeeper.http.responses import json, objects, page
from turnkeeper.services.requests import (
    HistoryQuery,
    StateAt,
    StateEdit,
    ThreadCreate,
    ThreadPatch,
    ThreadSearch,
)
from turnkeeper.services.states import StateService
from turnkeeper.services.threads import ThreadService
from turnkeeper.services.timelines import TimelineService


async def create(request: Request) -> Response:
    """`POST /threads`."""
    given = await body(request, ThreadCreate)
    if given.thread_id is not None:
        given = msgspec.structs.replace(given, thread_id=as_uuid(given.thread_id, "thread"))
    return json(await _threads(request).create(given))


async def get(request: Request) -> Response:
    """`GET /threads/{thread_id}`."""
    return json(await _threads(request).get(_id(request)))


async def update(request: Request) -> Response:
    """`PATCH /threads/{thread_id}`; with `Prefer: return=minimal` the answer has no body."""
    thread = await _threads(request).update(_id(request), await body(request, ThreadPatch))
    if "return=minimal" in request.headers.get("prefer", ""):
        return Response(status_code=204)
    return json(thread)


async def delete(request: Request) -> Response:
    """`DELETE /threads/{thread_id}`."""
    await _threads(request).delete(_id(request))
    return Response(status_code=204)


async def copy(request: Request) -> Response:
    """`POST /threads/{thread_id}/copy`."""
    return json(await _threads(request).copy(_id(request)))


async def search(request: Request) -> Response:
    """`POST /threads/search`."""
    given = await body(request, ThreadSearch)
    given = msgspec.structs.replace(given, ids=[as_uuid(each, "thread") for each in given.ids or ()] or None)
    found = await _threads(request).search(given)
    return page(found, limit=given.limit, offset=given.offset)


async def count(request: Request) -> Response:
    """`POST /threads/count`."""
    return json(await _threads(request).count(await body(request, ThreadSearch)))


async def get_state(request: Request) -> Response:
    """`GET /threads/{thread_id}/state` and `GET /threads/{thread_id}/state/{checkpoint_id}`."""
    address = {key: request.path_params[key] for key in ("checkpoint_id",) if key in request.path_params}
    return objects(await _states(request).get(_id(request), address, subgraphs=flag(request, "subgraphs")))


async def get_state_at(request: Request) -> Response:
    """`POST /threads/{thread_id}/state/checkpoint`."""
    given = await body(request, StateAt)
    address = msgspec.to_builtins(given.checkpoint)
    subgraphs = bool(given.subgraphs)
    return objects(await _states(request).get(_id(request), address, subgraphs=subgraphs, addressed=True))


async def update_state(request: Request) -> Response:
    """`POST /threads/{thread_id}/state`."""
    return objects(await _states(request).update(_id(request), await body(request, StateEdit)))


async def get_history(request: Request) -> Response:
    """`GET /threads/{thread_id}/history`."""
    query = HistoryQuery(
        limit=number(request, "limit", default=10, least=1, most=1000),
        before=request.query_params.get("before") or None,
    )
    return objects(await _states(request).history(_id(request), query))


async def search_history(request: Request) -> Response:
    """`POST /threads/{thread_id}/history`."""
    return objects(await _states(request).history(_id(request), await body(request, HistoryQuery)))


async def get_timeline(request: Request) -> Response:
    """`GET /turnkeeper/threads/{thread_id}/timeline`: our own, no part of the reference's API."""
    thread_id = _id(request)
    timelines: TimelineService = request.app.state.timelines
    return json({"thread_id": thread_id, "runs": await timelines.get(thread_id)})


def _id(request: Request) -> str:
    return path_id(request, "thread_id", "thread")


def _threads(request: Request) -> ThreadService:
    return request.app.state.threads


def _states(request: Request) -> StateService:
    return request.app.state.states
