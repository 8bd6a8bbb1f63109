"""Runs per second, and server CPU per run, of runs waited for. Each run gets a fresh thread, made beforehand."""

from bench.driver import Driver
from bench.model import Figure, Sample, Scenario, Size
from bench.proc import Meter

GRAPHS = ("noop", "steps10")
CLIENTS = (1, 8, 32)


def _rate(graph: str, clients: int) -> str:
    return f"{graph} c{clients} runs/s"


def _cpu(graph: str, clients: int) -> str:
    return f"{graph} c{clients} CPU ms/run"


async def measure(driver: Driver, size: Size) -> Sample:
    """Every graph at every number of clients, in a closed loop."""
    sample = Sample({})
    for graph, runs in zip(GRAPHS, (size.noop_runs, size.steps_runs), strict=True):
        for clients in CLIENTS:
            await _cell(driver, sample, graph, clients, runs)
    return sample


async def _cell(driver: Driver, sample: Sample, graph: str, clients: int, runs: int) -> None:
    threads = await driver.threads(runs)
    meter = Meter(driver.server.pid)
    replies = await driver.waits(threads, graph, clients)
    usage = meter.stop()
    driver.check_counts(replies, graph)
    sample.figures[_rate(graph, clients)] = len(replies) / usage.wall_s
    sample.figures[_cpu(graph, clients)] = usage.server_cpu_s * 1e3 / len(replies)
    sample.detail[f"{graph} c{clients}"] = usage


SCENARIO = Scenario(
    "wait",
    "runs/wait, a fresh thread per run, durability=async",
    [Figure(_rate(graph, clients), 0.5, at_least=True) for graph in GRAPHS for clients in CLIENTS]
    + [Figure(_cpu(graph, clients), 1.0, "floor_sqlite") for graph in GRAPHS for clients in CLIENTS],
    measure,
)
