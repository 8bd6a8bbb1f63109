"""What must be true of a thread whatever happened to its servers: from the API, the journal and the nodes' log."""

import itertools
import sqlite3
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from tests.faults.crashing import Asked, Client, Line
from turnkeeper.storage.stopping import CRASHED, LOST

NODES = ("first", "left", "right", "then", "last")

MARGIN = 0.25
"""Seconds from the start of the next step within which a step reaches the disk (`durability` async).

The writer takes it along within 5 ms; the rest is what a busy machine needs.
"""

SOON = 2.0
"""Seconds within which an attempt stops that has lost its run, once it can know of it."""

Interruptions = Callable[[int], list[tuple[float, float]]]
"""When the process of a boot did not do its work: from when to when (`time.monotonic`)."""


@dataclass(frozen=True)
class Note:
    """A line of the journal."""

    event: str
    attempt: int
    detail: str | None
    at: str

    @property
    def moment(self) -> float:
        """When it was, by the clock of the nodes' log."""
        return datetime.fromisoformat(self.at).timestamp() - time.time() + time.monotonic()


class Books(Protocol):
    """What the database says, asked for behind the servers' backs."""

    def journal(self, thread_id: str) -> list[tuple[str, str, int, str | None, str]]:
        """Of every move of the thread's runs: run, event, attempt, detail and when it was."""
        ...

    def check_at_rest(self) -> None:
        """Raise if the database is damaged, or has anything left to do."""
        ...


@dataclass
class Thread:
    """All that is known of one thread."""

    client: Client
    status: str
    shown: dict[str, Any]
    """The state as the thread shows it."""
    values: dict[str, Any]
    """The state as its newest checkpoint has it."""
    statuses: dict[str, str]
    journal: dict[str, list[Note]]
    lines: list[Line]
    late: list[Line]
    """What attempts told after they had lost their run to another worker."""

    def check(self, interruptions: Interruptions) -> None:
        """Raise on the first thing that is not as promised."""
        assert self.status == "idle"
        assert self.shown == self.values
        assert len(set(self.statuses) - {run.run_id for run in self.client.runs}) == 0, "a run nobody asked for"
        for run in self.client.runs:
            self._check_end(run)
            self._check_journal(run)
            self._check_attempts(run)
        self._check_state()
        self._check_order()
        self._check_repetitions(interruptions)
        self._check_late(interruptions)

    def _check_end(self, run: Asked) -> None:
        """It ended, in a way somebody asked for."""
        status, wanted = self.statuses.get(run.run_id), self._stops(run)
        if "rollback" in wanted:
            allowed: set[str | None] = {None}
        elif wanted:
            allowed = {"interrupted"}
        else:
            allowed = {"success"}
        assert status in allowed, f"{run} is {status}: {self.journal[run.run_id]}"
        if run.cancelled is not None:
            assert wanted, f"a cancel that was accepted is forgotten: {run}"

    def _check_journal(self, run: Asked) -> None:
        notes = self.journal[run.run_id]
        events = "".join(f"{note.event} " for note in notes)
        assert events.startswith("created "), events
        assert events.count("ended ") + events.count("tombstone ") == 1, events
        assert events.endswith(("ended ", "tombstone ")), events
        attempts = [note.attempt for note in notes if note.event == "started"]
        assert attempts == sorted(set(attempts)), f"attempts of {run}: {attempts}"
        running = False
        for note in notes:
            if note.event == "started":
                assert not running, f"{run} started twice: {notes}"
                running = True
            elif note.event == "released":
                assert running, f"{run} was released but did not run: {notes}"
                running = False

    def _check_attempts(self, run: Asked) -> None:
        """Each attempt lived in one server, and none began after a stop of the run was written down."""
        mine = [line for line in self.lines if line.run_id == run.run_id]
        boots: dict[int, int] = {}
        for line in mine:
            assert boots.setdefault(line.attempt, line.boot) == line.boot, f"attempt {line.attempt} of {run} lived on"
        attempts = [line.attempt for line in mine]
        assert attempts == sorted(attempts), f"two attempts of {run} were executed at once"
        started = {note.attempt for note in self.journal[run.run_id] if note.event == "started"}
        assert set(boots) <= started, f"{run}: {boots} but {started}"
        for note in self.journal[run.run_id]:
            if note.event == "cancel_requested":
                late = [line for line in mine if line.attempt > note.attempt]
                assert not late, f"{run} was executed again although it was stopped: {late}"

    def _check_state(self) -> None:
        """Every input that counts is there once and in order; every step is there once, with all before it."""
        inputs, steps = self.values["inputs"], self.values["steps"]
        order = [run.tag for run in self.client.runs]
        assert inputs == sorted(set(inputs), key=order.index), f"inputs twice or out of order: {inputs}"
        for run in self.client.runs:
            stops = self._stops(run)
            if not stops:
                assert run.tag in inputs, f"the input of {run} is lost"
            elif "rollback" in stops:
                assert run.tag not in inputs, f"{run} was rolled back"
            elif all(note.event != "cancel_requested" or "superseded" in str(note.detail) for note in self._notes(run)):
                assert run.tag in inputs, f"the input of {run} is lost: it was superseded, not dropped"
            self._check_steps(run, [step for step in steps if step.startswith(f"{run.tag}.")], stops)
        assert len(steps) == len(set(steps)), f"steps twice: {steps}"
        tags = [tag for tag, _ in itertools.groupby(step.partition(".")[0] for step in steps)]
        assert tags == sorted(set(tags), key=order.index), f"steps of runs are mixed: {tags}"

    def _check_steps(self, run: Asked, steps: list[str], stops: set[str]) -> None:
        whole = [f"{run.tag}.{name}" for name in NODES]
        if not stops:
            assert steps == whole, f"{run} has {steps}"
        elif "rollback" in stops:
            assert steps == [], f"{run} was rolled back and has {steps}"
        else:
            halves = [whole[:1], [whole[0], whole[2]], whole[:2]]
            assert steps in [[], *halves, *(whole[:count] for count in range(3, 6))], f"{run} has {steps}"

    def _check_order(self) -> None:
        """Runs executed one at a time, in the order in which they were accepted."""
        order = [run.run_id for run in self.client.runs]
        seen = [run_id for run_id, _ in itertools.groupby(line.run_id for line in self.lines)]
        assert seen == sorted(set(seen), key=order.index), "runs were not executed one after another in order"

    def _check_repetitions(self, interruptions: Interruptions) -> None:
        """A step is executed again only if something happened to its server before its checkpoint could be on disk.

        Who let go of a run, or lost it, had not reached the database for a while.

        With `durability` sync it is there before the next step begins; with async at most `MARGIN` later, which must
        also do on a busy machine. With exit nothing is there before the end.
        """
        durability = {run.run_id: run.durability for run in self.client.runs}
        for (run_id, step), lines in _by_step(self.lines).items():
            for line in [line for line in lines if line.event == "ended"][:-1]:
                later = [each.at for each in self.lines if _follows(each, line)]
                if not later or durability[run_id] == "exit":
                    continue
                assert durability[run_id] == "async", f"{step} ran again although the step after it had begun"
                lost = [note.moment for note in self.journal[run_id] if _is_release(note, line)]
                known = [*interruptions(line.boot), *((moment - SOON, moment) for moment in lost)]
                assert any(begin - MARGIN < min(later) < end + MARGIN for begin, end in known), (
                    f"{step} ran again; the step after it had begun at {min(later):.3f}, interrupted was it at {known}"
                )

    def _check_late(self, interruptions: Interruptions) -> None:
        """Who has lost its run stops: what it still does is for nothing."""
        for line in self.late:
            ends = [end for begin, end in interruptions(line.boot) if begin < line.at]
            knows = max(*ends, *(note.moment for note in self.journal[line.run_id] if _is_loss(note, line)), 0.0)
            assert line.at - knows < SOON, f"{line} {line.at - knows:.3f} s after it could know that the run was lost"

    def _stops(self, run: Asked) -> set[str]:
        """How the run was told to stop while it could be."""
        told = [str(note.detail) for note in self._notes(run) if note.event == "cancel_requested"]
        return {detail.partition(":")[0] for detail in told}

    def _notes(self, run: Asked) -> list[Note]:
        return self.journal[run.run_id]


def _by_step(lines: list[Line]) -> dict[tuple[str, str], list[Line]]:
    found: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        found.setdefault((line.run_id, line.step), []).append(line)
    return found


STAGE = {"first": 0, "left": 1, "right": 1, "then": 2, "last": 3}


def _follows(later: Line, earlier: Line) -> bool:
    """Whether a step of the same attempt began in a later superstep."""
    same = (later.run_id, later.attempt, later.event) == (earlier.run_id, earlier.attempt, "began")
    return same and STAGE[later.step.rpartition(".")[2]] > STAGE[earlier.step.rpartition(".")[2]]


def _is_loss(note: Note, line: Line) -> bool:
    """Whether the attempt that told this line lost its run with that note."""
    return (note.event, note.detail, note.attempt) == ("released", LOST, line.attempt)


def _is_release(note: Note, line: Line) -> bool:
    """Whether the attempt that told this line gave its run back with that note, or lost it to others."""
    return (note.event, note.attempt) == ("released", line.attempt) and note.detail != CRASHED


def judge(
    clients: Sequence[Client],
    lines: Sequence[Line],
    get: Callable[[str], Any],
    books: Books,
    interruptions: Interruptions,
) -> None:
    """Check every thread. `get` reads a path of the API of a server that is still up."""
    books.check_at_rest()
    for client in clients:
        path = f"/threads/{client.thread_id}"
        # Who is paused between looking at the clock and telling the time is heard late.
        mine = sorted((line for line in lines if line.thread_id == client.thread_id), key=lambda line: line.at)
        journal = _journal(books, client.thread_id)
        late = [line for line in mine if _is_late(line, journal.get(line.run_id, []))]
        thread = get(path)
        Thread(
            client=client,
            status=thread["status"],
            shown=thread["values"],
            values=get(f"{path}/state")["values"],
            statuses={run["run_id"]: run["status"] for run in get(f"{path}/runs?limit=1000")},
            journal=journal,
            lines=[line for line in mine if line not in late],
            late=late,
        ).check(interruptions)


def _is_late(line: Line, notes: list[Note]) -> bool:
    return any(_is_loss(note, line) and note.moment < line.at for note in notes)


def _journal(books: Books, thread_id: str) -> dict[str, list[Note]]:
    found: dict[str, list[Note]] = {}
    for run_id, event, attempt, detail, at in books.journal(thread_id):
        found.setdefault(run_id, []).append(Note(event, attempt, detail, at))
    return found


class SqliteBooks:
    """Those of a server that is alone."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def journal(self, thread_id: str) -> list[tuple[str, str, int, str | None, str]]:
        """See `Books`."""
        statement = "select run_id, event, attempt, detail, at from journal where thread_id = ? order by seq"
        return self._connection.execute(statement, (thread_id,)).fetchall()

    def check_at_rest(self) -> None:
        """See `Books`."""
        assert self._connection.execute("pragma integrity_check").fetchall() == [("ok",)]
        assert self._connection.execute("select * from ready").fetchall() == []


@contextmanager
def books_of(database: Path) -> Generator[SqliteBooks]:
    """Read a database while a server is at work on it."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        yield SqliteBooks(connection)
