"""Many listeners: what an idle stream holds in memory, and what tokens cost while hundreds of others listen."""

from statistics import median

from bench.driver import Driver
from bench.model import Figure, Sample, Scenario, Size
from bench.proc import Meter, rss_mb
from bench.scenarios.tokens import TOKENS, read, streams

IDLE, BUSY = 500, 50
MEMORY = "KB per idle stream"
CPU, TOKEN = "CPU s/1k tokens", "first token p50 ms"


async def measure(driver: Driver, size: Size) -> Sample:
    """Open the idle streams, weigh them, then stream to the busy clients beside them."""
    threads = await driver.threads(IDLE)
    before = rss_mb(driver.server.pid)
    leave = [await driver.client.hold(f"/threads/{thread}/stream") for thread in threads]
    held = rss_mb(driver.server.pid) - before
    meter = Meter(driver.server.pid)
    replies = await streams(driver, BUSY, BUSY * max(1, size.streams_per_client // 2))
    usage = meter.stop()
    for close in leave:
        close()
    times = [read(driver, reply) for reply in replies]
    figures = {
        MEMORY: held * 1e3 / IDLE,
        CPU: usage.server_cpu_s * 1e3 / (TOKENS * len(replies)),
        TOKEN: median(token for _, token in times),
    }
    return Sample(figures, {"usage": usage, "rss_mb": before + held})


SCENARIO = Scenario(
    "streams",
    f"{IDLE} idle streams of threads, {BUSY} clients streaming {TOKENS} tokens each beside them",
    [Figure(MEMORY, 50, None), Figure(CPU, 2.0), Figure(TOKEN)],
    measure,
)
