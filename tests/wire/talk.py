"""A conversation with the server on one thread, in the words the tests of double texting need."""

import asyncio
from collections.abc import Iterable
from typing import Any

from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import NotFoundError

from tests.wire.live import DEADLINE, Gates


class Talk:
    """One thread: what is said on it, what becomes of it, and the gates of its nodes."""

    def __init__(self, client: LangGraphClient, gates: Gates, thread_id: str) -> None:
        self.client = client
        self.thread_id = thread_id
        self._gates = gates

    async def say(self, tag: str, strategy: Any = None, *, graph: str = "steps", **options: Any) -> str:
        """Create a run whose input has this tag; its id."""
        options = {"input": {"tag": tag}, "multitask_strategy": strategy, **options}
        return (await self.client.runs.create(self.thread_id, graph, **options))["run_id"]

    async def end_of(self, *run_ids: str) -> Any:
        """Wait for the end of runs; what the last join answers."""
        async with asyncio.timeout(DEADLINE):
            return [await self.client.runs.join(self.thread_id, run_id) for run_id in run_ids][-1]

    async def status(self, run_id: str) -> str | None:
        """The status of a run; `None` when it is gone."""
        try:
            return (await self.client.runs.get(self.thread_id, run_id))["status"]
        except NotFoundError:
            return None

    async def statuses(self, *run_ids: str) -> list[str | None]:
        """The status of each run."""
        return [await self.status(run_id) for run_id in run_ids]

    async def listed(self) -> list[str]:
        """The ids of the thread's runs, oldest first."""
        return [run["run_id"] for run in reversed(await self.client.runs.list(self.thread_id, limit=100))]

    async def thread(self) -> Any:
        """The thread as clients see it."""
        return await self.client.threads.get(self.thread_id)

    async def state(self) -> Any:
        """The thread's newest state."""
        return await self.client.threads.get_state(self.thread_id)

    async def steps(self) -> list[str]:
        """What ran and was kept. State and thread must agree on it."""
        steps = (await self.state())["values"].get("steps", [])
        thread = await self.thread()
        if thread["status"] != "busy":
            assert (thread["values"] or {}).get("steps", []) == steps
        return steps

    async def history(self) -> list[Any]:
        """Every state of the thread, oldest first."""
        return list(reversed(await self.client.threads.get_history(self.thread_id, limit=1000)))

    def hold(self, *places: str) -> None:
        """Let nodes wait at these places."""
        self._gates.hold(self.thread_id, *places)

    def let(self, *places: str) -> None:
        """Let the nodes that wait there go on."""
        self._gates.let(self.thread_id, *places)

    async def started(self, place: str, times: int = 1) -> None:
        """Wait until a node is there."""
        await self._gates.started(self.thread_id, place, times)

    async def noted(self, event: str, times: int = 1) -> None:
        """Wait until a node has told this."""
        await self._gates.noted(self.thread_id, event, times)

    @property
    def visits(self) -> list[str]:
        """The places nodes came to, in order."""
        return self._gates.visits(self.thread_id)

    @property
    def log(self) -> list[str]:
        """All that nodes told, in order."""
        return self._gates.log(self.thread_id)


def whole(*tags: str, nodes: Iterable[str] = ("n1", "n2", "n3")) -> list[str]:
    """The steps of runs that went through all of their nodes."""
    return [f"{tag}.{node}" for tag in tags for node in nodes]


def assert_one_at_a_time(log: list[str]) -> None:
    """No node of a run begins before the nodes of the run before have ended."""
    inside: list[str] = []
    for event in log:
        place, _, what = event.partition(" ")
        if what == "began":
            tags = {each.split(".")[0] for each in (*inside, place)}
            assert len(tags) == 1, f"{place} began while {inside} had not ended: {log}"
            inside.append(place)
        elif what in ("ended", "failed", "was cancelled"):
            inside.remove(place)
    assert inside == []
