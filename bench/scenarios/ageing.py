"""Whether a server that has done many runs does the next one as cheaply as a fresh one, in the same memory.

The machine itself gets faster and slower over minutes. So the aged server is not compared with its own past, but with
a fresh one booted next to it, in turns: aged, fresh, fresh, aged.
"""

from bench import servers
from bench.driver import Driver
from bench.model import Figure, Sample, Scenario, Size
from bench.proc import Meter, rss_mb

CLIENTS = 8
BATCH = 500
FRESH, AGED, CPU_RATIO = "CPU ms/run, first runs", "CPU ms/run, aged", "CPU aged / first"
RSS_FIRST, RSS_LAST, RSS_RATIO = f"RSS MB after {BATCH}", "RSS MB at the end", "RSS end / first"
LEAK = "RSS growth KB/run, last half"


async def _cpu_ms(driver: Driver, runs: int) -> float:
    """Server CPU per run over a batch of runs on fresh threads."""
    threads = await driver.threads(runs)
    meter = Meter(driver.server.pid)
    replies = await driver.waits(threads, "noop", CLIENTS)
    usage = meter.stop()
    driver.check_counts(replies, "noop")
    return usage.server_cpu_s * 1e3 / runs


async def _age(driver: Driver, runs: int) -> list[dict[str, float]]:
    """CPU per run and memory after each batch."""
    history: list[dict[str, float]] = []
    for done in range(BATCH, runs + 1, BATCH):
        cpu = await _cpu_ms(driver, BATCH)
        history.append({"runs": done, "cpu_ms": round(cpu, 3), "rss_mb": round(rss_mb(driver.server.pid), 1)})
    return history


def _growth(history: list[dict[str, float]]) -> float:
    """KB of memory per run over the last half, when caches are full: what is left is a leak."""
    middle, last = history[(len(history) - 1) // 2], history[-1]
    return (last["rss_mb"] - middle["rss_mb"]) * 1e3 / max(1.0, last["runs"] - middle["runs"])


async def _compare(aged: Driver, window: int) -> tuple[float, float]:
    """CPU per run of the aged server and of a fresh one beside it."""
    async with servers.boot(aged.server.name) as server:
        fresh = Driver(server)
        await fresh.warm_up()
        spent: dict[Driver, float] = {aged: 0.0, fresh: 0.0}
        for driver in (aged, fresh, fresh, aged):
            spent[driver] += await _cpu_ms(driver, window) / 2
        aged.faults += fresh.faults
        fresh.client.close()
    return spent[aged], spent[fresh]


async def measure(driver: Driver, size: Size) -> Sample:
    """Age the server, then compare it with a fresh one and its memory with that after the first batch."""
    history = await _age(driver, size.ageing_runs)
    first, last = history[0]["rss_mb"], history[-1]["rss_mb"]
    aged, fresh = await _compare(driver, size.ageing_window)
    figures = {FRESH: fresh, AGED: aged, CPU_RATIO: aged / fresh}
    figures |= {RSS_FIRST: first, RSS_LAST: last, RSS_RATIO: last / first, LEAK: _growth(history)}
    return Sample(figures, {"history": history})


SCENARIO = Scenario(
    "ageing",
    "one-node runs on fresh threads, 8 clients; ratios are of a server to itself",
    [
        Figure(FRESH, against=None),
        Figure(AGED, against=None),
        Figure(CPU_RATIO, 1.1, None),
        Figure(RSS_FIRST, against=None),
        Figure(RSS_LAST, against=None),
        Figure(RSS_RATIO, 1.1, None),
        Figure(LEAK, against=None),
    ],
    measure,
    rounds=lambda size: size.ageing_rounds,
)
