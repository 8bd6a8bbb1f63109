"""Crons: runs that come again and again. How they come about is in `firing`."""

import asyncio
from typing import Any

import msgspec

from turnkeeper.codec import raw, text
from turnkeeper.contracts import Storage
from turnkeeper.errors import Invalid
from turnkeeper.services.admitting import Admitting
from turnkeeper.services.assistants import AssistantService
from turnkeeper.services.cron_bodies import CronCreate, CronPatch, CronSearch, payload, run_body
from turnkeeper.services.schedules import as_date, upcoming
from turnkeeper.types import Cron, Page, timestamp, uuid7

WHEN = ("schedule", "timezone", "end_time", "enabled")
"""What says when a cron is due."""


class CronService:
    """What the HTTP handlers ask of crons."""

    def __init__(
        self, storage: Storage, assistants: AssistantService, admitting: Admitting, changed: asyncio.Event
    ) -> None:
        """`changed` is set when a cron may be due earlier than it was."""
        self._storage = storage
        self._assistants = assistants
        self._admitting = admitting
        self._changed = changed

    async def create(self, thread_id: str | None, body: CronCreate) -> Cron:
        """Make a cron; without a thread each of its runs has one of its own.

        Raises `NotFound` for an unknown assistant or thread, `Invalid`, `Impossible`.
        """
        cron_id, assistant_id = uuid7(), self._assistants.resolve(body.assistant_id)
        now = self._storage.clock()
        cron = Cron(
            cron_id=cron_id,
            assistant_id=assistant_id,
            thread_id=thread_id,
            user_id=None,
            schedule=body.schedule,
            timezone=body.timezone,
            end_time=_end(body.end_time, now),
            next_run_date=None,
            enabled=body.enabled is not False,
            on_run_completed=None if thread_id is not None else body.on_run_completed or "delete",
            metadata=raw(body.metadata or {}),
            payload=payload(cron_id, assistant_id, body),
            created_at="",
            updated_at="",
        )
        made = await self._storage.crons.create(self._checked(_planned(cron, now)))
        self._changed.set()
        return made

    async def get(self, cron_id: str) -> Cron:
        """One cron. Raises `NotFound`."""
        return await self._storage.crons.get(cron_id)

    async def update(self, cron_id: str, body: CronPatch) -> Cron:
        """Change a cron. A patch that names nothing changes nothing. Raises as `create`."""
        if body == CronPatch():
            return await self.get(cron_id)
        now = self._storage.clock()
        updated = await self._storage.crons.update(cron_id, lambda cron: self._changed_by(cron, body, now))
        self._changed.set()
        return updated

    async def delete(self, cron_id: str) -> None:
        """Remove a cron; its runs stay. Raises `NotFound`."""
        await self._storage.crons.delete(cron_id)

    async def search(self, body: CronSearch) -> Page:
        """Crons that match. Raises `Invalid`."""
        page = await self._storage.crons.search(self._filters(body), body.rows(body.sort_by or "created_at"))
        if "now" not in (body.select or ()):
            return page
        now = timestamp(self._storage.clock())
        return Page([{name: getattr(cron, name, now) for name in body.select or ()} for cron in page.items], page.total)

    async def count(self, body: CronSearch) -> int:
        """How many crons match. Raises `Invalid`."""
        return await self._storage.crons.count(self._filters(body))

    def _filters(self, body: CronSearch) -> dict[str, Any]:
        return {
            "assistant_id": None if body.assistant_id is None else self._assistants.resolve(body.assistant_id),
            "thread_id": body.thread_id,
            "enabled": body.enabled,
            "metadata": None if body.metadata is None else text(body.metadata),
        }

    def _changed_by(self, cron: Cron, body: CronPatch, now: float) -> Cron:
        if body.assistant_id and self._assistants.resolve(body.assistant_id) != cron.assistant_id:
            raise Invalid("assistant_id: a cron keeps its assistant; make another cron for another assistant")
        metadata = {**msgspec.json.decode(cron.metadata), **(body.metadata or {})}
        asked = msgspec.structs.replace(body, metadata=metadata)
        changed = msgspec.structs.replace(
            cron,
            **_own_changes(cron, body, now),
            metadata=raw(metadata),
            payload=payload(cron.cron_id, cron.assistant_id, asked, before=cron.payload),
        )
        same = all(getattr(changed, name) == getattr(cron, name) for name in WHEN)
        return self._checked(changed if same else _planned(changed, now))

    def _checked(self, cron: Cron) -> Cron:
        """The cron, if a run as it asks for would be taken. Raises `Invalid` and `Impossible`."""
        self._admitting.request(cron.thread_id, run_body(cron), cron_id=cron.cron_id)
        return cron


def _own_changes(cron: Cron, body: CronPatch, now: float) -> dict[str, Any]:
    """What a patch says besides how its runs are to be. Raises `Invalid`."""
    changes: dict[str, Any] = {name: getattr(body, name) for name in ("schedule", "enabled")}
    if cron.thread_id is None:
        changes["on_run_completed"] = body.on_run_completed
    said = {name: value for name, value in changes.items() if value is not None}
    if body.timezone is not msgspec.UNSET:
        said["timezone"] = body.timezone
    if body.end_time is not msgspec.UNSET:
        said["end_time"] = _end(body.end_time, now)
    return said


def _planned(cron: Cron, now: float) -> Cron:
    """The cron with the tick that comes first from now on. Raises `Invalid`."""
    return msgspec.structs.replace(cron, next_run_date=upcoming(cron, now))


def _end(given: str | None, now: float) -> str | None:
    """When a cron ends. Raises `Invalid` for what is no date, or is over."""
    if given is None:
        return None
    end = as_date(given, "end_time")
    if end <= timestamp(now):
        raise Invalid(f"end_time: {given} has passed; allowed are dates in the future, or null")
    return end
