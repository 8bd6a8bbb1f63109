"""The floor: the smallest server that answers the same calls by running the graph right in the request.

No queue, no run records, no double texting, no recovery. What a real server costs above this is its own overhead.
``python -m bench.floor --port P [--db FILE]`` keeps checkpoints in memory, or in FILE with the stock SQLite saver.
"""

import argparse
import asyncio
import functools
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal, cast
from uuid import uuid4

import orjson
import uvicorn
from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from bench import graphs

Durability = Literal["async", "sync", "exit"]
GRAPHS: dict[str, Any] = {"noop": graphs.noop, "steps10": graphs.steps10, "tokens": graphs.tokens}
HEARTBEAT = 5.0
running: dict[str, asyncio.Task[Any]] = {}


def _plain(value: object) -> object:
    if isinstance(value, BaseMessage):
        return value.model_dump()
    return str(value)


def _json(value: object) -> Response:
    return Response(orjson.dumps(value, default=_plain), media_type="application/json")


async def _call(request: Request) -> tuple[Any, dict[str, Any], RunnableConfig, Durability]:
    body = orjson.loads(await request.body())
    config: RunnableConfig = {"configurable": {"thread_id": request.path_params["thread"]}}
    durability = cast("Durability", body.get("durability", "async"))
    return request.app.state.graphs[body["assistant_id"]], body["input"], config, durability


async def ok(_request: Request) -> Response:
    """Answer that the server is up."""
    return _json({"ok": True})


async def thread(_request: Request) -> Response:
    """Hand out a thread id."""
    return _json({"thread_id": str(uuid4())})


async def wait(request: Request) -> Response:
    """Run to the end and answer the final values."""
    graph, values, config, durability = await _call(request)
    return _json(await graph.ainvoke(values, config, durability=durability))


async def create(request: Request) -> Response:
    """Start a run in the background."""
    graph, values, config, durability = await _call(request)
    run = str(uuid4())
    running[run] = asyncio.create_task(graph.ainvoke(values, config, durability=durability))
    return _json({"run_id": run})


async def join(request: Request) -> Response:
    """Wait for a background run and answer its final values."""
    return _json(await running.pop(request.path_params["run"]))


async def stream(request: Request) -> Response:
    """Run and send each token as a server-sent event."""
    graph, values, config, durability = await _call(request)

    async def events() -> AsyncIterator[bytes]:
        yield b'event: metadata\ndata: {"run_id":"%s"}\n\n' % str(uuid4()).encode()
        async for pair in graph.astream(values, config, stream_mode="messages", durability=durability):
            yield b"event: messages\ndata: %s\n\n" % orjson.dumps(pair, default=_plain)

    return StreamingResponse(events(), media_type="text/event-stream")


async def idle(_request: Request) -> Response:
    """Hold an event stream open on which nothing happens."""

    async def events() -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(HEARTBEAT)
            yield b": heartbeat\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


@asynccontextmanager
async def _saver(db: str | None) -> AsyncGenerator[BaseCheckpointSaver[Any], None]:
    if db is None:
        yield InMemorySaver()
        return
    async with AsyncSqliteSaver.from_conn_string(db) as saver:
        yield saver


@asynccontextmanager
async def _lifespan(app: Starlette, db: str | None) -> AsyncGenerator[None, None]:
    async with _saver(db) as saver:
        app.state.graphs = {name: graph.builder.compile(checkpointer=saver) for name, graph in GRAPHS.items()}
        yield


ROUTES = [
    Route("/ok", ok),
    Route("/threads", thread, methods=["POST"]),
    Route("/threads/{thread}/stream", idle),
    Route("/threads/{thread}/runs", create, methods=["POST"]),
    Route("/threads/{thread}/runs/wait", wait, methods=["POST"]),
    Route("/threads/{thread}/runs/stream", stream, methods=["POST"]),
    Route("/threads/{thread}/runs/{run}/join", join),
]


def main() -> None:
    """Serve on the loopback until told to stop."""
    parser = argparse.ArgumentParser(prog="bench.floor")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--db")
    args = parser.parse_args()
    app = Starlette(routes=ROUTES, lifespan=functools.partial(_lifespan, db=args.db))
    uvicorn.run(app, port=args.port, loop="uvloop", http="httptools", log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
