"""How long a run that interrupts another takes to start, above a run that finds its thread idle.

The floors know no double texting, so there is nothing to compare with: the figure is our own.
"""

import asyncio
from statistics import median, quantiles

from bench.driver import Driver
from bench.model import Figure, Sample, Scenario, Size

PLAIN_P50, PLAIN_P99 = "plain first node p50 ms", "plain first node p99 ms"
CUT_P50, CUT_P99 = "interrupting p50 ms", "interrupting p99 ms"
ABOVE_P50, ABOVE_P99 = "above plain p50 ms", "above plain p99 ms"

LONG = 30.0
"""Seconds the interrupted node would take."""

SETTLE = 0.1
"""Seconds in which the first run is surely inside its node."""


async def _cut(driver: Driver, thread: str) -> float:
    await driver.pausing(thread, LONG)
    await asyncio.sleep(SETTLE)
    return await driver.first_node(thread, multitask_strategy="interrupt")


async def measure(driver: Driver, size: Size) -> Sample:
    """Plain and interrupting runs in turns, one at a time."""
    plain: list[float] = []
    cut: list[float] = []
    for thread in await driver.threads(size.interrupts):
        plain.append(await driver.first_node(thread) * 1e3)
        cut.append(await _cut(driver, thread) * 1e3)
    plain_p99, cut_p99 = quantiles(plain, n=100)[-1], quantiles(cut, n=100)[-1]
    figures = {PLAIN_P50: median(plain), PLAIN_P99: plain_p99, CUT_P50: median(cut), CUT_P99: cut_p99}
    figures |= {ABOVE_P50: median(cut) - median(plain), ABOVE_P99: cut_p99 - plain_p99}
    return Sample(figures)


SCENARIO = Scenario(
    "interrupt",
    "a run that interrupts another against one that finds its thread idle, idle machine",
    [
        Figure(PLAIN_P50, against=None),
        Figure(PLAIN_P99, against=None),
        Figure(CUT_P50, against=None),
        Figure(CUT_P99, against=None),
        Figure(ABOVE_P50, 30, None),
        Figure(ABOVE_P99, 30, None),
    ],
    measure,
    columns=("ours",),
)
