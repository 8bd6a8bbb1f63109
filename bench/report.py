"""Tables for people, JSON lines for later."""

import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import orjson

from bench.model import Figure
from bench.proc import Usage
from bench.runner import Result

OUT = Path(__file__).parent / "out"
RATIO = ("ratio", "(rounds)", "target", "met")
NOISY = 0.3


def save(results: list[Result]) -> Path:
    """Write every sample of this benchmark as one JSON line."""
    OUT.mkdir(exist_ok=True)
    path = OUT / time.strftime("%Y%m%d-%H%M%S.jsonl")
    path.write_bytes(b"".join(orjson.dumps(record) + b"\n" for result in results for record in result.records))
    return path


def table(result: Result) -> str:
    """The figures of one scenario."""
    header = ("figure", *result.scenario.shown, *RATIO)
    rows = [header, *(_row(result, figure) for figure in result.scenario.figures)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    lines = [_line(row, widths) for row in rows]
    lines.insert(1, "-" * len(lines[0]))
    title = f"\n{result.scenario.name}: {result.scenario.about}"
    return "\n".join([title, *lines, *_noise(result), *_faults(result)])


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    figure, *numbers = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
    return "  ".join([figure.strip().ljust(widths[0]), *numbers])


def _row(result: Result, figure: Figure) -> tuple[str, ...]:
    values = {column: _values(result, column, figure.key) for column in result.scenario.shown}
    ratios = _ratios(values, figure, result.scenario.subject)
    ratio = median(ratios) if ratios else None
    met = None if ratio is None else figure.met(ratio)
    return (
        figure.key,
        *(_number(median(each)) if each else "-" for each in values.values()),
        "-" if ratio is None or (figure.against is None and figure.target is None) else f"{ratio:.2f}",
        f"{min(ratios):.2f}-{max(ratios):.2f}" if len(ratios) > 1 and (figure.against or figure.target) else "",
        _target(figure),
        "" if met is None else "yes" if met else "NO",
    )


def _values(result: Result, column: str, key: str) -> list[float]:
    """A figure of all rounds; none where it cannot be measured."""
    return [sample.figures[key] for sample in result.samples[column] if key in sample.figures]


def _ratios(values: dict[str, list[float]], figure: Figure, subject: str) -> list[float]:
    """Ours to the other server round by round: neighbours in time share the mood of the machine."""
    if figure.against is None:
        return values[subject]
    return [ours / other for ours, other in zip(values[subject], values[figure.against], strict=False) if other]


def _target(figure: Figure) -> str:
    if figure.target is None:
        return ""
    of = f" {figure.against}" if figure.against else ""
    return f"{'>=' if figure.at_least else '<='} {figure.target:g}{'x' if of else ''}{of}"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def _noise(result: Result) -> Iterator[str]:
    usages = _usages(result)
    if not usages:
        return
    others = median(usage.others_cores for usage in usages)
    steal = median(usage.steal_cores for usage in usages)
    if max(others, steal) > NOISY:
        yield f"NOISY: other processes used {others:.2f} cores, the host took {steal:.2f}"


def _usages(result: Result) -> list[Usage]:
    samples = [sample for column in result.scenario.shown for sample in result.samples[column]]
    return [value for sample in samples for value in sample.detail.values() if isinstance(value, Usage)]


def _faults(result: Result) -> Iterator[str]:
    if result.faults:
        yield f"WRONG: {len(result.faults)} wrong results, the first of them:"
        yield from result.faults[:5]
