"""Edits of a thread's state from outside its runs: what one has accepted, no other one overwrites."""

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import empty_checkpoint

from tests.conformance.conftest import Kit
from turnkeeper.errors import Conflict, NotFound
from turnkeeper.types import Outcome

Write = Callable[[str], None]


def edit(kit: Kit, thread_id: str) -> Write:
    """Read the newest state as an edit does; what is returned stores one on top of it."""
    saver = kit.storage.thread_checkpointer(thread_id)
    config: RunnableConfig = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
    newest = saver.get_tuple(config)
    parent = newest.config if newest else config
    version: Any = newest.checkpoint["channel_versions"]["said"] if newest else None

    def write(said: str) -> None:
        nonlocal parent, version
        version = saver.get_next_version(version, None)
        checkpoint = empty_checkpoint()
        checkpoint["channel_values"] = {"said": said}
        checkpoint["channel_versions"] = {"said": version}
        parent = saver.put(parent, checkpoint, {"source": "update"}, {"said": version})
        saver.put_writes(parent, [("said", said)], "a-task")

    return write


@pytest.mark.parametrize("empty", [True, False])
async def test_of_two_edits_that_read_the_same_state_one_is_refused(kit: Kit, empty: bool) -> None:
    thread_id = await kit.thread()
    if not empty:
        edit(kit, thread_id)("before")
    first, second = edit(kit, thread_id), edit(kit, thread_id)
    first("first")
    with pytest.raises(Conflict, match="changed while"):
        second("second")
    assert kit.said(thread_id) == "first"
    edit(kit, thread_id)("second, tried again")
    assert kit.said(thread_id) == "second, tried again"


async def test_an_edit_may_write_several_times(kit: Kit) -> None:
    thread_id = await kit.thread()
    write = edit(kit, thread_id)
    for said in "abc":
        write(said)
    assert kit.said(thread_id) == "c"


async def test_between_two_writes_of_an_edit_nobody_else_writes(kit: Kit) -> None:
    thread_id = await kit.thread()
    write = edit(kit, thread_id)
    write("a")
    edit(kit, thread_id)("of somebody else")
    with pytest.raises(Conflict):
        write("b")
    assert kit.said(thread_id) == "of somebody else"


async def test_an_edit_is_refused_once_a_run_has_changed_the_thread(kit: Kit) -> None:
    thread_id = await kit.thread()
    write = edit(kit, thread_id)
    claimed = await kit.running(thread_id)
    kit.checkpoint(claimed, "of the run")
    with pytest.raises(Conflict, match="already running"):
        write("a")
    await kit.storage.runs.finish(claimed.run_id, claimed.attempt, Outcome(status="success"))
    with pytest.raises(Conflict, match="changed while"):
        write("a")
    assert kit.said(thread_id) == "of the run"


async def test_edits_of_different_threads_do_not_disturb_each_other(kit: Kit) -> None:
    threads = [await kit.thread() for _ in range(2)]
    writes = [edit(kit, thread_id) for thread_id in threads]
    for write in writes:
        write("fine")
    assert [kit.said(thread_id) for thread_id in threads] == ["fine", "fine"]


@pytest.mark.parametrize("empty", [True, False])
async def test_an_edit_of_a_thread_that_was_deleted_meanwhile_leaves_nothing_behind(kit: Kit, empty: bool) -> None:
    thread_id = await kit.thread()
    if not empty:
        edit(kit, thread_id)("before")
    write = edit(kit, thread_id)
    await kit.storage.threads.delete(thread_id)
    with pytest.raises(NotFound):
        write("after")
    assert kit.storage.thread_checkpointer(thread_id).get_tuple({"configurable": {"thread_id": thread_id}}) is None
