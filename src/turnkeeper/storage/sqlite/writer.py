"""The one thread that writes: transactions that wait together share one commit and one fsync."""

import asyncio
import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple, TypeVar

import structlog

from turnkeeper.errors import Unavailable

log = structlog.get_logger()

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], Any]
Done = Callable[[Any, BaseException | None], None]

MAX_GROUP = 256
"""Jobs that may share one transaction: bounds how long the first of them waits for the last."""

PATIENCE = 0.005
"""Seconds a job that nobody waits for may lie before it is written: mostly one that is waited for takes it along."""


class Entry(NamedTuple):
    """A job in the writer's queue."""

    job: Job
    done: Done
    awaited: bool


class Writer:
    """Runs jobs one after another on the only writing connection, each all or nothing.

    A job is a function of the connection. It must not commit; if it raises, what it wrote is undone and the
    caller gets the exception, while the jobs that share its transaction are unharmed. A job's result is handed
    back only after its transaction is on disk.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        """`connect` opens the writing connection, in autocommit mode; it is called on the writer's thread."""
        self._connect = connect
        self._jobs: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
        self._opened: Future[None] = Future()
        self._closed = False
        self._gate = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="turnkeeper-writer", daemon=True)

    def start(self) -> None:
        """Open the connection; raises what opening raised."""
        self._thread.start()
        self._opened.result()

    def close(self) -> None:
        """Finish every job already submitted, then close the connection."""
        with self._gate:
            if self._closed:
                return
            self._closed = True
            self._jobs.put(None)
        self._thread.join()

    def call(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run `job` and block the calling thread until it is on disk. Never call it on an event loop."""
        future: Future[T] = Future()

        def done(result: T, error: BaseException | None) -> None:
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        self._submit(Entry(job, done, awaited=True))
        return future.result()

    async def run(self, job: Callable[[sqlite3.Connection], T], then: Callable[[T | None], None] | None = None) -> T:
        """Run `job` and wait until it is on disk, without blocking the event loop.

        A caller that is cancelled while it waits no longer hears of the outcome; the job is carried out all the same.
        `then` is called on the writer's thread, whatever became of the caller: with the job's result as soon as it is
        on disk, with `None` when it failed.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def settle(result: T, error: BaseException | None) -> None:
            if future.cancelled():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        def done(result: T, error: BaseException | None) -> None:
            try:
                if then is not None:
                    then(result if error is None else None)
            finally:
                with contextlib.suppress(RuntimeError):  # the caller's loop is closed: nobody is left to tell
                    loop.call_soon_threadsafe(settle, result, error)

        self._submit(Entry(job, done, awaited=True))
        return await future

    def post(self, job: Job, failed: Callable[[BaseException], None]) -> None:
        """Hand over `job` without waiting; `failed` is called on the writer's thread if it fails."""

        def done(_: object, error: BaseException | None) -> None:
            if error is not None:
                failed(error)

        self._submit(Entry(job, done, awaited=False))

    def _submit(self, entry: Entry) -> None:
        with self._gate:  # nothing may be queued after the mark at which the writer stops: nobody would carry it out
            if self._closed:
                raise Unavailable("The database is closed.")
            self._jobs.put(entry)

    def _run(self) -> None:
        try:
            connection = self._connect()
        except BaseException as error:  # noqa: BLE001 - handed to the thread that called start()
            self._opened.set_exception(error)
            return
        self._opened.set_result(None)
        with contextlib.closing(connection):
            while group := self._next_group():
                for done, result, error in _carry_out(connection, group):
                    try:
                        done(result, error)
                    except Exception:
                        log.exception("nobody could be told of a write")  # the others wait for theirs

    def _next_group(self) -> list[Entry]:
        """Wait for a job, then take all that came meanwhile; empty once the writer is to stop."""
        first = self._jobs.get()
        if first is None:
            return []
        group = [first]
        deadline = 0.0 if first.awaited else time.monotonic() + PATIENCE
        while len(group) < MAX_GROUP:
            try:
                following = self._next(deadline)
            except queue.Empty:
                break
            if following is None:
                self._jobs.put(None)  # stop after this group
                break
            group.append(following)
            if following.awaited:
                deadline = 0.0
        return group

    def _next(self, deadline: float) -> Entry | None:
        """The next in the queue; once the deadline has passed, only what is there already. Raises `queue.Empty`."""
        if deadline == 0.0:
            return self._jobs.get_nowait()
        return self._jobs.get(timeout=max(0.0, deadline - time.monotonic()))


def _carry_out(connection: sqlite3.Connection, group: list[Entry]) -> list[tuple[Done, Any, BaseException | None]]:
    """One transaction for the whole group; a job that fails is undone alone."""
    try:
        connection.execute("begin immediate")
        outcomes = [(entry.done, *_attempt(connection, entry.job)) for entry in group]
        connection.execute("commit")
    except sqlite3.Error as error:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("rollback")
        refusal = Unavailable(f"The database did not take the write: {error}")
        return [(entry.done, None, refusal) for entry in group]
    return outcomes


def _attempt(connection: sqlite3.Connection, job: Job) -> tuple[Any, BaseException | None]:
    connection.execute("savepoint job")
    try:
        result = job(connection)
    except BaseException as error:  # whatever a job raises belongs to its caller
        if _concerns_all(error):
            raise
        connection.execute("rollback to job")
        connection.execute("release job")
        return None, error
    connection.execute("release job")
    return result, None


def _concerns_all(error: BaseException) -> bool:
    """Whether no job of the transaction can be kept (disk full, I/O error); a wrong statement troubles its job only."""
    return (
        isinstance(error, sqlite3.OperationalError) and getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_ERROR
    )
