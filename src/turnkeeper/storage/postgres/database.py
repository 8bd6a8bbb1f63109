"""The connections to PostgreSQL: one bounded pool, used by any event loop and any thread of the process.

Statements run on threads of their own, with blocking connections, never on an event loop: while a transaction is open
it holds locks that all servers wait for, and a loop may be blocked by a user's code at any moment. It also makes one
pool enough: an asynchronous connection belongs to the loop it was opened on, and the process has three of them.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import psycopg
import structlog
from psycopg import Connection
from psycopg.errors import DeadlockDetected, SerializationFailure
from psycopg_pool import PoolClosed, PoolTimeout

from turnkeeper.errors import Invalid, Unavailable
from turnkeeper.storage.postgres import migrations
from turnkeeper.storage.postgres.connections import Link, Pool, configure, transaction
from turnkeeper.storage.postgres.opening import PATIENCE, first_line, patiently

log = structlog.get_logger()

T = TypeVar("T")
Job = Callable[[Connection], T]

NAME = "turnkeeper"
"""What our connections are called where the database lists them."""

GIVE_UP = 2.0
"""Seconds after which the pool gives up to connect, until somebody asks for a connection: it pauses ever longer."""

ATTEMPTS = 3
"""How often a transaction is begun that the database gave up in favour of another."""

MOST = 500
"""Rows that are removed at once where there may be many."""


class Database:
    """A pool of connections and the threads that use them."""

    def __init__(self, uri: str, size: int = 8, patience: float = PATIENCE) -> None:
        """`uri` as libpq takes it; `size` is the most connections this process opens, and statements under way.

        `patience`: seconds to wait for a connection or a lock, and until a transaction in which nothing happens is
        given up.
        """
        self._uri = uri
        settings = {
            "application_name": NAME,
            "autocommit": True,
            "prepare_threshold": 1,
            "connect_timeout": int(PATIENCE),
        }
        self.pool = Pool(
            uri,
            connection_class=Link,
            min_size=1,
            max_size=size,
            open=False,
            timeout=patience,
            kwargs=settings,
            configure=lambda connection: configure(connection, patience),
            reconnect_timeout=GIVE_UP,
        )
        self._threads = ThreadPoolExecutor(size, thread_name_prefix="turnkeeper-postgres")
        self._closed = False

    def open(self, begin: Callable[[], None] = lambda: None) -> None:
        """Connect, migrate and `begin`, once the database is ready.

        Raises `ConfigError` when that cannot be done within `PATIENCE`, or the schema is too new.
        """
        patiently(self._uri, lambda: self._open(begin))

    def _open(self, begin: Callable[[], None]) -> None:
        with psycopg.connect(self._uri, autocommit=True, connect_timeout=int(PATIENCE)) as connection:
            migrations.migrate(connection)
        self.pool.open()
        begin()

    def close(self) -> None:
        """Let everything under way finish, then hang up."""
        self._closed = True
        self._threads.shutdown()
        self.pool.close()

    async def run(self, job: Job[T], then: Callable[[T | None], None] | None = None) -> T:
        """`call` without blocking the event loop.

        A caller that is cancelled while it waits no longer hears of the outcome; the job is carried out all the same.
        `then` is called on the job's thread, whatever became of the caller: with the result, or with `None` when the
        job failed.
        """
        return await self.on_thread(lambda: self.call(job), then)

    async def drain(self, statement: bytes, parameters: Mapping[str, object]) -> int:
        """Repeat a statement that removes up to `:most` rows until none is left; how many that were.

        Bit by bit, so that nobody waits long for a lock.
        """
        asked = {**parameters, "most": MOST}
        removed = 0
        while True:
            last = await self.run(lambda connection: connection.execute(statement, asked).rowcount)
            removed += last
            if last < MOST:
                return removed

    async def on_thread(self, work: Callable[[], T], then: Callable[[T | None], None] | None = None) -> T:
        """Run something that blocks on one of the threads; `then` as for `run`. Raises `Unavailable` once closed."""
        if self._closed:
            raise Unavailable("The database is closed.")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def settle(result: Any, error: BaseException | None) -> None:
            if future.cancelled():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        def carry_out() -> None:
            result, error = _attempt(work)
            try:
                if then is not None:
                    then(result)
            finally:
                with contextlib.suppress(RuntimeError):  # the caller's loop is closed: nobody is left to tell
                    loop.call_soon_threadsafe(settle, result, error)

        self._threads.submit(carry_out)
        return await future

    def post(self, work: Callable[[], None]) -> None:
        """Do something that blocks on one of the threads, without anybody waiting for it; once closed, do not."""
        with contextlib.suppress(RuntimeError):
            self._threads.submit(work)

    async def transact(self, job: Job[T], then: Callable[[T | None], None] | None = None) -> T:
        """Run a job in a transaction, without blocking the event loop. Begun anew when the database gave it up."""
        return await self.run(in_transaction(job), then)

    def call(self, job: Job[T]) -> T:
        """Run a job on a connection that commits each statement, blocking. Raises `Unavailable`.

        Never call it on an event loop.
        """
        if self._closed:
            raise Unavailable("The database is closed.")
        with translated(), self.pool.connection() as connection:
            return job(connection)


def _attempt(work: Callable[[], T]) -> tuple[T | None, BaseException | None]:
    try:
        return work(), None
    except BaseException as error:  # noqa: BLE001 - whatever a job raises belongs to its caller
        return None, error


def in_transaction(job: Job[T]) -> Job[T]:
    """The job in a transaction of its own. Begun anew when the database gave it up in favour of another."""

    def attempt(connection: Connection) -> T:
        for left in reversed(range(ATTEMPTS)):
            try:
                with transaction(connection):
                    return job(connection)
            except (DeadlockDetected, SerializationFailure):
                if not left:
                    raise
                time.sleep(0.01)
        raise AssertionError

    return attempt


@contextlib.contextmanager
def translated() -> Generator[None]:
    """The driver's errors as ours."""
    try:
        yield
    except psycopg.DataError as error:
        raise Invalid(f"The database cannot store this: {first_line(error)}") from error
    except (psycopg.OperationalError, PoolTimeout, PoolClosed) as error:
        raise Unavailable(f"The database did not take the write: {first_line(error)}") from error
