"""What must be true of a thread whatever happened to its servers: from the API, the journal and the nodes' log."""

import itertools
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.crashing import Asked, Client, Line

NODES = ("first", "left", "right", "then", "last")

MARGIN = 0.25
"""Seconds from the start of the next step within which a step reaches the disk (`durability` async).

The writer takes it along within 5 ms; the rest is what a busy machine needs.
"""


@dataclass(frozen=True)
class Note:
    """A line of the journal."""

    event: str
    attempt: int
    detail: str | None


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

    def check(self, kills: list[float]) -> None:
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
        self._check_repetitions(kills)

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

    def _check_repetitions(self, kills: list[float]) -> None:
        """A step is executed again only if its server was killed before its checkpoint could be on disk.

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
                since = kills[line.boot - 1] - min(later)
                assert since < MARGIN, f"{step} ran again; the step after it had begun {since:.3f} s before the kill"

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


def judge(clients: list[Client], lines: list[Line], kills: list[float], http: Any, database: Path) -> None:
    """Check every thread. The server that `http` talks to is still up: journal and API are read side by side."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
        assert connection.execute("select * from ready").fetchall() == []
        for client in clients:
            thread = http.get(f"/threads/{client.thread_id}").json()
            Thread(
                client=client,
                status=thread["status"],
                shown=thread["values"],
                values=http.get(f"/threads/{client.thread_id}/state").json()["values"],
                statuses=_statuses(http, client.thread_id),
                journal=_journal(connection, client.thread_id),
                lines=[line for line in lines if line.thread_id == client.thread_id],
            ).check(kills)
    finally:
        connection.close()


def _statuses(http: Any, thread_id: str) -> dict[str, str]:
    found = http.get(f"/threads/{thread_id}/runs?limit=1000").json()
    return {run["run_id"]: run["status"] for run in found}


def _journal(connection: sqlite3.Connection, thread_id: str) -> dict[str, list[Note]]:
    found: dict[str, list[Note]] = {}
    rows = connection.execute(
        "select run_id, event, attempt, detail from journal where thread_id = ? order by seq", (thread_id,)
    )
    for run_id, event, attempt, detail in rows:
        found.setdefault(run_id, []).append(Note(event, attempt, detail))
    return found
