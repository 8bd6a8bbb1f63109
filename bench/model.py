"""What a scenario is made of."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from bench.driver import Driver


@dataclass(frozen=True)
class Size:
    """How much to do. Rounds come in pairs so that the order of the servers is balanced (A B B A)."""

    rounds: int
    start_runs: int
    interrupts: int
    noop_runs: int
    steps_runs: int
    streams_per_client: int
    ageing_rounds: int
    ageing_runs: int
    ageing_window: int
    scale_rounds: int
    scale_warm: int
    scale_runs: int
    scale_steps: int
    scale_burst: int
    scale_cancels: int
    scale_counted: int
    scale_idle: int


QUICK = Size(2, 10, 15, 80, 40, 2, 1, 1000, 200, 1, 300, 200, 60, 300, 10, 40, 5)
FULL = Size(6, 40, 60, 400, 160, 6, 2, 10_000, 250, 4, 1000, 400, 160, 2000, 30, 100, 20)


@dataclass(frozen=True)
class Figure:
    """One line of the table, and what is promised about it.

    The target is about our value divided by that of the server ``against``, or about our value itself without one.
    """

    key: str
    target: float | None = None
    against: str | None = "floor"
    at_least: bool = False

    def met(self, ratio: float) -> bool | None:
        """Whether the target is met; None without a target."""
        if self.target is None:
            return None
        return ratio >= self.target if self.at_least else ratio <= self.target


@dataclass
class Sample:
    """The figures of one boot of one server, and whatever else helps to understand them."""

    figures: dict[str, float]
    detail: dict[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True)
class Scenario:
    """A named measurement: ``measure`` runs once per boot."""

    name: str
    about: str
    figures: list[Figure]
    measure: Callable[[Driver, Size], Awaitable[Sample]]
    rounds: Callable[[Size], int] = lambda size: size.rounds
    columns: tuple[str, ...] = ("ours", "floor", "floor_sqlite")
    """The servers that take turns."""
    shown: tuple[str, ...] = ("ours", "floor", "floor_sqlite")
    """The columns of the table."""
    subject: str = "ours"
    """The column whose values are divided by those of the others."""
