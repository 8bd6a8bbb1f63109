"""Runs a scenario on every server in turns, a fresh boot each time."""

import sys
import time
from collections import defaultdict
from dataclasses import asdict, dataclass, field

from bench import servers
from bench.driver import Driver
from bench.model import Sample, Scenario, Size


@dataclass
class Result:
    """All samples of a scenario by column, in the order of the rounds."""

    scenario: Scenario
    samples: dict[str, list[Sample]] = field(default_factory=lambda: defaultdict[str, list[Sample]](list))
    faults: list[str] = field(default_factory=list[str])
    records: list[dict[str, object]] = field(default_factory=list[dict[str, object]])


async def run(scenario: Scenario, size: Size, stand_in: str) -> Result:
    """Every server once per round, the order reversed from round to round (A B C, C B A, …)."""
    result = Result(scenario)
    for number in range(scenario.rounds(size)):
        for column in scenario.columns if number % 2 == 0 else reversed(scenario.columns):
            server = stand_in if column == "ours" else column
            print(f"  {scenario.name} {number + 1}/{scenario.rounds(size)} {server}", file=sys.stderr)
            await _once(result, size, column, server)
    return result


async def _once(result: Result, size: Size, column: str, name: str) -> None:
    try:
        async with servers.boot(name) as server:
            await _measure(result, size, column, Driver(server))
    except servers.BootError as error:
        result.faults.append(str(error))


async def _measure(result: Result, size: Size, column: str, driver: Driver) -> None:
    sample = None
    try:
        await driver.warm_up()
        sample = await result.scenario.measure(driver, size)
        result.samples[column].append(sample)
    except Exception as error:  # noqa: BLE001
        # One broken server must not hide the figures of the others; the fault still fails the benchmark.
        driver.fault(f"{error!r} {getattr(error, '__notes__', '')}\n{driver.server.log_tail()}")
    finally:
        driver.client.close()
    result.faults += driver.faults
    result.records.append(_record(result, column, driver, sample))


def _record(result: Result, column: str, driver: Driver, sample: Sample | None) -> dict[str, object]:
    return {
        "time": round(time.time(), 1),
        "scenario": result.scenario.name,
        "column": column,
        "server": driver.server.name,
        "faults": driver.faults[:20],
        **(asdict(sample) if sample else {}),
    }
