"""A conversation on one thread of a cluster, each request with the server it is made at."""

import asyncio
import re
import time
from typing import Any

import httpx

from tests.cluster.kit import Cluster, Member
from tests.wire.live import DEADLINE, POLL


class Talk:
    """One thread."""

    def __init__(self, cluster: Cluster, http: httpx.AsyncClient, thread_id: str) -> None:
        self.cluster = cluster
        self.http = http
        self.thread_id = thread_id
        self.path = f"/threads/{thread_id}"

    async def say(self, at: Member, tag: str, *, graph: str = "steps", **options: Any) -> str:
        """Send an input; the id of its run."""
        body = {"assistant_id": graph, "input": {"tag": tag}, **options}
        answer = await self.http.post(f"{at.url}{self.path}/runs", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()["run_id"]

    async def end_of(self, at: Member, run_id: str) -> Any:
        """Wait for the end of a run; its result."""
        answer = await self.http.get(f"{at.url}{self.path}/runs/{run_id}/join")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def cancel(self, at: Member, run_id: str) -> None:
        """Ask for the end of a run."""
        answer = await self.http.post(f"{at.url}{self.path}/runs/{run_id}/cancel")
        assert answer.status_code == 202, answer.text

    async def steps(self, at: Member) -> list[str]:
        """What is kept of all that was done."""
        return (await self.http.get(f"{at.url}{self.path}/state")).json()["values"].get("steps", [])

    def hold(self, *places: str) -> None:
        """Let nodes wait at these places."""
        self.cluster.gates.hold(self.thread_id, *places)

    def let(self, *places: str) -> None:
        """Let the nodes that wait there go on."""
        self.cluster.gates.let(self.thread_id, *places)

    async def noted(self, event: str, times: int = 1) -> float:
        """Wait until a node has told this; when that was seen (`time.monotonic`)."""
        deadline = time.monotonic() + DEADLINE
        while self.log.count(event) < times:
            assert time.monotonic() < deadline, f"'{event}' did not happen; the thread's log is {self.log}"
            await asyncio.sleep(POLL / 2)
        return time.monotonic()

    async def executor(self, place: str, times: int = 1) -> Member:
        """Who is at a place, or was there last; waits until somebody has come so often."""
        await self.noted(f"{place} began", times)
        boots = re.findall(rf"^{re.escape(place)} in boot (\d+)$", "\n".join(self.log), re.MULTILINE)
        return next(member for member in self.cluster.members if member.boot == int(boots[-1]))

    def visits(self) -> list[str]:
        """The places in the order in which nodes came there."""
        return self.cluster.gates.visits(self.thread_id)

    @property
    def log(self) -> list[str]:
        """Everything the nodes of the thread told, in order."""
        return self.cluster.gates.log(self.thread_id)

    def journal(self, run_id: str) -> list[tuple[str, int, str | None]]:
        """What happened to a run: event, attempt and detail."""
        query = "select event, attempt, detail from journal where run_id = %(run_id)s order by seq"
        return [(event, attempt, detail) for event, attempt, detail in self.cluster.ask(query, run_id=run_id)]
