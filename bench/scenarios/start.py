"""How long an idle server takes from the request to the first line of the first node."""

import asyncio
import random
from statistics import median, quantiles

from bench.driver import Driver
from bench.model import Figure, Sample, Scenario, Size
from bench.proc import Meter

NODE_P50, NODE_P95, REPLY_P50 = "first node p50 ms", "first node p95 ms", "create reply p50 ms"


async def measure(driver: Driver, size: Size) -> Sample:
    """Create background runs one at a time, with pauses no timer of the server can be in step with."""
    pause = random.Random(1)
    replies: list[float] = []
    nodes: list[float] = []
    threads = await driver.threads(size.start_runs)
    meter = Meter(driver.server.pid)
    for thread in threads:
        await asyncio.sleep(pause.uniform(0.03, 0.13))
        reply, node = await driver.background(thread)
        replies.append(reply * 1e3)
        nodes.append(node * 1e3)
    usage = meter.stop()
    figures = {NODE_P50: median(nodes), NODE_P95: quantiles(nodes, n=20)[-1], REPLY_P50: median(replies)}
    return Sample(figures, {"usage": usage, "node_ms": [round(ms, 3) for ms in nodes]})


SCENARIO = Scenario(
    "start",
    "background run on an idle server, request to first node",
    [Figure(NODE_P50, 2.5), Figure(NODE_P95), Figure(REPLY_P50)],
    measure,
)
