"""Writes that are not waited for: LangGraph goes on while they are on their way to disk (`durability` async and exit).

The one writer keeps them in order, so when the end of their run is on disk, so are they. One that fails is remembered
and fails the run's next write, and its end.
"""

import sqlite3
from collections.abc import Callable
from typing import Any, TypeVar

from turnkeeper.errors import Fenced
from turnkeeper.storage.sqlite.database import Database

T = TypeVar("T")


class DeferredWrites:
    """The writes of one attempt. Shared by the copies LangGraph makes of a saver."""

    def __init__(self, database: Database, run_id: str, failures: dict[str, BaseException], *, fresh: bool) -> None:
        """`failures` is where the run's end looks; `fresh`: nothing is stored of the thread yet."""
        self._database = database
        self._run_id = run_id
        self._failures = failures
        self._error: BaseException | None = None
        self._posted = False
        self.fresh = fresh

    def post(self, job: Callable[[sqlite3.Connection], Any]) -> None:
        """Hand over a write. Raises what an earlier one failed with."""
        if self._error is not None:
            raise self._error
        self._posted = True
        self.fresh = False
        self._database.post(job, self._failed)

    async def settle(self) -> None:
        """Wait until what was handed over can be read."""
        if self._posted:
            self._posted = False
            await self._database.write(_nothing)

    def settle_sync(self) -> None:
        """`settle`, blocking."""
        if self._posted:
            self._posted = False
            self._database.write_sync(_nothing)

    def _failed(self, error: BaseException) -> None:
        self._error = error
        if not isinstance(error, Fenced):  # the end of a fenced attempt is refused without our help
            self._failures.setdefault(self._run_id, error)


def _nothing(_: sqlite3.Connection) -> None:
    """What is waited for is the turn, not the work."""
