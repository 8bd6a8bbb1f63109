"""Edits of a thread's state that come at once, with others and with runs: what was accepted is in the state."""

import asyncio

from tests.interleaving.driver import NODES, Line


async def edit(line: Line, step: str) -> int:
    """Add a step to the state as a node would; the status of the answer."""
    answer = await line.http.post(f"/threads/{line.thread_id}/state", {"values": {"steps": [step]}, "as_node": "n3"})
    return answer.status_code


async def test_of_many_edits_at_once_none_is_lost(line: Line) -> None:
    await line.say("A", how="runs/wait")
    steps = [f"edit {number}" for number in range(30)]
    answers = await asyncio.gather(*(edit(line, step) for step in steps))
    accepted = [step for step, status in zip(steps, answers, strict=True) if status == 200]
    values = await line.values()
    assert values["steps"][:3] == [f"A.{node}" for node in NODES]
    assert sorted(values["steps"][3:]) == sorted(accepted)
    assert accepted == steps, "idle threads refuse no edit"


async def test_edits_among_runs_are_refused_or_kept(line: Line) -> None:
    await line.say("A", how="runs/wait")
    tags = "BCDE"
    steps = [f"edit {number}" for number in range(20)]
    both = asyncio.gather(*(edit(line, step) for step in steps))
    for tag in tags:
        await line.say(tag, "enqueue", how="runs/wait")
    answers = await both
    assert set(answers) <= {200, 409}
    accepted = {step for step, status in zip(steps, answers, strict=True) if status == 200}
    kept = (await line.values())["steps"]
    assert [step for step in kept if not step.startswith("edit")] == [
        f"{tag}.{node}" for tag in "A" + tags for node in NODES
    ]
    assert sorted(step for step in kept if step.startswith("edit")) == sorted(accepted)
