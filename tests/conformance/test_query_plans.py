"""The statements every run goes through find their rows by index, however many there are."""

import pytest

from tests.conformance.conftest import Backend, Kit
from turnkeeper.types import Outcome

SEARCHES = {
    ("runs", "claim_run"): ("COVERING INDEX ready_order (lane=?)", "INTEGER PRIMARY KEY (rowid=?)"),
    ("runs", "let_join"): ("runs_delayed (due_at<?)", "INTEGER PRIMARY KEY (rowid=?)"),
    ("runs", "next_due"): ("runs_delayed",),
    ("runs", "runs_of_thread"): ("runs_active (thread_id=?)",),
    ("runs", "list_runs"): ("runs_of_thread (thread_id=?)",),
    ("runs", "owned_run"): ("(run_id=?)",),
    ("runs", "get_run"): ("(run_id=?)",),
    ("runs", "run_end"): ("(run_id=?)", "(thread_id=?)"),
    ("runs", "runs_by_ids"): ("(run_id=?)",),
    ("runs", "finish_run"): ("(run_id=?)",),
    ("runs", "release_run"): ("(run_id=?)",),
    ("runs", "request_cancel"): ("(run_id=?)",),
    ("runs", "interrupt_pending"): ("(run_id=?)",),
    ("runs", "delete_run"): ("(run_id=?)",),
    ("runs", "newest_change"): ("journal_of_thread (thread_id=?)", "(thread_id=? AND checkpoint_ns=?)"),
    ("retention", "purge_keys"): ("idempotency_keys_made (created_at<?)",),
    ("retention", "purge_journal"): ("journal_of_thread (thread_id=?)", "INTEGER PRIMARY KEY (rowid=?)"),
    ("threads", "get_thread"): ("(thread_id=?)", "runs_active (thread_id=?)"),
    ("threads", "thread_head"): ("(thread_id=?)",),
    ("threads", "touch_thread"): ("(thread_id=?)",),
    ("threads", "set_state"): ("(thread_id=?)",),
    ("assistants", "get_assistant"): ("(assistant_id=?)",),
    ("checkpoints", "get_checkpoint"): ("checkpoints_of_thread (thread_id=? AND checkpoint_ns=? AND checkpoint_id=?)",),
    ("checkpoints", "get_latest_checkpoint"): ("checkpoints_of_thread (thread_id=? AND checkpoint_ns=?)",),
    ("checkpoints", "get_checkpoint_at"): ("INTEGER PRIMARY KEY (rowid=?)",),
    ("checkpoints", "channels_at"): ("(thread_id=? AND checkpoint_ns=? AND channel=? AND version=?)",),
    ("checkpoints", "channel_at"): ("(thread_id=? AND checkpoint_ns=? AND channel=? AND version=?)",),
    ("checkpoints", "list_tail"): ("(thread_id=? AND checkpoint_ns=? AND channel=?)",),
    ("checkpoints", "elements"): ("(thread_id=? AND checkpoint_ns=? AND channel=? AND seq>? AND seq<?)",),
    ("checkpoints", "writes_at"): ("(thread_id=? AND checkpoint_ns=? AND checkpoint_id=?)",),
    ("checkpoints", "checkpoints_of_runs"): ("checkpoints_of_run (run_id=?)",),
    ("checkpoints", "delete_writes_of_runs"): ("checkpoint_writes_of_run (run_id=?)",),
}
"""Statement -> what its plan has to search by."""

HARMLESS = ("json_each", "VIRTUAL TABLE", "CONSTANT ROW")
"""What may be scanned: the statement's own parameters."""

UNSORTED = ("claim_run", "let_join", "runs_of_thread", "list_runs", "get_latest_checkpoint", "elements")
"""Statements that stop early, which they only can if the index gives the order."""


@pytest.fixture
def planning(backend: Backend, request: pytest.FixtureRequest) -> Kit:
    if not backend.plans:
        pytest.skip("this backend's plans depend on its statistics")
    return request.getfixturevalue("kit")


@pytest.mark.parametrize(("topic", "name"), SEARCHES)
def test_a_hot_statement_searches_by_index(planning: Kit, topic: str, name: str) -> None:
    plan = planning.plan(topic, name)

    assert [search for search in SEARCHES[topic, name] if search not in plan] == [], plan
    scans = [step for step in plan.splitlines() if step.startswith("SCAN") and not any(h in step for h in HARMLESS)]
    assert scans == []


@pytest.mark.parametrize(("topic", "name"), [each for each in SEARCHES if each[1] in UNSORTED])
def test_a_statement_that_stops_early_need_not_sort(planning: Kit, topic: str, name: str) -> None:
    assert "TEMP B-TREE" not in planning.plan(topic, name)


def test_recovery_looks_at_running_runs_only(planning: Kit) -> None:
    assert planning.plan("runs", "recover_runs") == "SCAN runs USING INDEX runs_one_running"


def test_cancelling_by_status_looks_at_active_runs_only(planning: Kit) -> None:
    assert "SCAN runs USING INDEX runs_active" in planning.plan("runs", "runs_by_status")


CROWD = 1000


async def crowded(kit: Kit, crowd: str) -> str:
    """A thread with one running run, and a thousand that wait or have ended."""
    thread_id = await kit.thread()
    await kit.running(thread_id)
    await kit.admit_all([kit.request(thread_id) for _ in range(CROWD)])
    if crowd == "ended":
        waiting = await kit.storage.runs.of_thread(thread_id, status="pending", limit=CROWD, offset=0)
        await kit.storage.runs.cancel(thread_id, [run.run_id for run in waiting], "interrupt", "enough")
    return thread_id


async def moves(kit: Kit, thread_id: str) -> dict[str, int]:
    """What each move of a thread with a running run costs."""
    runs = kit.storage.runs
    [running] = await runs.of_thread(thread_id, status="running", limit=1, offset=0)
    waiting = (await kit.admit(thread_id)).run
    return {
        "admit": await kit.work(kit.admit(thread_id)),
        "claim in vain": await kit.work(runs.claim(10)),
        "cancel": await kit.work(runs.cancel(thread_id, [waiting.run_id], "interrupt", "enough")),
        "finish": await kit.work(runs.finish(running.run_id, 1, Outcome(status="success"))),
        "claim": await kit.work(runs.claim(1)),
    }


@pytest.mark.parametrize("crowd", ["waiting", "ended"])
async def test_a_thousand_runs_on_a_thread_make_none_of_its_moves_slower(planning: Kit, crowd: str) -> None:
    """Counted in steps of the database, not in seconds: a busy machine must not fail it."""
    full, quiet = await crowded(planning, crowd), await planning.thread()
    await planning.running(quiet)

    few, many = await moves(planning, quiet), await moves(planning, full)

    if crowd == "waiting":  # who waits is counted, up to the most that may wait
        many["admit"] -= 10 * CROWD
    assert {move: cost for move, cost in many.items() if cost > 2 * few[move]} == {}, few
