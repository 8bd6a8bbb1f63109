"""Checkpoints that a graph does not wait for: none is missed by who reads, none is lost with its attempt's end."""

import asyncio

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint

from tests.conformance.conftest import Kit
from tests.conformance.test_runs import DONE
from turnkeeper.errors import Fenced, Invalid
from turnkeeper.types import Claimed

MANY = 200


async def put(saver: BaseCheckpointSaver[str], thread_id: str, value: str, task_id: str = "a-task") -> None:
    """Store what a step of a graph does, without waiting for it."""
    config: RunnableConfig = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
    version = saver.get_next_version(None, None)
    checkpoint = {**empty_checkpoint(), "channel_values": {"said": value}, "channel_versions": {"said": version}}
    config = await saver.aput(config, checkpoint, {"source": "loop", "step": 1}, {"said": version})  # pyright: ignore[reportArgumentType] - it has values
    await saver.aput_writes(config, [("said", value)], task_id)


async def begun(kit: Kit) -> tuple[Claimed, BaseCheckpointSaver[str]]:
    claimed = await kit.running(await kit.thread())
    return claimed, kit.storage.run_checkpointer(claimed, deferred=True)


async def test_the_run_itself_reads_what_it_has_put(kit: Kit) -> None:
    claimed, saver = await begun(kit)
    await put(saver, claimed.thread_id, "first")
    await put(saver, claimed.thread_id, "second")

    read = await saver.aget_tuple({"configurable": {"thread_id": claimed.thread_id, "checkpoint_ns": ""}})

    assert read is not None
    assert read.checkpoint["channel_values"]["said"] == "second"
    assert read.pending_writes == [("a-task", "said", "second")]


@pytest.mark.parametrize("move", ["finish", "release", "seal"])
async def test_what_was_put_is_on_disk_when_the_run_moves_on(kit: Kit, move: str) -> None:
    claimed, saver = await begun(kit)
    for number in range(MANY):
        await put(saver, claimed.thread_id, str(number))

    match move:
        case "finish":
            await kit.storage.runs.finish(claimed.run_id, claimed.attempt, DONE)
        case "release":
            await kit.storage.runs.release(claimed.run_id, claimed.attempt)
        case _:
            await kit.storage.runs.seal(claimed.run_id, claimed.attempt)

    stored = kit.saver().list({"configurable": {"thread_id": claimed.thread_id, "checkpoint_ns": ""}})
    values = [each.checkpoint["channel_values"]["said"] for each in stored]
    assert values == [str(number) for number in reversed(range(MANY))]


async def test_an_attempt_that_lost_its_run_stores_nothing_it_did_not_wait_for(kit: Kit) -> None:
    claimed, saver = await begun(kit)
    await kit.storage.runs.release(claimed.run_id, claimed.attempt)
    await kit.claim()

    await put(saver, claimed.thread_id, "too late")
    with pytest.raises(Fenced):
        await kit.storage.runs.finish(claimed.run_id, claimed.attempt, DONE)

    assert kit.saver().get_tuple({"configurable": {"thread_id": claimed.thread_id, "checkpoint_ns": ""}}) is None


async def test_a_put_the_database_refuses_fails_the_end_of_its_run_once(kit: Kit) -> None:
    if kit.backend.most_writes is None:
        pytest.skip("this backend stores every text")
    claimed, saver = await begun(kit)
    await put(saver, claimed.thread_id, "said", task_id="a NUL: \0")

    with pytest.raises(Invalid):
        await kit.storage.runs.finish(claimed.run_id, claimed.attempt, DONE)
    assert await kit.statuses(claimed.thread_id) == ["running"]

    await kit.storage.runs.finish(claimed.run_id, claimed.attempt, DONE)
    assert await kit.statuses(claimed.thread_id) == ["success"]


async def test_what_nobody_waits_for_is_stored_all_the_same(kit: Kit) -> None:
    claimed, saver = await begun(kit)
    await put(saver, claimed.thread_id, "said")

    async def stored() -> None:
        while kit.saver().get_tuple({"configurable": {"thread_id": claimed.thread_id, "checkpoint_ns": ""}}) is None:
            await asyncio.sleep(0)

    await asyncio.wait_for(stored(), 10)
