"""The composition root: the only place that knows which parts are plugged in."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from types import FrameType

import structlog
import uvicorn
from starlette.applications import Starlette

from turnkeeper.config import Settings
from turnkeeper.graphs.loader import Graphs
from turnkeeper.graphs.loop import LoopThread
from turnkeeper.http.app import Services, build
from turnkeeper.services.admitting import Admitting, Policy
from turnkeeper.services.assistants import AssistantService
from turnkeeper.services.protocol.commands import ProtocolService
from turnkeeper.services.protocol.events import ThreadEvents
from turnkeeper.services.protocol.threads import Threads
from turnkeeper.services.runs import RunService
from turnkeeper.services.schemas import SchemaService
from turnkeeper.services.states import StateService
from turnkeeper.services.threads import ThreadService
from turnkeeper.services.timelines import TimelineService
from turnkeeper.storage.sqlite.storage import SqliteStorage
from turnkeeper.stream.local import LocalEventLog
from turnkeeper.stream.signals import LocalSignals
from turnkeeper.worker.attempt import Parts
from turnkeeper.worker.janitor import Janitor
from turnkeeper.worker.loop import Worker

SWITCH_INTERVAL = 0.001
"""Seconds a thread may hold the interpreter while others wait: the API answers while a graph computes."""


SPARE = 1.0
"""Seconds the worker gets to put its runs back into the queue, once it has waited for them long enough."""


class Server:
    """Storage, worker and HTTP application of one process, started and stopped together."""

    def __init__(self, settings: Settings, graphs: Graphs) -> None:
        self._settings = settings
        self._graphs = graphs
        self._storage = SqliteStorage(settings.db)
        self._events = LocalEventLog(self._storage.events)
        self._signals = LocalSignals()
        self._runs_loop = LoopThread("turnkeeper-runs")
        self._state_loop = LoopThread("turnkeeper-states")
        self._worker = Worker(self._parts(), jobs=settings.jobs)
        self._janitor = Janitor(self._storage, stream_ttl=settings.stream_ttl)
        self._services = self._build_services()

    def _parts(self) -> Parts:
        settings = self._settings
        return Parts(
            storage=self._storage,
            events=self._events,
            graphs=self._graphs,
            store=self._storage.items,
            cancel_grace=settings.cancel_grace,
            run_timeout=settings.run_timeout,
            max_attempts=settings.max_attempts,
        )

    def _build_services(self) -> Services:
        settings = self._settings
        policy = Policy(
            recursion_limit=settings.default_recursion_limit,
            max_queued=settings.max_queued_per_thread,
            keep_queued=settings.queued_on_interrupt == "keep",
            answer_tool_calls=settings.dangling_tool_calls == "answer",
            keep_inputs=settings.superseded_input == "keep",
        )
        assistants = AssistantService(self._storage, self._graphs)
        states = StateService(self._storage, self._graphs, self._storage.items, self._events, self._state_loop)
        admitting = Admitting(assistants, policy, time.time)
        runs = RunService(self._storage, self._events, self._signals, admitting, states)
        threads = ThreadService(self._storage, runs, states)
        schemas = SchemaService(self._storage, self._graphs, self._storage.items, self._state_loop)
        lookup = Threads(self._storage)
        protocol = ProtocolService(lookup, ThreadEvents(self._events, lookup), runs, states, schemas)
        return Services(assistants, threads, states, runs, TimelineService(self._storage), schemas, protocol)

    def app(self) -> Starlette:
        """The ASGI application; the worker lives as long as its lifespan."""
        app = build(self._settings, self._services, frozenset(self._graphs.ids))
        app.router.lifespan_context = self._lifespan
        return app

    def end_streams(self) -> None:
        """The server is about to stop: open streams would keep it from it. No run is started any more."""
        self._worker.claim_no_more()
        self._events.close()

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncGenerator[None]:
        await self._events.start()
        self._signals.connect(self._worker)
        await self._services.assistants.ensure_system()
        self._runs_loop.start()
        self._state_loop.start()
        working: Future[None] = self._runs_loop.submit(self._worker.serve())
        cleaning: Future[None] = self._runs_loop.submit(self._janitor.serve())
        try:
            yield
        finally:
            await self._stop_worker()
            working.cancel()
            cleaning.cancel()
            self._runs_loop.stop()
            self._state_loop.stop()

    async def _stop_worker(self) -> None:
        """A node that blocks the runs' loop keeps the worker from stopping, but not the server."""
        settings = self._settings
        longest = settings.drain_timeout + settings.cancel_grace + SPARE
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._runs_loop.run(self._worker.stop(settings.drain_timeout)), longest)

    def open(self) -> None:
        """Open the storage. Raises `ConfigError`."""
        self._storage.open()

    def close(self) -> None:
        """Close the storage once nothing uses it any more."""
        self._storage.close()


class _Uvicorn(uvicorn.Server):
    """Uvicorn that says when it is ready, and ends our streams before it waits for open responses."""

    def __init__(self, config: uvicorn.Config, server: Server, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._turnkeeper = server
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal drains, the second ends the process as it would end any: a restart takes up the runs."""
        if self.should_exit:
            signal.signal(sig, signal.SIG_DFL)
            os.kill(os.getpid(), sig)
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._turnkeeper.end_streams()
        await super().shutdown(sockets)


def serve(
    settings: Settings,
    graphs: Graphs,
    *,
    sockets: list[socket.socket] | None = None,
    on_ready: Callable[[], None] = lambda: None,
) -> None:
    """Serve until SIGINT or SIGTERM. Raises `ConfigError` when the database cannot be used.

    `sockets` are listened on instead of the settings' host and port; `on_ready` is called once they answer.
    """
    sys.setswitchinterval(SWITCH_INTERVAL)
    _configure_logs()
    server = Server(settings, graphs)
    server.open()
    config = uvicorn.Config(
        server.app(),
        host=settings.host,
        port=settings.port,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=int(settings.cancel_grace) + 5,
    )
    gc.collect()
    gc.freeze()  # modules and graphs live as long as the process: the collector need not look through them again
    try:
        _Uvicorn(config, server, on_ready).run(sockets)
    finally:
        server.close()


def _configure_logs() -> None:
    """Key-value lines on stderr. Tracebacks without the values of variables: those may be secrets."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.getLogger("uvicorn.error").addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    """A response that is broken off on purpose (its client left, the server stops) is none."""
    return "returned without completing response" not in record.getMessage()
