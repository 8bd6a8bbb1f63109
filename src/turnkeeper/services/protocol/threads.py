"""The thread a command or a stream is about, and the runs it has."""

from typing import Any

from turnkeeper.codec import decode
from turnkeeper.contracts import Storage
from turnkeeper.errors import Impossible, NotFound
from turnkeeper.types import Run, Thread


class Threads:
    """Where the thread of every command and of every stream is looked up, before anything else is done with it."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def find(self, thread_id: str) -> Thread | None:
        """One thread, if it exists: the first run makes it."""
        try:
            return await self._storage.threads.get(thread_id)
        except NotFound:
            return None

    async def run(self, thread_id: str, run_id: str | None) -> Run | None:
        """A run of the thread, by default the newest."""
        try:
            if run_id is not None:
                return await self._storage.runs.get(thread_id, run_id)
            return await self._newest(thread_id, None)
        except NotFound:
            return None

    async def running(self, thread_id: str) -> Run | None:
        """The run under way."""
        try:
            return await self._newest(thread_id, "running")
        except NotFound:
            return None

    async def assistant(self, thread: Thread) -> str:
        """The assistant the thread last ran with. Raises `Impossible` when there is none."""
        run = await self.run(thread.thread_id, None)
        metadata = decode(thread.metadata)  # in which clients may write anything
        name = (metadata.get("assistant_id") or metadata.get("graph_id")) if run is None else run.assistant_id
        if not isinstance(name, str):
            raise Impossible("Thread has no graph yet: start a run on it first.")
        return name

    async def _newest(self, thread_id: str, status: str | None) -> Run | None:
        found = await self._storage.runs.of_thread(thread_id, status=status, limit=1, offset=0)
        return next(iter(found), None)


def questions(thread: Thread) -> list[dict[str, Any]]:
    """The interrupts a thread waits with, each with its `id` and `value`."""
    return [asked for task in decode(thread.interrupts).values() for asked in task]


def graph_name(run: Run) -> str:
    """The graph a run executes."""
    return str(decode(run.metadata).get("graph_id", ""))
