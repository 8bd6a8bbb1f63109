"""Threads: made, found, changed, copied, deleted."""

import re
from typing import Any

import msgspec

from turnkeeper.codec import decode, text
from turnkeeper.contracts import Storage
from turnkeeper.errors import Conflict, Invalid
from turnkeeper.services.requests import ThreadCreate, ThreadPatch, ThreadSearch, TtlBody
from turnkeeper.services.runs import RunService
from turnkeeper.services.states import StateService
from turnkeeper.types import NewThread, Page, Thread, uuid7

MOST_EXTRACTS = 10
_PATH = re.compile(r"^(values|metadata|config|interrupts)((?:\.[^.\[\]]+|\[-?\d{1,9}\])+)$")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(-?\d+)\]")


class ThreadService:
    """What the HTTP handlers ask of threads."""

    def __init__(self, storage: Storage, runs: RunService, states: StateService) -> None:
        self._storage = storage
        self._runs = runs
        self._states = states

    async def create(self, body: ThreadCreate) -> Thread:
        """Make a thread, with a past if `supersteps` give it one. Raises `Conflict` when the id is taken."""
        thread = NewThread(thread_id=body.thread_id or uuid7(), metadata=body.metadata or {}, ttl=_ttl(body.ttl))
        exist_ok = body.if_exists == "do_nothing"
        if not body.supersteps:
            return await self._storage.threads.create(thread, exist_ok=exist_ok)
        try:
            await self._storage.threads.create(thread, exist_ok=False)
        except Conflict:
            if exist_ok:
                return await self.get(thread.thread_id)
            raise
        try:
            await self._states.replay(thread.thread_id, body.supersteps)
        except BaseException:
            await self._storage.threads.delete(thread.thread_id)
            raise
        return await self.get(thread.thread_id)

    async def get(self, thread_id: str) -> Thread:
        """One thread. Raises `NotFound`."""
        return await self._storage.threads.get(thread_id)

    async def update(self, thread_id: str, body: ThreadPatch) -> Thread:
        """Merge metadata, shallow. Raises `NotFound`."""
        return await self._storage.threads.update(thread_id, body.metadata or {}, _ttl(body.ttl))

    async def delete(self, thread_id: str) -> None:
        """Stop the thread's runs, then remove it with all it has. Raises `NotFound`."""
        await self._runs.stop_thread(thread_id, "thread deleted")
        self._runs.announce(await self._storage.threads.delete(thread_id))  # runs made meanwhile
        self._runs.forget_thread(thread_id)

    async def copy(self, thread_id: str) -> Thread:
        """A new thread with the same state and history. Raises `NotFound`."""
        return await self._storage.threads.copy(thread_id, uuid7())

    async def search(self, body: ThreadSearch) -> Page:
        """Threads that match."""
        paths = {alias: _steps(path) for alias, path in (body.extract or {}).items()}
        if len(paths) > MOST_EXTRACTS:
            raise Invalid(f"extract: at most {MOST_EXTRACTS} paths are allowed, got {len(paths)}")
        page = await self._storage.threads.search(_filters(body), body.rows(body.sort_by or "updated_at"))
        return Page(items=[_shown(thread, body, paths) for thread in page.items], total=page.total)

    async def count(self, body: ThreadSearch) -> int:
        """How many threads match."""
        filters = _filters(body)
        del filters["ids"]
        return await self._storage.threads.count(filters)


def _filters(body: ThreadSearch) -> dict[str, Any]:
    return {
        "ids": text(body.ids) if body.ids else None,
        "metadata": None if body.metadata is None else text(body.metadata),
        "values": None if body.values is None else text(body.values),
        "status": body.status,
    }


def _ttl(body: TtlBody | None) -> msgspec.Raw | None:
    return None if body is None else msgspec.Raw(msgspec.json.encode(body))


Steps = tuple[str, list[str | int]]


def _steps(path: str) -> Steps:
    """`values.messages[-1].content` as the field and the steps into it. Raises `Invalid`."""
    found = _PATH.match(path)
    if found is None:
        raise Invalid(
            f"extract: '{path}' is no path. It starts with values., metadata., config. or interrupts. "
            "and goes on with names and [indexes], as in values.messages[-1].content"
        )
    return found[1], [name or int(index) for name, index in _STEP.findall(found[2])]


def _shown(thread: Thread, body: ThreadSearch, paths: dict[str, Steps]) -> Any:
    """A thread as the search shows it: only the selected fields, with what was extracted."""
    if not body.select and not paths:
        return thread
    shown = {name: getattr(thread, name) for name in body.select or Thread.__struct_fields__}
    if paths:
        shown["extracted"] = {alias: _extract(thread, *steps) for alias, steps in paths.items()}
    return shown


def _extract(thread: Thread, field: str, steps: list[str | int]) -> Any:
    value: Any = decode(getattr(thread, field))
    for step in steps:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
    return value
