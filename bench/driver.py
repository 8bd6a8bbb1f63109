"""The calls the scenarios make. Every result is checked; a wrong one is kept as a fault and fails the benchmark."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from bench.client import Client, Reply
from bench.servers import Server

NODES = {"noop": 1, "steps10": 10}
WARM_UP = 20
T = TypeVar("T")


async def closed_loop(jobs: Iterable[T], work: Callable[[T], Awaitable[None]], clients: int) -> None:
    """``clients`` workers, each taking the next job as soon as it is free."""
    queue = iter(jobs)

    async def worker() -> None:
        for job in queue:
            await work(job)

    await asyncio.gather(*(worker() for _ in range(clients)))


class Driver:
    """Talks to one server and remembers what it got wrong."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.client = Client(server.port)
        self.faults: list[str] = []

    def fault(self, what: str) -> None:
        """Note a wrong result."""
        self.faults.append(f"{self.server.name}: {what}")

    async def _call(self, method: str, path: str, payload: object = None) -> Reply:
        reply = await self.client.request(method, path, payload)
        if reply.status >= 300:
            raise RuntimeError(f"{method} {path} answered {reply.status}: {reply.body[:300]!r}")
        return reply

    async def threads(self, count: int) -> list[str]:
        """Create fresh threads."""
        made: list[str] = []

        async def create(_: int) -> None:
            made.append((await self._call("POST", "/threads", {})).json()["thread_id"])

        await closed_loop(range(count), create, 8)
        return made

    async def wait(self, thread: str, graph: str, durability: str = "async") -> Reply:
        """Run a counting graph to its end; its result is checked by ``check_count`` later."""
        payload = {"assistant_id": graph, "input": {"n": 0}, "durability": durability}
        return await self._call("POST", f"/threads/{thread}/runs/wait", payload)

    async def waits(self, threads: list[str], graph: str, clients: int) -> list[Reply]:
        """One run per thread in a closed loop."""
        replies: list[Reply] = []

        async def run(thread: str) -> None:
            replies.append(await self.wait(thread, graph))

        await closed_loop(threads, run, clients)
        return replies

    def check_counts(self, replies: list[Reply], graph: str) -> None:
        """Every run must have executed each node exactly once."""
        for reply in replies:
            self._check_count(reply.json(), graph)

    def _check_count(self, values: Any, graph: str) -> None:
        expected = NODES[graph]
        try:
            right = values["n"] == expected
        except (KeyError, TypeError):
            right = False
        if not right:
            self.fault(f"{graph} answered {str(values)[:300]}, expected n={expected}")

    async def create(self, thread: str, graph: str, durability: str = "async") -> str:
        """Admit a run of a counting graph; its id."""
        payload = {"assistant_id": graph, "input": {"n": 0}, "durability": durability}
        return (await self._call("POST", f"/threads/{thread}/runs", payload)).json()["run_id"]

    async def join(self, thread: str, run: str) -> Reply:
        """Wait for a run that was admitted; its result is checked by ``check_count`` later."""
        return await self._call("GET", f"/threads/{thread}/runs/{run}/join")

    async def cancel(self, thread: str, run: str) -> None:
        """Stop a run; returns once it can write no more."""
        await self._call("POST", f"/threads/{thread}/runs/{run}/cancel?wait=1")

    async def background(self, thread: str) -> tuple[float, float]:
        """Start a one-node run; seconds from the request to the reply, and to the first line of the node."""
        asked = time.time()
        payload = {"assistant_id": "noop", "input": {"n": 0}, "durability": "async"}
        run = (await self._call("POST", f"/threads/{thread}/runs", payload)).json()["run_id"]
        replied = time.time()
        values = (await self._call("GET", f"/threads/{thread}/runs/{run}/join")).json()
        self._check_count(values, "noop")
        return replied - asked, values["started"] - asked

    async def pausing(self, thread: str, seconds: float, **options: object) -> str:
        """Start a run whose node takes a while; returns its id."""
        payload = {"assistant_id": "pause", "input": {"seconds": seconds}, **options}
        return (await self._call("POST", f"/threads/{thread}/runs", payload)).json()["run_id"]

    async def first_node(self, thread: str, **options: object) -> float:
        """Seconds from the request of a run without a pause to the first line of its node."""
        asked = time.time()
        run = await self.pausing(thread, 0, **options)
        values = (await self._call("GET", f"/threads/{thread}/runs/{run}/join")).json()
        if values.get("seconds") != 0:
            self.fault(f"pause answered {str(values)[:300]}, expected the second run's values")
        return values["started"] - asked

    async def stream(self, thread: str, tokens: int) -> Reply:
        """Stream the tokens of one answer; its result is read from the reply later."""
        payload = {
            "assistant_id": "tokens",
            "input": {"messages": [{"role": "user", "content": "count"}], "tokens": tokens},
            "stream_mode": ["messages-tuple"],
            "durability": "async",
        }
        return await self._call("POST", f"/threads/{thread}/runs/stream", payload)

    async def warm_up(self) -> None:
        """Let the server import, compile and cache whatever its first runs need."""
        for graph in NODES:
            self.check_counts(await self.waits(await self.threads(WARM_UP), graph, 4), graph)
        await self.background((await self.threads(1))[0])
        await self.stream((await self.threads(1))[0], 50)
