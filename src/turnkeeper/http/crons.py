"""The routes of crons."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from turnkeeper.http.requests import as_uuid, body, path_id
from turnkeeper.http.responses import json, page
from turnkeeper.services.cron_bodies import CronCreate, CronPatch, CronSearch
from turnkeeper.services.crons import CronService


async def create(request: Request) -> Response:
    """`POST /runs/crons` and `POST /threads/{thread_id}/runs/crons`."""
    thread_id = path_id(request, "thread_id", "thread") if "thread_id" in request.path_params else None
    return json(await _crons(request).create(thread_id, await body(request, CronCreate)))


async def get(request: Request) -> Response:
    """`GET /runs/crons/{cron_id}`."""
    return json(await _crons(request).get(_id(request)))


async def update(request: Request) -> Response:
    """`PATCH /runs/crons/{cron_id}`."""
    return json(await _crons(request).update(_id(request), await body(request, CronPatch)))


async def delete(request: Request) -> Response:
    """`DELETE /runs/crons/{cron_id}`."""
    await _crons(request).delete(_id(request))
    return Response(status_code=204)


async def search(request: Request) -> Response:
    """`POST /runs/crons/search`."""
    given = await _search(request)
    return page(await _crons(request).search(given), limit=given.limit, offset=given.offset, select=given.select)


async def count(request: Request) -> Response:
    """`POST /runs/crons/count`."""
    return json(await _crons(request).count(await _search(request)))


async def _search(request: Request) -> CronSearch:
    given = await body(request, CronSearch)
    if given.thread_id is None:
        return given
    return msgspec.structs.replace(given, thread_id=as_uuid(given.thread_id, "thread"))


def _id(request: Request) -> str:
    return path_id(request, "cron_id", "cron")


def _crons(request: Request) -> CronService:
    return request.app.state.crons
