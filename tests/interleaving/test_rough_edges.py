"""What the reference server is known to get wrong and no other test holds; `docs/compatibility.md` lists them all."""

import pytest

from tests.interleaving.driver import NODES, Line, chat_input


@pytest.mark.parametrize("listens", [True, False])
async def test_a_waiting_run_is_rolled_back_whether_or_not_somebody_listens_to_it(line: Line, listens: bool) -> None:
    line.hold("Z.n1")
    await line.say("Z", "enqueue")
    await line.at("Z.n1")
    waiting = line.prepare("A", "enqueue")
    path = f"/threads/{line.thread_id}/runs"
    if listens:
        async with line.http.open("POST", f"{path}/stream", waiting.body) as stream:
            await line.say("N", "rollback")
            assert b'"rolled_back"' in await stream.reader.read()
    else:
        await line.http.post(path, waiting.body)
        await line.say("N", "rollback")
    await line.end_of(line.said[-1].run_id)
    assert list(await line.runs()) == [line.said[-1].run_id]
    assert (await line.values())["steps"] == [f"N.{node}" for node in NODES]


@pytest.mark.parametrize("how", ["cancel?action=rollback", "cancel?action=interrupt", "delete"])
async def test_a_thread_whose_only_waiting_run_is_stopped_is_idle(line: Line, how: str) -> None:
    await line.say("A", "enqueue", after_seconds=3600)
    assert (await line.thread())["status"] == "busy"
    path = f"/threads/{line.thread_id}/runs/{line.said[0].run_id}"
    await (line.http.delete(path) if how == "delete" else line.http.post(f"{path}/{how}"))
    assert (await line.thread())["status"] == "idle"
    assert (await line.say("B", "reject", how="runs/wait")).status_code == 200


@pytest.mark.parametrize("action", ["interrupt", "rollback"])
async def test_the_words_of_a_model_that_was_cut_short_are_in_its_stream_and_not_in_the_state(
    line: Line, action: str
) -> None:
    line.hold("A.words")
    said = line.prepare("A", "enqueue", graph="words", input=chat_input("A", 0.0), stream_mode=["messages-tuple"])
    async with line.http.open("POST", f"/threads/{line.thread_id}/runs/stream", said.body) as stream:
        await line.at("A.words")
        await line.http.post(f"/threads/{line.thread_id}/runs/{said.run_id}/cancel?action={action}&wait=1")
        heard = await stream.reader.read()
    assert b'"Once"' in heard
    assert b'"rolled_back"' in heard if action == "rollback" else b'"interrupted"' in heard
    messages = (await line.values()).get("messages", [])
    assert [message["content"] for message in messages] == ([] if action == "rollback" else ["A"])


async def test_a_thread_that_never_ran_does_not_break_a_search_by_values(line: Line) -> None:
    found = await line.http.post("/threads/search", {"ids": [line.thread_id], "values": {"tag": "A"}})
    assert (found.status_code, found.json()) == (200, [])
    await line.say("A", how="runs/wait")
    found = await line.http.post("/threads/search", {"ids": [line.thread_id], "values": {"tag": "A"}})
    assert [thread["thread_id"] for thread in found.json()] == [line.thread_id]
