"""The copy: reads a file at rest, row by row, into one transaction of the database.

Broken off at any moment it leaves nothing behind, and is run again from the start.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

import psycopg

from turnkeeper.errors import ConfigError, Invalid, Unavailable
from turnkeeper.storage.copying.checkpoints import VALUES, Channels, Checkpoints
from turnkeeper.storage.copying.rules import RULES, Rule, check
from turnkeeper.storage.copying.values import CONVERT, Row, Transform, item, write
from turnkeeper.storage.postgres.intake import Column, Intake, fill
from turnkeeper.storage.sqlite.export import Export, exported

Progress = Callable[[str, int, int], None]
"""Hears of a table, of its rows that are copied, and of all it has."""

BATCH = 500
"""Rows per statement. A row may be megabytes long: more would not be faster, but tell less of the progress."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy came to."""

    rows: int
    resumed: int
    """Runs that were under way when their server died; they wait in their queues again."""
    before: datetime | None
    """When this very copy was made already, in which case nothing was done now."""


class Step(NamedTuple):
    """A table to copy."""

    rule: Rule
    target: str
    columns: Mapping[str, Column]
    total: int


def copy(path: str, uri: str, progress: Progress) -> Copied:
    """Copy everything from a SQLite file to an empty PostgreSQL database.

    Raises `ConfigError` when either cannot be used, when a server has the file, when the database holds other data, or
    when anything would be lost; the database is then as it was.
    """
    with exported(path) as export:
        check(export.columns)
        counts = {table: export.count(table) for table in export.columns}
        try:
            return fill(uri, lambda intake: _copy(export, intake, counts, progress))
        except (psycopg.Error, Invalid, Unavailable) as error:
            raise ConfigError(
                "the copy was given up: the database is as it was",
                cause=str(error).strip().partition("\n")[0],
                fix="run it again when that is mended",
            ) from error


def _copy(export: Export, intake: Intake, counts: dict[str, int], progress: Progress) -> Copied:
    fingerprint = export.fingerprint(counts)
    if before := intake.copied_at(fingerprint):
        return Copied(rows=0, resumed=0, before=before)
    steps = list(_plan(export, intake, counts))
    targets = [step.target for step in steps]
    intake.clear(targets)
    written = Counter[str]()
    for step in steps:
        _carry_out(step, export, intake, written, progress)
    if wrong := [table for table in targets if intake.count(table) != written[table]]:
        raise _incomplete(wrong)
    resumed = intake.settle(targets, time.time())
    intake.note(fingerprint)
    return Copied(rows=sum(step.total for step in steps), resumed=resumed, before=None)


def _plan(export: Export, intake: Intake, counts: Mapping[str, int]) -> Iterator[Step]:
    for rule in RULES:
        if rule.target is not None:
            there = intake.columns(rule.target)
            filled = rule.filled(export.columns[rule.source], there)
            yield Step(rule, rule.target, {name: there[name] for name in filled}, counts[rule.source])


def _carry_out(step: Step, export: Export, intake: Intake, written: Counter[str], progress: Progress) -> None:
    """Copy a table; `written` counts what was put where."""
    transform = _transform(step.rule.source, export)
    rows = map(_converter(export.columns[step.rule.source], step.columns, transform), export.rows(step.rule.source))
    done = 0
    while size := intake.copy(step.target, step.columns, islice(rows, BATCH)):
        done += size
        if isinstance(transform, Checkpoints) and transform.values:
            columns = intake.columns(VALUES)
            written[VALUES] += intake.copy(
                VALUES, columns, ([row[name] for name in columns] for row in transform.values)
            )
            transform.values.clear()
        progress(step.rule.source, done, step.total)
    if done != step.total:
        raise _incomplete([step.rule.source])
    written[step.target] += done


def _transform(table: str, export: Export) -> Transform | None:
    match table:
        case "checkpoints":
            return Checkpoints(export)
        case "checkpoint_channels":
            return Channels(export)
        case "checkpoint_writes":
            return write
        case "items":
            return item
        case _:
            return None


def _converter(
    names: Sequence[str], columns: Mapping[str, Column], transform: Transform | None
) -> Callable[[Sequence[Any]], Sequence[Any]]:
    """How a row becomes one of PostgreSQL: first what `transform` makes of it, then each value by its type."""
    conversions = [(name, CONVERT.get(column.type)) for name, column in columns.items()]

    def convert(values: Sequence[Any]) -> Sequence[Any]:
        row: Row = dict(zip(names, values, strict=True))
        if transform is not None:
            row |= transform(row)
        return [row[name] if conversion is None else conversion(row[name]) for name, conversion in conversions]

    return convert


def _incomplete(tables: Sequence[str]) -> ConfigError:
    return ConfigError(f"not all rows of {', '.join(tables)} arrived", fix="please report it; nothing was kept")
