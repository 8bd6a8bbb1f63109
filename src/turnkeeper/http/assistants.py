"""The routes of assistants."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from turnkeeper.errors import Invalid
from turnkeeper.http.requests import as_uuid, body, flag, number, path_id
from turnkeeper.http.responses import json, objects, page
from turnkeeper.services.assistants import AssistantService
from turnkeeper.services.requests import (
    AssistantCreate,
    AssistantLatest,
    AssistantPatch,
    AssistantSearch,
    AssistantVersions,
)
from turnkeeper.services.schemas import SchemaService
from turnkeeper.services.threads import ThreadService


async def create(request: Request) -> Response:
    """`POST /assistants`."""
    given = await body(request, AssistantCreate)
    if given.assistant_id is not None:
        given = msgspec.structs.replace(given, assistant_id=as_uuid(given.assistant_id, "assistant"))
    return json(await _assistants(request).create(given))


async def get(request: Request) -> Response:
    """`GET /assistants/{assistant_id}`; a graph's name stands for its system assistant."""
    return json(await _assistants(request).get(_id(request)))


async def update(request: Request) -> Response:
    """`PATCH /assistants/{assistant_id}`."""
    return json(await _assistants(request).update(_id(request), await body(request, AssistantPatch)))


async def delete(request: Request) -> Response:
    """`DELETE /assistants/{assistant_id}`; with `delete_threads` the threads that name it go too."""
    assistant_id = _id(request)
    with_threads = flag(request, "delete_threads")
    await _assistants(request).delete(assistant_id)
    if with_threads:
        threads: ThreadService = request.app.state.threads
        for thread_id in await _assistants(request).threads(assistant_id):
            await threads.delete(thread_id)
    return Response(status_code=204)


async def search(request: Request) -> Response:
    """`POST /assistants/search`."""
    given = await body(request, AssistantSearch)
    return page(await _assistants(request).search(given), limit=given.limit, offset=given.offset, select=given.select)


async def count(request: Request) -> Response:
    """`POST /assistants/count`."""
    return json(await _assistants(request).count(await body(request, AssistantSearch)))


async def get_versions(request: Request) -> Response:
    """`POST /assistants/{assistant_id}/versions`."""
    return json(await _assistants(request).versions(_id(request), await body(request, AssistantVersions)))


async def set_latest(request: Request) -> Response:
    """`POST /assistants/{assistant_id}/latest`."""
    given = await body(request, AssistantLatest)
    return json(await _assistants(request).restore(_id(request), given.version))


async def get_graph(request: Request) -> Response:
    """`GET /assistants/{assistant_id}/graph`."""
    return objects(await _schemas(request).drawing(_id(request), xray=_xray(request)))


async def get_schemas(request: Request) -> Response:
    """`GET /assistants/{assistant_id}/schemas`."""
    return objects(await _schemas(request).schemas(_id(request)))


async def get_subgraphs(request: Request) -> Response:
    """`GET /assistants/{assistant_id}/subgraphs` and `GET /assistants/{assistant_id}/subgraphs/{namespace}`."""
    namespace = request.path_params.get("namespace")
    recurse = flag(request, "recurse")
    return objects(await _schemas(request).subgraphs(_id(request), namespace, recurse=recurse))


def _xray(request: Request) -> bool | int:
    """Whether to draw subgraphs out, or down to which level. Raises `Invalid`."""
    given = request.query_params.get("xray", "")
    if given.lower() in ("", "true", "false"):
        return given.lower() == "true"
    try:
        return number(request, "xray", default=1, least=1)
    except Invalid as error:
        raise Invalid(f"{error}, true and false") from None


def _id(request: Request) -> str:
    """The id in the path, or the id of the graph named there."""
    given = request.path_params["assistant_id"]
    if given in request.app.state.graph_ids:
        return _assistants(request).resolve(given)
    return path_id(request, "assistant_id", "assistant")


def _assistants(request: Request) -> AssistantService:
    return request.app.state.assistants


def _schemas(request: Request) -> SchemaService:
    return request.app.state.schemas
