"""The journal of a thread, told run by run: what waited, what ran, what stopped what."""

from datetime import datetime

import msgspec

from turnkeeper.contracts import Storage
from turnkeeper.types import JournalEntry


class RunTimeline(msgspec.Struct, omit_defaults=True):
    """One run's life. Times are ISO 8601, durations milliseconds; what has not happened is left out."""

    run_id: str
    status: str = "pending"
    """A run's status, or `rolled_back` or `deleted` for one whose row is gone."""
    strategy: str | None = None
    created_at: str | None = None
    started_at: str | None = None
    cancel_requested_at: str | None = None
    ended_at: str | None = None
    queue_ms: float | None = None
    run_ms: float | None = None
    attempts: int = 0
    reason: str | None = None
    superseded_by: str | None = None
    supersedes: list[str] = msgspec.field(default_factory=list[str])
    events: list[JournalEntry] = msgspec.field(default_factory=list[JournalEntry])


class TimelineService:
    """What the HTTP handlers ask of journals."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def get(self, thread_id: str) -> list[RunTimeline]:
        """The runs of a thread in order of admission, those that are gone too. Raises `NotFound`."""
        return tell(await self._storage.threads.journal(thread_id))


def tell(entries: list[JournalEntry]) -> list[RunTimeline]:
    """Gather the entries of each run."""
    runs: dict[str, RunTimeline] = {}
    for entry in entries:
        run = runs.setdefault(entry.run_id, RunTimeline(entry.run_id))
        run.events.append(entry)
        _note(run, entry)
    for run in runs.values():
        if run.superseded_by in runs:
            runs[run.superseded_by].supersedes.append(run.run_id)
        run.queue_ms = _between(run.created_at, run.started_at)
        run.run_ms = _between(run.started_at, run.ended_at)
    return list(runs.values())


def _note(run: RunTimeline, entry: JournalEntry) -> None:
    """What one entry says of its run."""
    match entry.event:
        case "created":
            run.created_at, run.strategy = entry.at, entry.detail
        case "started":
            run.status, run.attempts = "running", entry.attempt
            run.started_at = run.started_at or entry.at
        case "released":
            run.status = "pending"
        case "superseded_by":
            run.superseded_by = run.superseded_by or entry.detail  # the first to say so counts
        case "cancel_requested":
            run.cancel_requested_at, run.reason = run.cancel_requested_at or entry.at, entry.detail
        case "ended":
            run.status, run.ended_at = entry.detail or "", entry.at
        case "tombstone":
            run.status = "deleted" if entry.detail == "deleted" else "rolled_back"
            run.ended_at = run.ended_at or entry.at


def _between(begin: str | None, end: str | None) -> float | None:
    if begin is None or end is None:
        return None
    return round((datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds() * 1000, 3)
