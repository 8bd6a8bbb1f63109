"""The composition root: how the parts are put together, whichever they are."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager

from starlette.applications import Starlette

from turnkeeper.config import Settings
from turnkeeper.errors import Unavailable
from turnkeeper.graphs.loader import Graphs
from turnkeeper.graphs.loop import LoopThread
from turnkeeper.http.app import Services, build
from turnkeeper.server.backends import Backend
from turnkeeper.services.admitting import Admitting, Policy
from turnkeeper.services.assistants import AssistantService
from turnkeeper.services.crons import CronService
from turnkeeper.services.firing import Firing
from turnkeeper.services.lookout import Lookout
from turnkeeper.services.protocol.commands import ProtocolService
from turnkeeper.services.protocol.events import ThreadEvents
from turnkeeper.services.protocol.threads import Threads
from turnkeeper.services.runs import RunService
from turnkeeper.services.schemas import SchemaService
from turnkeeper.services.states import StateService
from turnkeeper.services.threads import ThreadService
from turnkeeper.services.timelines import TimelineService
from turnkeeper.worker.attempt import Parts
from turnkeeper.worker.janitor import Janitor
from turnkeeper.worker.loop import Worker
from turnkeeper.worker.timetable import Timetable

SPARE = 1.0
"""Seconds the worker gets to put its runs back into the queue, once it has waited for them long enough."""

ATTEMPTS = 3
"""How often what needs the database at the start is tried: it may have been restarted since it was opened."""


class Server:
    """Storage, worker and HTTP application of one process, started and stopped together."""

    def __init__(self, settings: Settings, graphs: Graphs) -> None:
        self._settings = settings
        self._graphs = graphs
        self._storage, self._events, self._signals = Backend.of(settings)
        self._runs_loop = LoopThread("turnkeeper-runs")
        self._state_loop = LoopThread("turnkeeper-states")
        self._worker = Worker(self._parts(), self._signals, jobs=settings.jobs, clock=self._storage.clock)
        self._janitor = Janitor(self._storage, stream_ttl=settings.stream_ttl, clock=self._storage.clock)
        self._lookout = Lookout(self._storage.runs)
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
        admitting = Admitting(assistants, policy, self._storage.clock)
        runs = RunService(self._storage, self._events, self._signals, admitting, states, self._lookout)
        threads = ThreadService(self._storage, runs, states)
        schemas = SchemaService(self._storage, self._graphs, self._storage.items, self._state_loop)
        crons = self._build_crons(assistants, admitting, runs)
        lookup = Threads(self._storage)
        protocol = ProtocolService(lookup, ThreadEvents(runs, lookup), runs, states, schemas)
        return Services(assistants, threads, states, runs, crons, TimelineService(self._storage), schemas, protocol)

    def _build_crons(self, assistants: AssistantService, admitting: Admitting, runs: RunService) -> CronService:
        changed = asyncio.Event()
        firing = Firing(self._storage, admitting, runs, self._signals)
        self._timetable = Timetable(firing, changed, self._storage.clock)
        return CronService(self._storage, assistants, admitting, changed)

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
        await _patiently(self._events.start)
        await _patiently(self._services.assistants.ensure_system)
        self._state_loop.start()
        looking = asyncio.create_task(self._lookout.serve())
        holding = asyncio.create_task(self._worker.hold())  # with role "api", too: it also keeps the clock right
        try:
            async with contextlib.AsyncExitStack() as stack:
                if self._settings.role != "api":
                    await stack.enter_async_context(self._working())
                yield
        finally:
            looking.cancel()
            holding.cancel()
            await self._events.stop()
            self._state_loop.stop()

    @asynccontextmanager
    async def _working(self) -> AsyncGenerator[None]:
        """The worker and what belongs to it."""
        self._signals.connect(self._worker)
        self._runs_loop.start()
        working: Future[None] = self._runs_loop.submit(self._worker.serve())
        cleaning: Future[None] = self._runs_loop.submit(self._janitor.serve())
        firing = asyncio.create_task(self._timetable.serve())
        try:
            yield
        finally:
            firing.cancel()
            await self._stop_worker()
            self._signals.wake()  # other workers may take up at once what this one could not finish
            working.cancel()
            cleaning.cancel()
            self._runs_loop.stop()

    async def _stop_worker(self) -> None:
        """A node that blocks the runs' loop keeps the worker from stopping, but not the server."""
        settings = self._settings
        longest = settings.drain_timeout + settings.cancel_grace + SPARE
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(longest):
                await self._runs_loop.run(self._worker.stop(settings.drain_timeout))

    def open(self) -> None:
        """Open the storage. Raises `ConfigError`."""
        self._storage.open()

    def close(self) -> None:
        """Close the storage once nothing uses it any more."""
        self._storage.close()


async def _patiently(begin: Callable[[], Awaitable[object]]) -> None:
    for left in reversed(range(ATTEMPTS)):
        try:
            await begin()
        except Unavailable:
            if not left:
                raise
        else:
            return
