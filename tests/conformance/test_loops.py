"""A storage is used from several event loops and threads of one process at once: API, runs and their nodes."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

from langchain_core.runnables import RunnableConfig

from tests.conformance.conftest import Kit
from turnkeeper.types import Outcome

RUNS = 20


class Elsewhere(threading.Thread):
    """A coroutine on a loop and thread of its own."""

    def __init__(self, work: Coroutine[Any, Any, None]) -> None:
        super().__init__()
        self._work = work
        self._failure: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            asyncio.run(self._work)
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            self._failure = error

    def wait(self) -> None:
        self.join()
        if self._failure is not None:
            raise self._failure


async def test_loops_and_threads_share_one_storage(kit: Kit) -> None:
    threads = [await kit.thread() for _ in range(4)]
    left = RUNS

    async def admit() -> None:
        for number in range(RUNS):
            await kit.admit(threads[number % len(threads)])

    async def work() -> None:
        nonlocal left
        while left > 0:
            for claimed in (await kit.storage.runs.claim(2)).taken:
                await asyncio.to_thread(kit.checkpoint, claimed, claimed.run_id)
                await kit.storage.items.aput(("runs",), claimed.run_id, {"done": True})
                await kit.storage.runs.finish(claimed.run_id, claimed.attempt, Outcome(status="success"))
                left -= 1

    async def look() -> None:
        while left > 0:
            for thread_id in threads:
                config: RunnableConfig = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
                await kit.storage.thread_checkpointer(thread_id).aget_tuple(config)
                await kit.storage.threads.get(thread_id)

    for each in [Elsewhere(admit()), Elsewhere(work()), Elsewhere(work()), Elsewhere(look())]:
        await asyncio.to_thread(each.wait)

    assert [status for thread_id in threads for status in await kit.statuses(thread_id)] == ["success"] * RUNS
    assert len(await kit.storage.items.asearch(("runs",), limit=RUNS + 1)) == RUNS
