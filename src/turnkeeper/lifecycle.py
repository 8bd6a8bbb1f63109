"""The run state machine, the double-texting decision and the thread status: pure functions, no I/O.

Every way a run can change stands in `MOVES`; `docs/state-machine.md` draws it and a test compares the two.
"""

from dataclasses import dataclass
from typing import Literal, assert_never, get_args

RunStatus = Literal["pending", "running", "success", "error", "timeout", "interrupted"]
ThreadStatus = Literal["idle", "busy", "interrupted", "error"]
RestStatus = Literal["idle", "interrupted", "error"]
Strategy = Literal["reject", "enqueue", "interrupt", "rollback"]
CancelAction = Literal["interrupt", "rollback"]
Move = Literal["claim", "release", "succeed", "fail", "expire", "interrupt", "rollback"]

ACTIVE: frozenset[RunStatus] = frozenset({"pending", "running"})
TERMINAL: frozenset[RunStatus] = frozenset(get_args(RunStatus)) - ACTIVE

MOVES: dict[Move, tuple[frozenset[RunStatus], RunStatus | None]] = {
    "claim": (frozenset({"pending"}), "running"),
    "release": (frozenset({"running"}), "pending"),
    "succeed": (frozenset({"running"}), "success"),
    "fail": (frozenset({"running"}), "error"),
    "expire": (frozenset({"running"}), "timeout"),
    "interrupt": (ACTIVE, "interrupted"),
    "rollback": (ACTIVE, None),
}
"""Move -> (states it may start from, state it ends in). `None`: the run is deleted, its tombstone stays."""


@dataclass(frozen=True, slots=True)
class Admission:
    """What to do with a new run, and with the active runs of its thread."""

    accept: bool
    stop_active: CancelAction | None = None


def admit(strategy: Strategy, *, busy: bool) -> Admission:
    """Decide what a new input means for a thread that is `busy` (has a pending or running run) or not.

    The words are the SDK's `multitask_strategy` (`langgraph_sdk.schema.MultitaskStrategy`).
    """
    if not busy:
        return Admission(accept=True)
    match strategy:
        case "reject":
            return Admission(accept=False)
        case "enqueue":
            return Admission(accept=True)
        case "interrupt" | "rollback":
            return Admission(accept=True, stop_active=strategy)
        case _:
            assert_never(strategy)


def stop_move(action: CancelAction) -> Move:
    """The move that carries out a cancel once nothing of the run can write any more."""
    match action:
        case "interrupt":
            return "interrupt"
        case "rollback":
            return "rollback"
        case _:
            assert_never(action)


def ending(wanted: Move, cancel: CancelAction | None) -> Move:
    """The move a finishing attempt makes: a cancel that was accepted first wins over how the graph ended."""
    return wanted if cancel is None else stop_move(cancel)


def thread_status(*, busy: bool, rest: RestStatus) -> ThreadStatus:
    """A thread is `busy` while a run of it is active, else what its newest state says (`rest`)."""
    return "busy" if busy else rest


def rest_status(*, waits: bool, failed: bool) -> RestStatus:
    """What a thread is between runs: `error` when its last run failed, `interrupted` while nodes wait in its state."""
    if failed:
        return "error"
    return "interrupted" if waits else "idle"
