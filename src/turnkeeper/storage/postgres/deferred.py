"""Puts that are not waited for: LangGraph goes on while they are on their way (`durability` async and exit).

Those of one attempt travel together, in their order and in one transaction, a moment after the first of them; or with
the end of the attempt, if that comes sooner. One that the database refuses fails the run's next put, and its end.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar
from weakref import WeakValueDictionary

from psycopg import Connection, Cursor

from turnkeeper.errors import Fenced, Unavailable
from turnkeeper.storage.postgres import endings
from turnkeeper.storage.postgres.checkpoint_puts import Owner, Put
from turnkeeper.storage.postgres.database import Database, translated

T = TypeVar("T")
Send = Callable[[Connection], None]

LINGER = 0.01
"""Seconds a put waits for others to travel with."""

RETRY_AFTER = 0.5
"""Seconds until what the database did not take is tried again."""

MOST_WAITING = 64
"""Puts of one attempt that may wait. The next is waited for: a graph must not get ever further ahead of the disk."""


class DeferredPuts:
    """What one attempt has put and is not on disk yet. Shared by all its savers."""

    def __init__(self, owner: Owner, schedule: "Callable[[DeferredPuts, float], None]") -> None:
        """`schedule` has `write` called some seconds later."""
        self._owner = owner
        self._schedule = schedule
        self._waiting: list[Put] = []
        self._lock = threading.Lock()
        self._travelling = threading.Lock()
        self._failure: Exception | None = None
        self._told = False

    @property
    def wait(self) -> bool:
        """Whether something waits."""
        return bool(self._waiting)

    def post(self, put: Put) -> bool:
        """Hand over a put; whether so many wait that it had better be waited for. Raises what an earlier one did."""
        if self._failure is not None:
            raise self._failure
        with self._lock:
            self._waiting.append(put)
            count = len(self._waiting)
        if count == 1:
            self._schedule(self, LINGER)
        return count >= MOST_WAITING

    def write(self, connection: Connection) -> None:
        """Write what waits. Raises `Unavailable`, after which it waits on; what else goes wrong, `check` tells."""

        def alone(send: Send) -> None:
            with connection.pipeline():  # one transaction, which is committed where the pipeline ends
                send(connection)

        if not self._waiting:
            return
        try:
            self.travel(alone)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the attempt hears of it
            self._give_up(error)

    def travel(self, transact: Callable[[Send], T]) -> T:
        """Carry out a transaction that calls `send` once, or not at all. Where it raises, what waits waits on.

        Whoever calls has its connection: the one who writes must not have to wait for those who wait for it.
        """
        with self._travelling:
            puts, answers = list(self._waiting), list[Cursor[tuple[int]]]()

            def send(connection: Connection) -> None:
                answers.extend(put.send(connection, self._owner) for put in puts)

            with translated():
                result = transact(send)
            self._arrived(answers)
        return result

    def settle(self, connection: Connection) -> None:
        """`write`, and `check`."""
        self.write(connection)
        self.check()

    def check(self) -> None:
        """Raise what a put failed with, once; not that it was fenced, which the attempt's end will be, too."""
        if self._failure is not None and not self._told and not isinstance(self._failure, Fenced):
            self._told = True
            raise self._failure

    def _arrived(self, answers: list[Cursor[tuple[int]]]) -> None:
        if not all(stored for answer in answers for (stored,) in answer.fetchall()):
            self._give_up(endings.fenced(self._owner.run_id, self._owner.attempt))
            return
        with self._lock:
            del self._waiting[: len(answers)]
            more = bool(self._waiting)
        if more and answers:
            self._schedule(self, LINGER)

    def _give_up(self, failure: Exception) -> None:
        self._failure = failure
        with self._lock:
            self._waiting.clear()


class Deferrals:
    """The deferred puts of all attempts of this process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._attempts: WeakValueDictionary[Owner, DeferredPuts] = WeakValueDictionary()
        self._clock = ThreadPoolExecutor(1, thread_name_prefix="turnkeeper-puts")

    def begin(self, owner: Owner) -> DeferredPuts:
        """What an attempt defers; the same for all its savers."""
        if (found := self._attempts.get(owner)) is None:
            found = self._attempts[owner] = DeferredPuts(owner, self._schedule)
        return found

    def of(self, owner: Owner) -> DeferredPuts | None:
        """What an attempt has deferred, if it has."""
        return self._attempts.get(owner)

    def close(self) -> None:
        """Write nothing more."""
        self._clock.shutdown(cancel_futures=True)

    def _schedule(self, puts: DeferredPuts, seconds: float) -> None:
        due = time.monotonic() + seconds

        def wait() -> None:
            time.sleep(max(0.0, due - time.monotonic()))
            if puts.wait:
                self._database.post(lambda: self._write(puts))

        with contextlib.suppress(RuntimeError):  # closed: the run is taken up again from what is on disk
            self._clock.submit(wait)

    def _write(self, puts: DeferredPuts) -> None:
        try:
            self._database.call(puts.write)
        except Unavailable:
            self._schedule(puts, RETRY_AFTER)
