"""What the server says of itself."""

from importlib.metadata import version

from starlette.requests import Request
from starlette.responses import Response

from turnkeeper import __version__, metrics
from turnkeeper.errors import Unavailable
from turnkeeper.http.responses import json
from turnkeeper.services.runs import RunService


async def ok(_: Request) -> Response:
    """`GET /ok` and `GET /`."""
    return json({"ok": True})


async def get_metrics(request: Request) -> Response:
    """`GET /metrics`, in the text format of Prometheus. While the database does not answer, without what it knows."""
    runs: RunService = request.app.state.runs
    try:
        waiting = await runs.waiting()
        metrics.PENDING.labels("worker").set(waiting.for_worker)
        metrics.PENDING.labels("slot").set(waiting.for_slot)
        metrics.RUNNING.set(waiting.running)
    except Unavailable:
        metrics.PENDING.clear()
    return Response(metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")


async def info(_: Request) -> Response:
    """`GET /info`."""
    return json(
        {
            "version": __version__,
            "langgraph_py_version": version("langgraph"),
            "flags": {
                "assistants": True,
                "crons": True,
                "langsmith": False,
                "langsmith_tracing_replicas": False,
                "langsmith_tracing_session_on_runs": False,
                "strict_resume": True,
            },
            "host": {
                "kind": "self-hosted",
                "project_id": None,
                "host_revision_id": None,
                "revision_id": None,
                "tenant_id": None,
            },
            "metadata": {},
        }
    )
