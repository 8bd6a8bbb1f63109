"""Runs: made, listened to, waited for, cancelled, deleted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from turnkeeper.codec import decode, encode
from turnkeeper.contracts import EventLog, Signals, Storage, Subscription
from turnkeeper.errors import Invalid, NotFound, Unavailable
from turnkeeper.lifecycle import CancelAction
from turnkeeper.services.admitting import Admitting
from turnkeeper.services.lookout import Lookout
from turnkeeper.services.requests import RunCreate, RunsCancel
from turnkeeper.services.states import StateService
from turnkeeper.types import Ended, Run, RunRequest, Stopped, Waiting

WAIT_FOR_END = 3600.0
"""Seconds one wait for a run's end lasts before it looks at the database again."""


@dataclass(frozen=True, slots=True)
class Listening:
    """A run and a subscription that misses nothing of it; or its end, where a repeated request found it ended."""

    run: Run
    found: Subscription | Ended


class RunService:
    """What the HTTP handlers ask of runs."""

    def __init__(
        self,
        storage: Storage,
        events: EventLog,
        signals: Signals,
        admitting: Admitting,
        states: StateService,
        lookout: Lookout,
    ) -> None:
        self._storage = storage
        self._events = events
        self._signals = signals
        self._admitting = admitting
        self._states = states
        self._lookout = lookout

    async def create(self, thread_id: str | None, body: RunCreate, key: str | None, *, protocol: bool = False) -> Run:
        """Admit a run; without a thread it gets one of its own. `key`: its `Idempotency-Key`, if any.

        Raises `NotFound`, `Conflict`, `Invalid`, `Impossible`, `TooMany`.
        """
        [run] = await self._admit([self._admitting.request(thread_id, body, key, protocol=protocol)])
        return run

    async def create_batch(self, bodies: Sequence[RunCreate]) -> list[Run]:
        """Admit stateless runs, all or none."""
        return await self._admit([self._admitting.request(None, body) for body in bodies])

    async def start(self, thread_id: str | None, body: RunCreate, key: str | None, *, frames: bool) -> Listening:
        """Admit a run and listen to it from before its first event. Raises like `create`."""
        request = self._admitting.request(thread_id, body, key)
        subscription = self._events.subscribe(request.run_id, request.thread_id, frames=frames)
        try:
            await subscription.ready()
            [run] = await self._admit([request])
        except BaseException:
            subscription.close()
            raise
        if run.run_id == request.run_id:
            self._lookout.watch(subscription, run.thread_id, run.run_id)
            return Listening(run, subscription)
        subscription.close()
        return Listening(run, await self.join(run.thread_id, run.run_id, frames=frames))

    async def join(
        self, thread_id: str, run_id: str, *, frames: bool, after: int | None = None
    ) -> Ended | Subscription:
        """A run's end if it has ended, else a subscription to it. Raises `NotFound`.

        With `after`, a subscription in any case: to what is known of its events after that one.
        """
        subscription = self._events.subscribe(run_id, thread_id, frames=frames, after=after)
        try:
            await subscription.ready()
            ended = await self._end(thread_id, run_id, remembered=frames)
        except BaseException:
            subscription.close()
            raise
        if ended is None:
            self._lookout.watch(subscription, thread_id, run_id)
            return subscription
        if after is not None:
            subscription.finish(ended)
            return subscription
        subscription.close()
        return ended

    def follow(self, thread_id: str, *, protocol: bool, after: int | None = None) -> Subscription:
        """Listen to all runs of a thread, which need not exist yet."""
        subscription = self._events.follow(thread_id, protocol=protocol, after=after)
        self._lookout.follow(subscription, thread_id)
        return subscription

    async def _end(self, thread_id: str, run_id: str, *, remembered: bool) -> Ended | None:
        """A run's end; that of one that is gone, without its values, may be `remembered`. Raises `NotFound`."""
        try:
            return await self._storage.runs.end(thread_id, run_id)
        except NotFound:
            ended = self._events.recent_end(thread_id, run_id) if remembered else None
            if ended is None:
                raise
            return ended

    async def result(self, ended: Ended) -> bytes:
        """What `wait` and `join` answer, as JSON: the run's values, or `__error__` (the SDKs raise it)."""
        if ended.status is None:
            return encode({"__error__": {"error": "UserRollback", "message": ended.reason or "rolled back"}})
        if ended.status in ("error", "timeout") and ended.error is not None:
            return encode({"__error__": decode(ended.error)})
        if ended.values is None:
            ended = await self._states.at_end(ended)
        waiting = [interrupt for each in decode(ended.interrupts).values() for interrupt in each]
        if waiting:
            values: Any = decode(ended.values or b"{}")
            known = cast("dict[str, Any]", values) if isinstance(values, dict) else {}
            return encode({**known, "__interrupt__": waiting})
        return bytes(ended.values or b"{}")

    async def waiting(self) -> Waiting:
        """How many threads wait for a worker, and for a slot. Raises `Unavailable`."""
        return await self._storage.runs.waiting()

    async def get(self, thread_id: str, run_id: str) -> Run:
        """One run. Raises `NotFound`."""
        return await self._storage.runs.get(thread_id, run_id)

    async def of_thread(self, thread_id: str, *, status: str | None, limit: int, offset: int) -> list[Run]:
        """The runs of a thread, newest first. Raises `NotFound`."""
        return await self._storage.runs.of_thread(thread_id, status=status, limit=limit, offset=offset)

    async def cancel(self, thread_id: str, run_id: str, action: CancelAction, *, wait: bool) -> None:
        """Stop a run; with `wait`, return once it can write no more. Raises `NotFound` when it is not active."""
        reason = f"{action} requested via POST /threads/{thread_id}/runs/{run_id}/cancel"
        stopped = await self._storage.runs.cancel(thread_id, [run_id], action, reason)
        if not stopped.found:
            run = await self._storage.runs.get(thread_id, run_id)
            raise NotFound(f"Run {run_id} has ended ({run.status}): there is nothing to cancel.")
        self.announce(stopped)
        if wait:
            await self._until_ended(thread_id, stopped)

    async def cancel_many(self, body: RunsCancel, action: CancelAction) -> None:
        """Stop several runs. Raises `NotFound` when none of them is active, `Invalid` on a mixed selection."""
        by_ids = body.thread_id is not None and body.run_ids
        if bool(by_ids) == (body.status is not None):
            raise Invalid("Name either thread_id and run_ids, or status (pending, running or all).")
        reason = f"{action} requested via POST /runs/cancel"
        if body.status is not None:
            stopped = await self._storage.runs.cancel_by_status(body.status, action, reason)
        else:
            stopped = await self._storage.runs.cancel(body.thread_id or "", body.run_ids or [], action, reason)
        if not stopped.found:
            raise NotFound("No runs found to cancel.")
        self.announce(stopped)

    async def disconnected(self, run: Run) -> None:
        """A client that asked for `on_disconnect=cancel` went away."""
        reason = "client disconnected from the run stream (on_disconnect=cancel)"
        self.announce(await self._storage.runs.cancel(run.thread_id, [run.run_id], "interrupt", reason))

    async def delete(self, thread_id: str, run_id: str) -> None:
        """Remove a run, stopped first if it is active. Raises `NotFound`."""
        try:
            await self.cancel(thread_id, run_id, "interrupt", wait=True)
        except NotFound:
            await self._storage.runs.get(thread_id, run_id)
        await self._storage.runs.delete(thread_id, run_id)
        self._events.forget(thread_id, run_id)

    async def stop_thread(self, thread_id: str, reason: str) -> None:
        """Stop every run of a thread and wait until none can write any more."""
        stopped = await self._storage.runs.cancel_thread(thread_id, "interrupt", reason)
        self.announce(stopped)
        await self._until_ended(thread_id, stopped)

    async def _until_ended(self, thread_id: str, stopped: Stopped) -> None:
        """Wait until none of the runs told to stop can write any more."""
        for run_id in stopped.stopping:
            await self._until(thread_id, run_id)

    async def _until(self, thread_id: str, run_id: str) -> None:
        """Wait until a run can write no more; one that does not exist cannot."""
        try:
            found = await self.join(thread_id, run_id, frames=False)
        except NotFound:
            return
        if not isinstance(found, Ended):
            await ended(found)
            found.close()

    async def _admit(self, requests: Sequence[RunRequest]) -> list[Run]:
        admitted = await self._storage.runs.admit(requests, self._signals)
        for each in admitted:
            self.announce(each.stopped)
        return [each.run for each in admitted]

    def forget_thread(self, thread_id: str) -> None:
        """The thread was deleted: nobody who comes back shall read of it."""
        self._events.forget(thread_id)

    def announce(self, stopped: Stopped) -> None:
        """Tell listeners of ended runs and workers of runs to stop."""
        for end in stopped.ended:
            self._events.end(end)
        if stopped.ended:
            self._signals.wake()  # what waited for them, or for a slot they had, may start
        self._signals.cancel(stopped.stopping)


async def ended(subscription: Subscription) -> Ended:
    """Wait for the end of a run. Raises `Unavailable` when the server stops first."""
    while (end := subscription.ended) is None:
        if subscription.closed:
            raise Unavailable("The server is stopping.")
        await subscription.batch(WAIT_FOR_END)
    return end
