"""Several servers and workers on one PostgreSQL and one Redis: what a run costs each of them, and how long it waits.

The columns are `servers + workers`; `sqlite` is the server that is alone, `one` the same with PostgreSQL and Redis, and
`bare` the statements of a run without any server (bench/bare.py). All of them share the cores of this machine.
"""

import asyncio
import itertools
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import asdict
from statistics import median, quantiles
from typing import Any, NamedTuple

import psycopg
import redis

from bench import cluster, proc, servers
from bench.bare import Bare
from bench.client import Reply
from bench.driver import Driver, closed_loop
from bench.model import Figure, Sample, Scenario, Size
from bench.postgres import settings
from bench.proc import Meter
from bench.runner import Result
from bench.tally import Proxy

NAME = "scale"
SHAPES = {
    "one": {"all": 1},
    "1+1": {"api": 1, "worker": 1},
    "1+2": {"api": 1, "worker": 2},
    "2+2": {"api": 2, "worker": 2},
    "1+4": {"api": 1, "worker": 4},
}
COUNTED = ("1+1", "1+4")
"""Where statements are counted, which is a boot of its own."""
COLUMNS = ("sqlite", *SHAPES, "bare")
CLIENTS = 16
KINDS = ("api", "worker", "postgres", "redis")
QUEUE_WAITS = b"""
select extract(epoch from cast(started.at as timestamptz) - cast(created.at as timestamptz)) * 1000
from journal as created join journal as started using (run_id)
where created.event = 'created' and started.event = 'started' and created.seq > %(after)s
"""
"""Milliseconds from the admission of each run to its start."""


class Cell(NamedTuple):
    """One kind of load."""

    name: str
    graph: str
    durability: str
    clients: int
    joined: bool = False

    @property
    def counted(self) -> bool:
        """Whether its statements are counted: their number depends on neither."""
        return self.clients > 1 and not self.joined


CELLS = (
    Cell("exit c1", "noop", "exit", 1),
    Cell("exit", "noop", "exit", CLIENTS),
    Cell("async", "noop", "async", CLIENTS),
    Cell("async, join", "noop", "async", CLIENTS, joined=True),
    Cell("10 steps", "steps10", "async", CLIENTS),
)

WARM_UP = CELLS[2]
"""Each connection plans each statement anew the first few times, and there are up to fifty."""


def _figures() -> list[Figure]:
    of_cells = [
        Figure(f"{cell.name}: {key}", against="1+1" if key == "runs/s" else None)
        for cell in CELLS
        for key in ("runs/s", "p50 ms", "p99 ms", "CPU ms/run", *(f"{kind} CPU ms/run" for kind in KINDS))
    ]
    of_counts = [
        Figure(f"{cell.name}: {key}", against=None)
        for cell in CELLS
        if cell.counted
        for key in (
            "statements/run",
            "writing/run",
            "round trips/run",
            "WAL KB/run",
            "WAL flushes/run",
            "Redis calls/run",
        )
    ]
    rest = ("idle: statements/s", "burst: runs/s", "burst: queue wait p50 ms", "burst: queue wait p99 ms")
    last = ("cancel: p50 ms", "cancel: p99 ms")
    return [*of_cells, *of_counts, *(Figure(key, against=None) for key in (*rest, *last))]


async def measure(_driver: Driver, _size: Size) -> Sample:
    """It takes more than one server, see `run`."""
    raise NotImplementedError


SCENARIO = Scenario(
    NAME,
    f"one-node and ten-step runs, {CLIENTS} clients; columns are servers + workers; CPU by kind of process",
    _figures(),
    measure,
    columns=COLUMNS,
    shown=COLUMNS,
    subject="2+2",
)


async def run(size: Size) -> Result:
    """Every column once per round, on one PostgreSQL and one Redis, each with a new database."""
    result = Result(SCENARIO)
    names = (f"bench_{number}" for number in itertools.count())
    with cluster.backends() as backends:
        print(f"  {settings(backends.postgres_uri)}", file=sys.stderr)
        for number in range(size.scale_rounds):
            for column in COLUMNS if number % 2 == 0 else reversed(COLUMNS):
                print(f"  {NAME} {number + 1}/{size.scale_rounds} {column}", file=sys.stderr)
                await _once(result, size, column, backends, names)
    return result


async def _once(result: Result, size: Size, column: str, backends: cluster.Backends, names: Iterator[str]) -> None:
    sample, faults = Sample({}), list[str]()
    try:
        if column == "bare":
            await _bare(sample, size, backends, backends.database(next(names)))
        elif column == "sqlite":
            await _alone(sample, size, faults)
        else:
            await _shape(sample, size, faults, column, backends, backends.database(next(names)))
            if column in COUNTED:
                await _count(sample, size, faults, column, backends, backends.database(next(names)))
    except Exception as error:  # noqa: BLE001 - one broken shape must not hide the figures of the others
        faults.append(f"{column}: {error!r}"[:2000])
    result.samples[column].append(sample)
    result.faults += faults
    result.records.append({"time": round(time.time(), 1), "scenario": NAME, "column": column, **asdict(sample)})


async def _alone(sample: Sample, size: Size, faults: list[str]) -> None:
    async with servers.boot("ours") as server:
        drivers = [Driver(server)]
        await drivers[0].warm_up()
        await _cells(sample, size, drivers, {"api": [server.pid]})
        await _cancels(sample, size, drivers)
        faults += drivers[0].faults


async def _shape(
    sample: Sample, size: Size, faults: list[str], column: str, backends: cluster.Backends, uri: str
) -> None:
    async with cluster.boot(backends, uri, SHAPES[column]) as running:
        drivers = [Driver(server) for server in running.apis]
        for driver in drivers:
            await driver.warm_up()
        await _loop(WARM_UP, await _jobs(drivers, size.scale_warm))
        await _cells(sample, size, drivers, running.pids())
        await _burst(sample, size, drivers, uri)
        await _cancels(sample, size, drivers)
        faults += [fault for driver in drivers for fault in driver.faults]


async def _cells(sample: Sample, size: Size, drivers: list[Driver], pids: dict[str, list[int]]) -> None:
    """Every kind of load, in a closed loop."""
    for cell in CELLS:
        runs = size.scale_steps if cell.graph == "steps10" else size.scale_runs
        jobs = await _jobs(drivers, max(20, runs // 4) if cell.clients == 1 else runs)
        before, meter = proc.cpu_by_kind(pids), Meter(next(iter(pids["api"])))
        took = await _loop(cell, jobs)
        usage = meter.stop()
        spent = {kind: (spent - before[kind]) / len(jobs) for kind, spent in proc.cpu_by_kind(pids).items()}
        named = {f"{kind} CPU ms/run": seconds * 1e3 for kind, seconds in spent.items()}
        cuts = quantiles(took, n=100)
        figures = {
            "runs/s": len(jobs) / usage.wall_s,
            "p50 ms": cuts[49] * 1e3,
            "p99 ms": cuts[98] * 1e3,
            "CPU ms/run": sum(spent.values()) * 1e3,
            **named,
        }
        sample.figures |= {f"{cell.name}: {key}": value for key, value in figures.items()}
        ours = sum(spent.values()) * len(jobs) - usage.server_cpu_s
        others = max(0.0, usage.others_cores - ours / usage.wall_s)
        sample.detail[cell.name] = proc.Usage(**{**asdict(usage), "others_cores": round(others, 3)})


async def _jobs(drivers: list[Driver], runs: int) -> list[tuple[Driver, str]]:
    """A fresh thread for each run, and the server that is asked: they take turns."""
    threads = [await driver.threads(-(-runs // len(drivers))) for driver in drivers]
    return [(driver, each) for row in zip(*threads, strict=True) for driver, each in zip(drivers, row, strict=True)]


async def _loop(cell: Cell, jobs: list[tuple[Driver, str]]) -> list[float]:
    """Carry the runs out; the seconds each took. Results are checked once the clock has stopped."""
    replies: list[tuple[Driver, Reply]] = []
    took: list[float] = []

    async def work(job: tuple[Driver, str]) -> None:
        driver, thread = job
        begun = time.perf_counter()
        if cell.joined:
            reply = await driver.join(thread, await driver.create(thread, cell.graph, cell.durability))
        else:
            reply = await driver.wait(thread, cell.graph, cell.durability)
        took.append(time.perf_counter() - begun)
        replies.append((driver, reply))

    await closed_loop(jobs, work, cell.clients)
    for driver, reply in replies:
        driver.check_counts([reply], cell.graph)
    return took


async def _burst(sample: Sample, size: Size, drivers: list[Driver], uri: str) -> None:
    """Admit many runs as fast as the servers take them; how long each waited for its start."""
    jobs, begun = await _jobs(drivers, size.scale_burst), 0.0
    with psycopg.connect(uri, autocommit=True) as connection:
        [(after,)] = connection.execute("select coalesce(max(seq), 0) from journal").fetchall()
        made: list[tuple[Driver, str, str]] = []

        async def create(job: tuple[Driver, str]) -> None:
            made.append((*job, await job[0].create(job[1], "noop")))

        begun = time.perf_counter()
        await closed_loop(jobs, create, 2 * CLIENTS)
        for driver, thread, run_id in made:
            driver.check_counts([await driver.join(thread, run_id)], "noop")
        took = time.perf_counter() - begun
        waits = sorted(float(wait) for (wait,) in connection.execute(QUEUE_WAITS, {"after": after}))
    sample.figures["burst: runs/s"] = len(jobs) / took
    sample.figures["burst: queue wait p50 ms"] = median(waits)
    sample.figures["burst: queue wait p99 ms"] = quantiles(waits, n=100)[98]


async def _cancels(sample: Sample, size: Size, drivers: list[Driver]) -> None:
    """Stop runs that are at work, by way of another server than the one that admitted them, if there is one."""
    took: list[float] = []
    for number in range(size.scale_cancels):
        admits, stops = drivers[number % len(drivers)], drivers[(number + 1) % len(drivers)]
        [thread] = await admits.threads(1)
        run_id = await admits.pausing(thread, 60)
        await asyncio.sleep(0.25)  # so that its node has begun
        begun = time.perf_counter()
        await stops.cancel(thread, run_id)
        took.append((time.perf_counter() - begun) * 1e3)
    sample.figures["cancel: p50 ms"] = median(took)
    sample.figures["cancel: p99 ms"] = quantiles(took, n=100, method="inclusive")[98]


async def _count(
    sample: Sample, size: Size, faults: list[str], column: str, backends: cluster.Backends, uri: str
) -> None:
    """What one run after the other asks of PostgreSQL and Redis."""
    async with AsyncExitStack() as stack:
        proxy = Proxy(uri)
        by_way = cluster.on_the_way(uri, await proxy.open())
        stack.callback(proxy.close)
        running = await stack.enter_async_context(cluster.boot(backends, by_way, SHAPES[column]))
        driver = Driver(running.apis[0])
        await driver.warm_up()
        await asyncio.sleep(2)
        proxy.tally.clear()
        await asyncio.sleep(size.scale_idle)
        sample.figures["idle: statements/s"] = proxy.tally.total / size.scale_idle
        for cell in CELLS:
            if cell.counted:
                jobs = await _jobs([driver], size.scale_counted)
                counts = await _counted(proxy, backends, uri, len(jobs), _all_of(cell, jobs))
                sample.figures |= {f"{cell.name}: {key}": value for key, value in counts.items()}
        faults += driver.faults


def _all_of(cell: Cell, jobs: list[tuple[Driver, str]]) -> Callable[[], Awaitable[Any]]:
    return lambda: _loop(cell._replace(clients=1), jobs)


async def _counted(
    proxy: Proxy, backends: cluster.Backends, uri: str, runs: int, load: Callable[[], Awaitable[Any]]
) -> dict[str, float]:
    with psycopg.connect(uri, autocommit=True) as connection, redis.Redis.from_url(backends.redis_uri) as store:
        before = connection.execute(WAL).fetchone() or (0, 0)
        store.config_resetstat()
        proxy.tally.clear()
        await load()
        statements, writing, trips = proxy.tally.total, proxy.tally.writing, proxy.tally.round_trips
        calls = sum(store.info("commandstats").get(f"cmdstat_{name}", {}).get("calls", 0) for name in REDIS_CALLS)
        await asyncio.sleep(1.2)  # until PostgreSQL has told its own counters
        after = connection.execute(WAL).fetchone() or (0, 0)
    return {
        "statements/run": statements / runs,
        "writing/run": writing / runs,
        "round trips/run": trips / runs,
        "WAL KB/run": float(after[0] - before[0]) / 1024 / runs,
        "WAL flushes/run": float(after[1] - before[1]) / runs,
        "Redis calls/run": calls / runs,
    }


WAL = b"""
select pg_current_wal_insert_lsn() - '0/0', (select sum(fsyncs) from pg_stat_io where object = 'wal')
"""
"""Bytes of the log so far, and how often it was made durable."""

REDIS_CALLS = ("evalsha", "subscribe", "unsubscribe", "pubsub|numsub", "pubsub", "publish_")
"""Commands that come over the network; what scripts call is part of them."""


async def _bare(sample: Sample, size: Size, backends: cluster.Backends, uri: str) -> None:
    """The statements of one-node runs, without a server."""
    bare = Bare(uri)
    try:
        await bare.open()
        await bare.threads(size.scale_warm)
        await bare.carry_out()
        await bare.threads(size.scale_runs)
        pids = {"postgres": [backends.postgres_pid]}
        before, own, begun = proc.cpu_by_kind(pids), time.process_time(), time.perf_counter()
        await bare.carry_out()
        wall, worker = time.perf_counter() - begun, time.process_time() - own
        postgres = proc.cpu_by_kind(pids)["postgres"] - before["postgres"]
    finally:
        bare.close()
    runs = size.scale_runs
    figures = {"runs/s": runs / wall, "CPU ms/run": (postgres + worker) / runs * 1e3}
    figures |= {"postgres CPU ms/run": postgres / runs * 1e3, "worker CPU ms/run": worker / runs * 1e3}
    sample.figures |= {f"exit: {key}": value for key, value in figures.items()}
