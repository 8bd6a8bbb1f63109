"""Who listens to what. Changed on the API's loop only; `read` may be asked from any thread."""

import asyncio
from collections.abc import Iterator
from typing import TypeVar

from turnkeeper.contracts import Frame
from turnkeeper.stream.subscription import LocalSubscription

K = TypeVar("K")


class Listeners:
    """The subscriptions of all runs and threads.

    Whose connection broke is still counted as a reader for a while: what is told until it is back has to be kept.
    """

    def __init__(self, patience: float) -> None:
        """`patience`: seconds the return of a listener is waited for."""
        self._patience = patience
        self._runs: dict[str, list[LocalSubscription]] = {}
        self._threads: dict[str, list[LocalSubscription]] = {}
        self._reading: dict[str, int] = {}
        self._following: dict[tuple[str, bool], int] = {}

    def read(self, thread_id: str, run_id: str, *, protocol: bool) -> bool:
        """Whether somebody reads what a run tells in one of the dialects."""
        return (not protocol and run_id in self._reading) or (thread_id, protocol) in self._following

    def of_run(self, run_id: str) -> tuple[LocalSubscription, ...]:
        """Who waits for a run's end."""
        return tuple(self._runs.get(run_id, ()))

    def of(self, frame: Frame) -> Iterator[LocalSubscription]:
        """Who gets a frame."""
        if not frame.protocol:
            yield from (each for each in self.of_run(frame.run_id) if each.frames)
        yield from (each for each in tuple(self._threads.get(frame.thread_id, ())) if each.protocol == frame.protocol)

    def all(self) -> list[LocalSubscription]:
        """Everybody."""
        return [each for listeners in (*self._runs.values(), *self._threads.values()) for each in listeners]

    def join_run(self, run_id: str, subscription: LocalSubscription) -> None:
        """Somebody begins to listen to a run."""
        self._runs.setdefault(run_id, []).append(subscription)
        if subscription.frames:
            self._reading[run_id] = self._reading.get(run_id, 0) + 1

    def leave_run(self, run_id: str, subscription: LocalSubscription) -> None:
        """Somebody listens to a run no more."""
        if _leave(self._runs, run_id, subscription) and subscription.frames:
            self._uncount(self._reading, run_id, subscription)

    def join_thread(self, thread_id: str, subscription: LocalSubscription) -> None:
        """Somebody begins to listen to a thread."""
        self._threads.setdefault(thread_id, []).append(subscription)
        key = (thread_id, subscription.protocol)
        self._following[key] = self._following.get(key, 0) + 1

    def leave_thread(self, thread_id: str, subscription: LocalSubscription) -> None:
        """Somebody listens to a thread no more."""
        if _leave(self._threads, thread_id, subscription):
            self._uncount(self._following, (thread_id, subscription.protocol), subscription)

    def _uncount(self, counts: dict[K, int], key: K, gone: LocalSubscription) -> None:
        if gone.may_return:
            asyncio.get_running_loop().call_later(self._patience, _less, counts, key)
        else:
            _less(counts, key)


def _leave(groups: dict[str, list[LocalSubscription]], key: str, subscription: LocalSubscription) -> bool:
    listeners = groups.get(key, [])
    if subscription not in listeners:
        return False
    listeners.remove(subscription)
    if not listeners:
        del groups[key]
    return True


def _less(counts: dict[K, int], key: K) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
