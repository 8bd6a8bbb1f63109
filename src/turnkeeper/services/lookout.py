"""Ends nobody told: who ended a run may have died before it could say so. Every few seconds the database is asked."""

import asyncio
from weakref import WeakKeyDictionary

import structlog

from turnkeeper.contracts import RunStore, Subscription
from turnkeeper.errors import NotFound, Unavailable
from turnkeeper.types import Ended

log = structlog.get_logger()

EVERY = 1.0
"""Seconds between two looks. An end is told within milliseconds, as a rule."""


class Lookout:
    """Looks after those who wait for a run's end. One question for all of them. Lives on the API's loop."""

    def __init__(self, runs: RunStore, every: float = EVERY) -> None:
        self._runs = runs
        self._every = every
        self._waiting: WeakKeyDictionary[Subscription, tuple[str, str]] = WeakKeyDictionary()
        self._following: WeakKeyDictionary[Subscription, str] = WeakKeyDictionary()
        self._suspected: set[str] = set()

    def watch(self, subscription: Subscription, thread_id: str, run_id: str) -> None:
        """Tell a subscription of the end of its run, should it not hear of it."""
        self._waiting[subscription] = (thread_id, run_id)

    def follow(self, subscription: Subscription, thread_id: str) -> None:
        """Tell a subscription of the ends of its thread's runs, should it not hear of them."""
        self._following[subscription] = thread_id

    async def serve(self) -> None:
        """Go on until cancelled."""
        while True:
            await asyncio.sleep(self._every)
            try:
                await self.look()
            except Unavailable as error:
                log.warning("nobody can look for the ends of runs now", error=str(error))
            except Exception:
                log.exception("a look for the ends of runs failed")

    async def look(self) -> None:
        """Tell of the ends that were there at the last look already: what was told of a run before has come by now."""
        waiting = {run_id: thread_id for thread_id, run_id in self._watched().values()}
        inactive = set(await self._runs.inactive(list(waiting))) if waiting else set[str]()
        for run_id in inactive & self._suspected:
            await self._tell(waiting[run_id], run_id)
        self._suspected = inactive

    async def _tell(self, thread_id: str, run_id: str) -> None:
        try:
            ended = await self._runs.end(thread_id, run_id)
        except NotFound:
            ended = Ended(run_id=run_id, thread_id=thread_id, status=None)
        for subscription, (_, of_run) in self._watched().items():
            if of_run == run_id and ended is not None and not subscription.closed and subscription.ended is None:
                subscription.finish(ended)

    def _watched(self) -> dict[Subscription, tuple[str, str]]:
        """Whoever waits for an end now: of which thread's which run."""
        following = {each: (thread_id, each.going) for each, thread_id in self._following.items()}
        going = {each: (thread_id, run_id) for each, (thread_id, run_id) in following.items() if run_id is not None}
        return {**self._waiting, **going}
