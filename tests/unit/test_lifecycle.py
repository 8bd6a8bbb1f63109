"""The state machine of runs, what a new input means for a busy thread, and the status of a thread."""

import itertools
import re
from pathlib import Path
from typing import get_args

import pytest

from turnkeeper import lifecycle
from turnkeeper.lifecycle import Admission, CancelAction, Move, RestStatus, RunStatus, Strategy, ThreadStatus

PAGE = (Path(__file__).parents[2] / "docs" / "state-machine.md").read_text()
ARROW = re.compile(r"^ +(\S+) --> (\S+): (\w+)$", re.MULTILINE)
ROW = re.compile(r"^\| `(\w+)` \| ([\w, ]+) \| (\w+) \|", re.MULTILINE)

Arrows = set[tuple[str, str, str]]


def arrows() -> Arrows:
    """Every change of state there is, as (from, to, move)."""
    moves = {(start, end or "deleted", move) for move, (starts, end) in lifecycle.MOVES.items() for start in starts}
    return {*moves, ("new", "pending", "admit")}


def drawn() -> Arrows:
    named = {"[*]": ("new", "deleted")}
    return {
        (named.get(start, (start,))[0], named.get(end, (end,))[-1], move) for start, end, move in ARROW.findall(PAGE)
    }


def tabled() -> Arrows:
    section = PAGE.partition("| Move |")[2].partition("\n\n")[0]
    rows = [(start, end, move) for move, starts, end in ROW.findall(section) for start in starts.split(", ")]
    return {*rows, ("new", "pending", "admit")}


def test_the_diagram_shows_the_moves_there_are() -> None:
    assert drawn() == arrows()


def test_the_table_on_the_page_shows_the_moves_there_are() -> None:
    assert tabled() == arrows()


def test_the_page_explains_every_strategy() -> None:
    for strategy in get_args(Strategy):
        assert f"| `{strategy}` |" in PAGE


def test_the_page_explains_every_event_of_the_journal() -> None:
    migrations = Path(lifecycle.__file__).parent / "storage" / "sql" / "sqlite" / "migrations"
    allowed = re.search(r"event in \(([^)]+)\)", (migrations / "0001_start.sql").read_text())
    assert allowed is not None

    events = set(re.findall(r"\w+", allowed[1]))

    assert set(re.findall(r"^\| `(\w+)` \|", PAGE.partition("| Event |")[2], re.MULTILINE)) == events


def test_every_move_is_in_the_table() -> None:
    assert set(lifecycle.MOVES) == set(get_args(Move))


def test_every_status_is_active_or_final() -> None:
    assert set(get_args(RunStatus)) == lifecycle.ACTIVE | lifecycle.TERMINAL
    assert not lifecycle.ACTIVE & lifecycle.TERMINAL


def test_no_move_leads_out_of_a_final_state() -> None:
    for starts, _ in lifecycle.MOVES.values():
        assert starts <= lifecycle.ACTIVE


def test_every_status_can_be_reached() -> None:
    reached = {end for _, end in lifecycle.MOVES.values()}

    assert reached == {*get_args(RunStatus), None}


def test_an_active_run_can_always_be_stopped() -> None:
    for action in get_args(CancelAction):
        starts, end = lifecycle.MOVES[lifecycle.stop_move(action)]
        assert starts == lifecycle.ACTIVE
        assert end not in lifecycle.ACTIVE


@pytest.mark.parametrize("strategy", get_args(Strategy))
def test_an_idle_thread_takes_any_run(strategy: Strategy) -> None:
    assert lifecycle.admit(strategy, busy=False) == Admission(accept=True, stop_active=None)


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("reject", Admission(accept=False)),
        ("enqueue", Admission(accept=True)),
        ("interrupt", Admission(accept=True, stop_active="interrupt")),
        ("rollback", Admission(accept=True, stop_active="rollback")),
    ],
)
def test_a_busy_thread_answers_as_the_strategy_says(strategy: Strategy, expected: Admission) -> None:
    assert lifecycle.admit(strategy, busy=True) == expected


def test_a_strategy_nobody_knows_is_a_mistake_of_ours() -> None:
    with pytest.raises(AssertionError):
        lifecycle.admit("merge", busy=True)  # pyright: ignore[reportArgumentType]
    with pytest.raises(AssertionError):
        lifecycle.stop_move("merge")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("wanted", "cancel"),
    list(itertools.product(("succeed", "fail", "expire", "interrupt"), (None, *get_args(CancelAction)))),
)
def test_an_accepted_cancel_decides_how_a_run_ends(wanted: Move, cancel: CancelAction | None) -> None:
    move = lifecycle.ending(wanted, cancel)

    assert move == (cancel or wanted)
    assert "running" in lifecycle.MOVES[move][0]


@pytest.mark.parametrize("rest", get_args(RestStatus))
def test_a_thread_is_busy_while_it_has_an_active_run(rest: RestStatus) -> None:
    assert lifecycle.thread_status(busy=True, rest=rest) == "busy"
    assert lifecycle.thread_status(busy=False, rest=rest) == rest


def test_a_thread_rests_in_every_status_but_busy() -> None:
    assert set(get_args(RestStatus)) == set(get_args(ThreadStatus)) - {"busy"}


@pytest.mark.parametrize(
    ("waits", "failed", "expected"),
    [(False, False, "idle"), (True, False, "interrupted"), (False, True, "error"), (True, True, "error")],
)
def test_a_failed_run_shows_before_a_waiting_one(waits: bool, failed: bool, expected: RestStatus) -> None:
    assert lifecycle.rest_status(waits=waits, failed=failed) == expected
