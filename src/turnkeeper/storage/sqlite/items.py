"""The LangGraph store in SQLite: what graphs reach as `runtime.store` and `get_store()`."""

import sqlite3
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
)

from turnkeeper.codec import decode, text
from turnkeeper.storage.queries import load
from turnkeeper.storage.sqlite.database import Database
from turnkeeper.storage.sqlite.matching import as_stored, fits, known_prefix, labels, namespace_matches, path, span
from turnkeeper.types import Clock, timestamp

T = TypeVar("T")

SQL = load("sqlite", "items")

SWEEP = 1000
"""Items a sweep removes per transaction: bounds how long the runs wait for it."""


class SqliteStore(BaseStore):
    """Items that outlive the server. Answers as `InMemoryStore` does without an index.

    What differs: a search gives the last updated first, an item replaced keeps its `created_at`, a namespace lives
    only as long as it holds an item, items may expire, comparing what has no order finds nothing instead of failing,
    and values come back as JSON says them.
    """

    supports_ttl = True

    def __init__(self, database: Database, clock: Clock, ttl: TTLConfig | None = None) -> None:
        """`ttl` says how long items live that are put without saying so, and whether a read prolongs their life."""
        self._database = database
        self._clock = clock
        self.ttl_config = ttl

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Carry out operations together, blocking the thread: the reads see what was there before the puts."""
        batch = _Batch(ops, self._clock())
        if batch.reads:
            self._database.read_sync(batch.read)
        if batch.writes:
            self._database.write_sync(batch.write)
        return batch.results

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Carry out operations together: the reads see what was there before the puts."""
        batch = _Batch(ops, self._clock())
        if batch.reads:
            await self._database.read(batch.read)
        if batch.writes:
            await self._database.write(batch.write)
        return batch.results

    async def sweep(self, now: float) -> int:
        """Remove what has expired; how many items that were. Nobody can see them any more, they only take room."""

        def job(connection: sqlite3.Connection) -> int:
            return connection.execute(SQL.sweep_items, {"now": now, "most": SWEEP}).rowcount

        swept = removed = await self._database.write(job)
        while removed == SWEEP:
            removed = await self._database.write(job)
            swept += removed
        return swept


class _Batch:
    """Operations on their way: first one job that reads, then one that writes."""

    def __init__(self, ops: Iterable[Op], now: float) -> None:
        self.now = now
        self.results: list[Result] = []
        self.reads: list[tuple[int, GetOp | SearchOp | ListNamespacesOp]] = []
        self._puts: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {}
        self._touched: list[int] = []
        for position, op in enumerate(ops):
            self.results.append(None)
            match op:
                case PutOp():  # the last put of a key wins
                    self._puts[path(op.namespace), op.key] = _put(op, now)
                case GetOp() | SearchOp() | ListNamespacesOp():
                    self.reads.append((position, op))
                case _:
                    raise ValueError(f"Unknown operation type: {type(op)}")

    @property
    def writes(self) -> bool:
        """Whether there is something to write; known once the reads are done."""
        return bool(self._puts or self._touched)

    def read(self, connection: sqlite3.Connection) -> None:
        """Answer every read from one snapshot."""
        with _snapshot(connection):
            for position, op in self.reads:
                match op:
                    case GetOp():
                        self.results[position] = self._get(connection, op)
                    case SearchOp():
                        self.results[position] = self._search(connection, op)
                    case ListNamespacesOp():
                        self.results[position] = _list_namespaces(connection, op, self.now)

    def write(self, connection: sqlite3.Connection) -> None:
        """Prolong the life of what was read, then put and delete."""
        if self._touched:
            connection.execute(SQL.refresh_items, {"seqs": text(self._touched), "now": self.now})
        for statement, parameters in self._puts.values():
            connection.execute(statement, parameters)

    def _get(self, connection: sqlite3.Connection, op: GetOp) -> Item | None:
        parameters = {"namespace": path(op.namespace), "key": op.key, "now": self.now}
        row = connection.execute(SQL.get_item, parameters).fetchone()
        if row is None:
            return None
        self._touch([row], refresh=op.refresh_ttl)
        return Item(**_fields(row, decode(row[-1])))

    def _search(self, connection: sqlite3.Connection, op: SearchOp) -> list[SearchItem]:
        wanted = as_stored(op.filter or {})
        pages = not wanted and min(op.offset, op.limit) >= 0  # SQL knows neither the filters nor negative slices
        first, last = span(op.namespace_prefix)
        parameters = {"first": first, "last": last, "now": self.now, "limit": -1, "offset": 0}
        if pages:
            parameters |= {"limit": op.limit, "offset": op.offset}
        with closing(connection.execute(SQL.search_items, parameters)) as rows:
            decoded = ((row, decode(row[-1])) for row in rows)
            fitting = ((row, value) for row, value in decoded if fits(value, wanted))
            found = list(fitting) if pages else _slice(fitting, op.offset, op.limit)
        self._touch([row for row, _ in found], refresh=op.refresh_ttl)
        return [SearchItem(**_fields(row, value)) for row, value in found]

    def _touch(self, rows: list[tuple[Any, ...]], *, refresh: bool) -> None:
        self._touched += [seq for seq, mortal, *_ in rows if refresh and mortal]


def _put(op: PutOp, now: float) -> tuple[str, dict[str, Any]]:
    """The statement of a put; values become text here, so that the thread that writes only writes."""
    parameters: dict[str, Any] = {"namespace": path(op.namespace), "key": op.key}
    if op.value is None:
        return SQL.delete_item, parameters
    value = text(dict(op.value))
    return SQL.put_item, {**parameters, "value": value, "ttl_minutes": op.ttl, "now": now, "at": timestamp(now)}


def _list_namespaces(connection: sqlite3.Connection, op: ListNamespacesOp, now: float) -> list[tuple[str, ...]]:
    conditions = op.match_conditions or ()
    first, last = span(known_prefix(conditions))
    rows = connection.execute(SQL.list_namespaces, {"first": first, "last": last, "now": now})
    fitting = {
        namespace[: op.max_depth]
        for namespace in (labels(found) for (found,) in rows)
        if all(namespace_matches(namespace, condition) for condition in conditions)
    }
    return _slice(iter(sorted(fitting)), op.offset, op.limit)


def _slice(items: Iterator[T], offset: int, limit: int) -> list[T]:
    """`items[offset:offset + limit]`, taking no more of them than that needs."""
    if min(offset, limit) < 0:
        return list(items)[offset : offset + limit]
    return list(islice(items, offset, offset + limit))


def _fields(row: tuple[Any, ...], value: dict[str, Any]) -> dict[str, Any]:
    """What an item is made of, from a row of `get_item` or `search_items` and its decoded value."""
    _, _, namespace, key, created_at, updated_at, _ = row
    return {
        "namespace": labels(namespace),
        "key": key,
        "value": value,
        "created_at": datetime.fromisoformat(created_at),
        "updated_at": datetime.fromisoformat(updated_at),
    }


@contextmanager
def _snapshot(connection: sqlite3.Connection) -> Generator[None]:
    """Let all statements see one state. A savepoint, because a `:memory:` database reads inside a transaction."""
    connection.execute("savepoint snapshot")
    try:
        yield
    finally:
        connection.execute("release snapshot")
