"""The routes of runs, of a thread and stateless ones."""

from collections.abc import Sequence
from typing import get_args

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from turnkeeper.codec import encode
from turnkeeper.contracts import RUN_DONE, Frame, Subscription
from turnkeeper.errors import Invalid, NotFound
from turnkeeper.http.requests import EVERYTHING, as_uuid, body, choice, flag, last_event_id, number, path_id, words
from turnkeeper.http.responses import fields, json
from turnkeeper.http.sse import ENDED, STREAM_HEADERS, EventStream, Gone, WaitedResult, event, farewell, only
from turnkeeper.services.requests import RunCreate, RunsCancel
from turnkeeper.services.runs import Listening, RunService
from turnkeeper.types import Ended, Run, StreamMode

STATUSES = ("pending", "running", "success", "error", "timeout", "interrupted")
ACTIONS = ("interrupt", "rollback")
MODES = get_args(StreamMode)
MOST_RUNS = 1000


async def create(request: Request) -> Response:
    """`POST /threads/{thread_id}/runs` and `POST /runs`."""
    thread_id = _thread(request)
    run = await _runs(request).create(thread_id, await _body(request), _key(request))
    return json(run, headers={"content-location": _location(thread_id, run)})


async def create_batch(request: Request) -> Response:
    """`POST /runs/batch`."""
    bodies = await body(request, list[RunCreate])
    if not bodies:
        raise Invalid("Expected an `array` of length >= 1")
    return json(await _runs(request).create_batch(bodies))


async def stream(request: Request) -> ASGIApp:
    """`POST /threads/{thread_id}/runs/stream` and `POST /runs/stream`."""
    thread_id, given = _thread(request), await _body(request)
    started = await _runs(request).start(thread_id, given, _key(request), frames=True)
    headers = {"content-location": _location(thread_id, started.run), "location": _path(started.run) + "/stream"}
    if isinstance(started.found, Ended):
        return _ended_stream(headers, started.found)
    return _run_stream(started.found, headers, started.run.run_id, on_gone=_on_gone(request, started, given))


async def wait(request: Request) -> ASGIApp:
    """`POST /threads/{thread_id}/runs/wait` and `POST /runs/wait`."""
    thread_id, given = _thread(request), await _body(request)
    runs = _runs(request)
    started = await runs.start(thread_id, given, _key(request), frames=False)
    headers = {"content-location": _location(thread_id, started.run), "location": _path(started.run) + "/join"}
    if isinstance(started.found, Ended):
        return Response(await runs.result(started.found), 200, headers, "application/json")
    return WaitedResult(started.found, headers, runs.result, on_gone=_on_gone(request, started, given))


async def list_runs(request: Request) -> Response:
    """`GET /threads/{thread_id}/runs`."""
    found = await _runs(request).of_thread(
        path_id(request, "thread_id", "thread"),
        status=choice(request, "status", STATUSES, None),
        limit=number(request, "limit", default=10, least=1, most=MOST_RUNS),
        offset=number(request, "offset", default=0, least=0),
    )
    return json(fields(found, words(request, "select", Run.__struct_fields__)))


async def get(request: Request) -> Response:
    """`GET /threads/{thread_id}/runs/{run_id}`."""
    return json(await _runs(request).get(*_ids(request)))


async def delete(request: Request) -> Response:
    """`DELETE /threads/{thread_id}/runs/{run_id}`."""
    await _runs(request).delete(*_ids(request))
    return Response(status_code=204)


async def join(request: Request) -> ASGIApp:
    """`GET /threads/{thread_id}/runs/{run_id}/join`."""
    thread_id, run_id = _ids(request)
    leaving = flag(request, "cancel_on_disconnect")
    runs = _runs(request)
    try:
        found = await runs.join(thread_id, run_id, frames=False)
    except NotFound as error:  # the SDKs read the result's `__error__`, not the status
        return Response(encode({"__error__": _missing(error)}), media_type="application/json")
    headers = {"location": request.url.path}
    if isinstance(found, Ended):
        return Response(await runs.result(found), 200, headers, "application/json")
    return WaitedResult(found, headers, runs.result, on_gone=_cancel_on_leave(request) if leaving else None)


async def join_stream(request: Request) -> ASGIApp:
    """`GET /threads/{thread_id}/runs/{run_id}/stream`."""
    thread_id, run_id = _ids(request)
    leaving, modes = flag(request, "cancel_on_disconnect"), words(request, "stream_mode", MODES)
    after, headers = last_event_id(request), {"location": _with_query(request)}
    since = None if after is None else max(after - 1, EVERYTHING)  # the event seen last may have been the run's error
    try:
        found = await _runs(request).join(thread_id, run_id, frames=True, after=since)
    except NotFound as error:
        said = event("error", msgspec.json.encode(_missing(error)))
        return Response(said, 200, {**STREAM_HEADERS, **headers})
    if isinstance(found, Ended):
        return _ended_stream(headers, found)
    on_gone = _cancel_on_leave(request) if leaving else None
    return _run_stream(found, headers, run_id, after=after, modes=modes, on_gone=on_gone)


async def cancel(request: Request) -> Response:
    """`POST /threads/{thread_id}/runs/{run_id}/cancel`."""
    thread_id, run_id = _ids(request)
    waiting = flag(request, "wait")
    action = choice(request, "action", ACTIONS, "interrupt")
    await _runs(request).cancel(thread_id, run_id, action, wait=waiting)
    if waiting:
        return json({}, headers={"location": f"/threads/{thread_id}/runs/{run_id}/join"})
    return json({}, status=202)


async def cancel_many(request: Request) -> Response:
    """`POST /runs/cancel`."""
    given = await body(request, RunsCancel)
    given = msgspec.structs.replace(
        given,
        thread_id=given.thread_id and as_uuid(given.thread_id, "thread"),
        run_ids=[as_uuid(run_id, "run") for run_id in given.run_ids or ()],
    )
    await _runs(request).cancel_many(given, choice(request, "action", ACTIONS, "interrupt"))
    return Response(status_code=204)


async def _body(request: Request) -> RunCreate:
    given = await body(request, RunCreate)
    return given if given.run_id is None else msgspec.structs.replace(given, run_id=as_uuid(given.run_id, "run"))


def _key(request: Request) -> str | None:
    """A request repeated with the same `Idempotency-Key` header makes one run."""
    return request.headers.get("idempotency-key")


def _runs(request: Request) -> RunService:
    return request.app.state.runs


def _thread(request: Request) -> str | None:
    """The thread in the path; stateless routes have none."""
    return path_id(request, "thread_id", "thread") if "thread_id" in request.path_params else None


def _ids(request: Request) -> tuple[str, str]:
    return path_id(request, "thread_id", "thread"), path_id(request, "run_id", "run")


def _path(run: Run) -> str:
    return f"/threads/{run.thread_id}/runs/{run.run_id}"


def _run_stream(
    subscription: Subscription,
    headers: dict[str, str],
    run_id: str,
    *,
    after: int | None = None,
    modes: Sequence[str] = (),
    on_gone: Gone | None,
) -> EventStream:
    """A run's events. The first is sent at once, so that a client learns its run's id before the run starts."""
    greeting, picked = _greeting(run_id), only(modes)
    if after is None:
        first = event("metadata", greeting, subscription.since)
    else:
        first = event("metadata", greeting, EVERYTHING + 1) if after == EVERYTHING else b""

    def pick(frame: Frame) -> bool:
        """Without what the run says when it starts, which was said already."""
        return frame.event != RUN_DONE and frame.data != greeting and picked(frame)

    return EventStream(subscription, headers, first=first, pick=pick, after=after or EVERYTHING, on_gone=on_gone)


def _greeting(run_id: str) -> bytes:
    return msgspec.json.encode({"run_id": run_id, "attempt": 1})


def _with_query(request: Request) -> str:
    """Where to come back to: the Python SDK does not repeat what it asked for."""
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def _location(thread_id: str | None, run: Run) -> str:
    """What the SDKs take thread and run from (`Content-Location`)."""
    return f"/runs/{run.run_id}" if thread_id is None else _path(run)


def _on_gone(request: Request, started: Listening, given: RunCreate) -> Gone | None:
    if given.on_disconnect != "cancel":
        return None
    return lambda: _runs(request).disconnected(started.run)


def _cancel_on_leave(request: Request) -> Gone:
    async def leave() -> None:
        runs = _runs(request)
        await runs.disconnected(await runs.get(*_ids(request)))

    return leave


def _missing(error: NotFound) -> dict[str, str]:
    return {"error": "HTTPException", "message": f"404: {error}"}


def _ended_stream(headers: dict[str, str], ended: Ended) -> Response:
    """The stream of a run that has ended: which one it is, and how it ended unless it succeeded."""
    said = event("metadata", _greeting(ended.run_id), ENDED) + farewell(ended, error_told=False)
    return Response(said, 200, {**STREAM_HEADERS, **headers})
