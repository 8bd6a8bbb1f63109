"""Deleting, pruning and copying checkpoints, as parts of a larger transaction: functions of the writing connection.

Whatever goes takes along the channel versions and list elements that no remaining checkpoint needs.
"""

import itertools
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from turnkeeper.errors import Conflict, Invalid
from turnkeeper.storage import queries
from turnkeeper.storage.sqlite.channels import LIST, read_spans
from turnkeeper.storage.sqlite.checkpoint_rows import ancestors, find, stored_channels, versions_of
from turnkeeper.storage.sqlite.spans import Span, subtract

sql = queries.load("sqlite", "checkpoints")

NULL_TASK_ID = "00000000-0000-0000-0000-000000000000"
"""Whose task LangGraph takes for the author of what a command writes."""

Namespace = tuple[str, str]
"""Thread and namespace."""


def delete_for_runs(connection: sqlite3.Connection, run_ids: Sequence[str]) -> None:
    """Take back all that runs put: their checkpoints, and their writes on anyone's checkpoints."""
    where = {"run_ids": _json(run_ids)}
    put = connection.execute(sql.checkpoints_of_runs, where).fetchall()
    connection.execute(sql.delete_writes_of_runs, where)
    seqs = _json([seq for seq, *_ in put])
    connection.execute(sql.delete_writes_at, {"seqs": seqs})
    connection.execute(sql.delete_checkpoints, {"seqs": seqs})
    put.sort(key=lambda row: row[1:3])
    for (thread_id, checkpoint_ns), rows in itertools.groupby(put, key=lambda row: row[1:3]):
        released = {pair for row in rows for pair in msgspec.json.decode(row[3]).items()}
        _release(connection, (thread_id, checkpoint_ns), released)


def drop_commands(connection: sqlite3.Connection, run_id: str) -> None:
    """Take back what a failed run's command put on the checkpoint it went on from: it would fail all runs that follow.

    A run that got as far as a checkpoint of its own has carried its command out.
    """
    connection.execute(sql.delete_commands, {"run_id": run_id, "task_id": NULL_TASK_ID})


def delete_thread(connection: sqlite3.Connection, thread_id: str) -> None:
    """Delete everything stored of a thread."""
    where = {"thread_id": thread_id}
    connection.execute(sql.delete_thread_checkpoints, where)
    connection.execute(sql.delete_thread_channels, where)
    connection.execute(sql.delete_thread_elements, where)
    connection.execute(sql.delete_thread_writes, where)


def copy_thread(connection: sqlite3.Connection, source: str, target: str) -> None:
    """Copy everything stored of a thread; what the copy's runs were called stays in its metadata only.

    Raises `Conflict` when the target already has checkpoints.
    """
    (taken,) = connection.execute(sql.has_checkpoints, {"thread_id": target}).fetchone()
    if taken:
        raise Conflict(f"Thread {target} already has checkpoints; a copy needs a thread without any.")
    where = {"source": source, "target": target}
    connection.execute(sql.copy_checkpoints, where)
    connection.execute(sql.copy_channels, where)
    connection.execute(sql.copy_elements, where)
    connection.execute(sql.copy_writes, where)


def prune(connection: sqlite3.Connection, thread_ids: Sequence[str], strategy: str) -> None:
    """Drop history: `keep_latest` keeps each namespace's newest checkpoint, `delete` keeps nothing.

    `keep_latest` also keeps the ancestors that a delta channel's value is rebuilt from. Raises `Invalid` on
    another strategy.
    """
    if strategy not in ("keep_latest", "delete"):
        raise Invalid(f"There is no prune strategy {strategy!r}; the strategies are 'keep_latest' and 'delete'.")
    for thread_id in thread_ids:
        if strategy == "delete":
            delete_thread(connection, thread_id)
            continue
        for (checkpoint_ns,) in connection.execute(sql.namespaces, {"thread_id": thread_id}).fetchall():
            _keep_latest(connection, (thread_id, checkpoint_ns))


def _release(connection: sqlite3.Connection, namespace: Namespace, released: Iterable[tuple[str, Any]]) -> None:
    """Delete those of the released channel versions that nobody needs.

    A version is named by checkpoints written after the one it came with, so only these are looked at: none when
    the newest run of a thread is taken back.
    """
    where = {"thread_id": namespace[0], "checkpoint_ns": namespace[1]}
    orphans = connection.execute(sql.orphans, {**where, "released": _json(list(released))}).fetchall()
    if not orphans:
        return
    oldest = min(born or 0 for _, _, born in orphans)
    needed = set(connection.execute(sql.versions_needed, {**where, "born": oldest}))
    freed: dict[str, list[Span]] = {}
    for channel, version, _ in orphans:
        if (channel, version) in needed:
            continue
        gone = connection.execute(sql.delete_channel, {**where, "channel": channel, "version": version}).fetchall()
        for kind, value in gone:
            if kind == LIST:
                freed.setdefault(channel, []).extend(read_spans(value))
    for channel, spans in freed.items():
        _release_elements(connection, {**where, "channel": channel}, spans)


def _release_elements(connection: sqlite3.Connection, where: dict[str, Any], freed: list[Span]) -> None:
    """Delete the freed elements that no stored version of the list has.

    The newest version has most of them, so it is asked first; few versions reach past what then remains.
    """
    rest = subtract(_union(freed), _spans(connection, sql.newest_list, where))
    if rest:
        low = min(start for start, _ in rest)
        rest = subtract(rest, _spans(connection, sql.lists_beyond, {**where, "low": low}))
    _delete_elements(connection, where, rest)


def _keep_latest(connection: sqlite3.Connection, namespace: Namespace) -> None:
    where: dict[str, Any] = {"thread_id": namespace[0], "checkpoint_ns": namespace[1]}
    kept = _latest_and_its_roots(connection, namespace)
    doomed = [seq for (seq,) in connection.execute(sql.namespace_checkpoints, where) if seq not in kept]
    connection.execute(sql.delete_checkpoints, {"seqs": _json(doomed)})
    connection.execute(sql.sweep_writes, where)
    connection.execute(sql.sweep_channels, where)
    for channel, end in connection.execute(sql.list_channels, where).fetchall():
        of_channel = {**where, "channel": channel}
        needed = _spans(connection, sql.lists_beyond, {**of_channel, "low": 0})
        _delete_elements(connection, of_channel, subtract([(0, end)], needed))


def _latest_and_its_roots(connection: sqlite3.Connection, namespace: Namespace) -> set[int]:
    """The newest checkpoint, and its ancestors back to where the value of every delta channel is stored.

    Storage does not know the graph; a channel counts as delta when the metadata along the way counts its updates.
    """
    latest = find(connection, *namespace, None)
    if latest is None:
        return set()
    where = {"thread_id": latest.thread_id, "checkpoint_ns": latest.checkpoint_ns}
    delta = {channel for (channel,) in connection.execute(sql.delta_channels, where)} & versions_of(latest).keys()
    delta -= stored_channels(connection, latest, delta)
    kept = {latest.seq}
    for ancestor in ancestors(connection, latest) if delta else ():
        kept.add(ancestor.seq)
        delta -= stored_channels(connection, ancestor, delta)
        if not delta:
            break
    return kept


def _delete_elements(connection: sqlite3.Connection, where: dict[str, Any], spans: Iterable[Span]) -> None:
    connection.executemany(sql.delete_elements, [{**where, "start": start, "stop": stop} for start, stop in spans])


def _spans(connection: sqlite3.Connection, statement: str, where: dict[str, Any]) -> list[Span]:
    return _union(span for (value,) in connection.execute(statement, where) for span in read_spans(value))


def _union(spans: Iterable[Span]) -> list[Span]:
    """The same places, each once, in order."""
    merged: list[Span] = []
    for start, stop in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], stop))
        else:
            merged.append((start, stop))
    return merged


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
