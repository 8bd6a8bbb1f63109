"""The application: the route table is the API's table of contents, and each refusal has its status here."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from turnkeeper import errors
from turnkeeper.config import Settings
from turnkeeper.http import assistants, crons, meta, runs, thread_streams, threads
from turnkeeper.http.protocol import routes as protocol
from turnkeeper.http.protocol import socket
from turnkeeper.http.responses import json
from turnkeeper.services.assistants import AssistantService
from turnkeeper.services.crons import CronService
from turnkeeper.services.protocol.commands import ProtocolService
from turnkeeper.services.runs import RunService
from turnkeeper.services.schemas import SchemaService
from turnkeeper.services.states import StateService
from turnkeeper.services.threads import ThreadService
from turnkeeper.services.timelines import TimelineService

log = structlog.get_logger()

STATUS: dict[type[errors.TurnkeeperError], int] = {
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Invalid: 422,
    errors.Impossible: 400,
    errors.TooLarge: 413,
    errors.Fenced: 409,
    errors.TooMany: 429,
    errors.Unavailable: 503,
}

HEADERS: dict[type[errors.TurnkeeperError], dict[str, str]] = {
    errors.TooMany: {"retry-after": "1"},
    errors.Unavailable: {"retry-after": "1"},
}

Handler = Callable[[Request], Awaitable[ASGIApp]]


@dataclass(frozen=True, slots=True)
class Services:
    """What the handlers use."""

    assistants: AssistantService
    threads: ThreadService
    states: StateService
    runs: RunService
    crons: CronService
    timelines: TimelineService
    schemas: SchemaService
    protocol: ProtocolService


class Endpoint:
    """A handler as an ASGI application: its answer may be any ASGI application, not only a `Response`."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request (ASGI)."""
        try:
            answer = await self._handler(Request(scope, receive))
        except errors.TurnkeeperError as error:
            answer = json({"detail": str(error)}, status=STATUS.get(type(error), 500), headers=HEADERS.get(type(error)))
        except ClientDisconnect:
            return
        except HTTPException:
            raise
        except Exception as error:  # noqa: BLE001 - answered here, a browser may read it: CORS headers are added outside
            answer = _unexpected(scope, error)
        await answer(scope, receive, send)


def _route(method: str, path: str, handler: Handler) -> Route:
    return Route(path, Endpoint(handler), methods=[method])


META_ROUTES: list[BaseRoute] = [
    _route("GET", "/", meta.ok),
    _route("GET", "/ok", meta.ok),
    _route("GET", "/info", meta.info),
    _route("GET", "/metrics", meta.get_metrics),
]
"""What every process answers, also one that only executes runs."""

# In the order of how often they are asked for: routes are tried one after another.
ROUTES: list[BaseRoute] = [
    _route("POST", "/threads/{thread_id}/runs/stream", runs.stream),
    _route("POST", "/threads/{thread_id}/runs/wait", runs.wait),
    _route("POST", "/threads/{thread_id}/runs", runs.create),
    _route("GET", "/threads/{thread_id}/runs", runs.list_runs),
    _route("GET", "/threads/{thread_id}/runs/{run_id}", runs.get),
    _route("DELETE", "/threads/{thread_id}/runs/{run_id}", runs.delete),
    _route("GET", "/threads/{thread_id}/runs/{run_id}/join", runs.join),
    _route("GET", "/threads/{thread_id}/runs/{run_id}/stream", runs.join_stream),
    _route("POST", "/threads/{thread_id}/runs/{run_id}/cancel", runs.cancel),
    _route("POST", "/threads/{thread_id}/commands", protocol.command),
    _route("POST", "/threads/{thread_id}/stream/events", protocol.stream_events),
    WebSocketRoute("/threads/{thread_id}/stream/events", socket.connect),
    _route("POST", "/runs", runs.create),
    _route("POST", "/runs/stream", runs.stream),
    _route("POST", "/runs/wait", runs.wait),
    _route("POST", "/runs/batch", runs.create_batch),
    _route("POST", "/runs/cancel", runs.cancel_many),
    _route("POST", "/runs/crons", crons.create),
    _route("POST", "/runs/crons/search", crons.search),
    _route("POST", "/runs/crons/count", crons.count),
    _route("GET", "/runs/crons/{cron_id}", crons.get),
    _route("PATCH", "/runs/crons/{cron_id}", crons.update),
    _route("DELETE", "/runs/crons/{cron_id}", crons.delete),
    _route("POST", "/threads/{thread_id}/runs/crons", crons.create),
    _route("POST", "/threads", threads.create),
    _route("POST", "/threads/search", threads.search),
    _route("POST", "/threads/count", threads.count),
    _route("GET", "/threads/{thread_id}", threads.get),
    _route("PATCH", "/threads/{thread_id}", threads.update),
    _route("DELETE", "/threads/{thread_id}", threads.delete),
    _route("GET", "/threads/{thread_id}/stream", thread_streams.stream),
    _route("POST", "/threads/{thread_id}/copy", threads.copy),
    _route("GET", "/threads/{thread_id}/state", threads.get_state),
    _route("POST", "/threads/{thread_id}/state", threads.update_state),
    _route("POST", "/threads/{thread_id}/state/checkpoint", threads.get_state_at),
    _route("GET", "/threads/{thread_id}/state/{checkpoint_id}", threads.get_state),
    _route("GET", "/threads/{thread_id}/history", threads.get_history),
    _route("POST", "/threads/{thread_id}/history", threads.search_history),
    _route("GET", "/turnkeeper/threads/{thread_id}/timeline", threads.get_timeline),
    _route("POST", "/assistants", assistants.create),
    _route("POST", "/assistants/search", assistants.search),
    _route("POST", "/assistants/count", assistants.count),
    _route("GET", "/assistants/{assistant_id}", assistants.get),
    _route("PATCH", "/assistants/{assistant_id}", assistants.update),
    _route("DELETE", "/assistants/{assistant_id}", assistants.delete),
    _route("GET", "/assistants/{assistant_id}/graph", assistants.get_graph),
    _route("GET", "/assistants/{assistant_id}/schemas", assistants.get_schemas),
    _route("GET", "/assistants/{assistant_id}/subgraphs", assistants.get_subgraphs),
    _route("GET", "/assistants/{assistant_id}/subgraphs/{namespace:path}", assistants.get_subgraphs),
    _route("POST", "/assistants/{assistant_id}/versions", assistants.get_versions),
    _route("POST", "/assistants/{assistant_id}/latest", assistants.set_latest),
    *META_ROUTES,
]


def build(settings: Settings, services: Services, graph_ids: frozenset[str]) -> Starlette:
    """The ASGI application."""
    app = Starlette(
        routes=META_ROUTES if settings.role == "worker" else ROUTES,
        middleware=[
            Middleware(
                CORSMiddleware,
                allow_origins=["*"],
                allow_methods=["*"],
                allow_headers=["*"],
                expose_headers=["x-pagination-total", "x-pagination-next", "content-location", "location"],
                allow_private_network=True,
            )
        ],
        exception_handlers={HTTPException: _http_error},
    )
    app.state.settings = settings
    app.state.graph_ids = graph_ids
    app.state.assistants = services.assistants
    app.state.threads = services.threads
    app.state.states = services.states
    app.state.runs = services.runs
    app.state.crons = services.crons
    app.state.timelines = services.timelines
    app.state.schemas = services.schemas
    app.state.protocol = services.protocol
    return app


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    return json({"detail": error.detail}, status=error.status_code, headers=error.headers)


def _unexpected(scope: Scope, error: Exception) -> Response:
    log.error("unexpected error", method=scope["method"], path=scope["path"], error=repr(error))
    return json({"detail": "Internal Server Error"}, status=500)
