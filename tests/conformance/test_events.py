"""Events that outlive their run: kept, read page by page, and gone with what told them."""

from typing import Any

import pytest

from tests.conformance.conftest import Kit
from turnkeeper.contracts import Feed, Frame, Storage
from turnkeeper.types import Outcome

FOREVER = 2**62


def frame(seq: int, *, thread_id: str = "thread", run_id: str = "run", **fields: Any) -> Frame:
    usual: dict[str, Any] = {"event": "values", "data": str(seq).encode()}
    return Frame(seq, thread_id, run_id, **{**usual, **fields})


async def seqs(storage: Storage, feed: Feed, after: int = 0, upto: int = FOREVER, limit: int = 1000) -> list[int]:
    return [found.seq for found in await storage.events.read(feed, after, upto, limit)]


async def test_what_was_posted_is_read_as_it_was(storage: Storage) -> None:
    frames = [
        frame(1, event="metadata", data=b'{"run_id":"run"}'),
        frame(2, event="values|child:1|grandchild:2", data='{"é":"\U0001f600"}'.encode()),
        frame(3, event="tools", data=b"\x00\xff", namespace=("child:1", "grandchild:2"), node="n1", protocol=False),
        frame(2**62, data=b""),
    ]

    storage.events.post(frames[:2])
    storage.events.post([])
    storage.events.post(frames[2:])

    assert await storage.events.read(Feed("thread", "run"), 0, FOREVER, 100) == frames
    assert await storage.events.read(Feed("thread"), 0, FOREVER, 100) == frames


async def test_a_feed_has_its_own_events_only(storage: Storage) -> None:
    storage.events.post(
        [
            frame(1),
            frame(2, run_id="other"),
            frame(3, protocol=True),
            frame(4, thread_id="elsewhere", run_id="away"),
            frame(5, run_id=""),
            frame(6),
        ]
    )

    assert await seqs(storage, Feed("thread", "run")) == [1, 6]
    assert await seqs(storage, Feed("thread", "run", protocol=True)) == [3]
    assert await seqs(storage, Feed("thread")) == [1, 2, 5, 6]
    assert await seqs(storage, Feed("thread", protocol=True)) == [3]
    assert await seqs(storage, Feed("nowhere")) == []


@pytest.mark.parametrize("feed", [Feed("thread", "run"), Feed("thread")])
async def test_a_page_begins_after_the_last_one_and_ends_where_it_is_told_to(storage: Storage, feed: Feed) -> None:
    storage.events.post([frame(seq) for seq in (50, 10, 30, 20, 40)])

    assert await seqs(storage, feed, limit=2) == [10, 20]
    assert await seqs(storage, feed, after=20, limit=2) == [30, 40]
    assert await seqs(storage, feed, after=40, limit=2) == [50]
    assert await seqs(storage, feed, after=50) == []
    assert await seqs(storage, feed, after=10, upto=40) == [20, 30, 40]
    assert await seqs(storage, feed, after=40, upto=40) == []


async def test_an_event_posted_twice_is_there_once_as_it_was_first(storage: Storage) -> None:
    storage.events.post([frame(1), frame(2)])
    storage.events.post([frame(2, data=b"again"), frame(3)])

    assert await storage.events.read(Feed("thread", "run"), 0, FOREVER, 100) == [frame(1), frame(2), frame(3)]


async def test_everything_posted_before_is_read(storage: Storage) -> None:
    """Nobody waits for a post, so a read that overtook one would leave a gap in a replay for good."""
    for seq in range(1, 200):
        storage.events.post([frame(seq)])
        if seq % 20 == 0:
            assert await seqs(storage, Feed("thread", "run")) == list(range(1, seq + 1))


async def test_numbers_go_on_from_the_newest(kit: Kit) -> None:
    assert await kit.storage.events.newest() == 0
    kit.storage.events.post([frame(7), frame(3, protocol=True)])
    assert await seqs(kit.storage, Feed("thread", "run")) == [7]
    assert await kit.storage.events.newest() == 7

    kit.crash()

    assert await kit.storage.events.newest() == 7
    assert await kit.storage.events.read(Feed("thread", "run"), 0, FOREVER, 100) == [frame(7)]


async def test_a_run_may_be_forgotten_alone(storage: Storage) -> None:
    storage.events.post([frame(1), frame(2, protocol=True), frame(3, run_id="other")])

    storage.events.forget("run")
    storage.events.forget("absent")

    assert await seqs(storage, Feed("thread")) == [3]
    assert await seqs(storage, Feed("thread", protocol=True)) == []


async def tell(kit: Kit, thread_id: str, *run_ids: str) -> None:
    """Each run tells something in both dialects."""
    seq = await kit.storage.events.newest()
    for number, run_id in enumerate(run_ids):
        own = {"thread_id": thread_id, "run_id": run_id}
        kit.storage.events.post([frame(seq + 2 * number + 1, **own), frame(seq + 2 * number + 2, protocol=True, **own)])
    assert set(await tellers(kit, thread_id)) >= set(run_ids)


async def tellers(kit: Kit, thread_id: str) -> list[str]:
    """The runs whose events a thread's feeds still have, in both dialects."""
    both = [await kit.storage.events.read(Feed(thread_id, protocol=each), 0, FOREVER, 100) for each in (False, True)]
    assert [found.run_id for found in both[0]] == [found.run_id for found in both[1]]
    return [found.run_id for found in both[0]]


async def test_a_run_that_is_rolled_back_leaves_no_events(kit: Kit) -> None:
    thread_id = await kit.thread()
    first = await kit.running(thread_id)
    await tell(kit, thread_id, first.run_id)
    await kit.storage.runs.finish(first.run_id, first.attempt, Outcome(status="success"))
    second = await kit.running(thread_id)
    await tell(kit, thread_id, second.run_id)

    await kit.storage.runs.cancel(thread_id, [second.run_id], "rollback", "no")
    await kit.storage.runs.finish(second.run_id, second.attempt, Outcome(status="interrupted"))

    assert await tellers(kit, thread_id) == [first.run_id]


async def test_a_run_that_is_interrupted_keeps_its_events(kit: Kit) -> None:
    thread_id = await kit.thread()
    run = await kit.running(thread_id)
    await tell(kit, thread_id, run.run_id)

    await kit.storage.runs.cancel(thread_id, [run.run_id], "interrupt", "enough")
    await kit.storage.runs.finish(run.run_id, run.attempt, Outcome(status="interrupted"))

    assert await tellers(kit, thread_id) == [run.run_id]


async def test_a_run_that_is_deleted_leaves_no_events(kit: Kit) -> None:
    thread_id = await kit.thread()
    runs = [await kit.running(thread_id)]
    await kit.storage.runs.finish(runs[0].run_id, runs[0].attempt, Outcome(status="success"))
    runs.append(await kit.running(thread_id))
    await kit.storage.runs.finish(runs[1].run_id, runs[1].attempt, Outcome(status="success"))
    await tell(kit, thread_id, *(run.run_id for run in runs))

    await kit.storage.runs.delete(thread_id, runs[0].run_id)

    assert await tellers(kit, thread_id) == [runs[1].run_id]


@pytest.mark.parametrize("ended", [False, True])
async def test_a_thread_that_is_deleted_leaves_no_events(kit: Kit, ended: bool) -> None:
    threads = [await kit.thread(), await kit.thread()]
    for thread_id in threads:
        run = await kit.running(thread_id)
        await tell(kit, thread_id, run.run_id)
        if ended:
            await kit.storage.runs.finish(run.run_id, run.attempt, Outcome(status="success"))

    await kit.storage.threads.delete(threads[0])

    assert await tellers(kit, threads[0]) == []
    assert len(await tellers(kit, threads[1])) == 1


async def test_a_thread_that_lasts_as_long_as_its_run_leaves_no_events(kit: Kit) -> None:
    thread_id = await kit.thread(temporary=True)
    run = await kit.running(thread_id)
    await tell(kit, thread_id, run.run_id)

    await kit.storage.runs.finish(run.run_id, run.attempt, Outcome(status="success"))

    assert await tellers(kit, thread_id) == []


async def test_events_that_are_too_old_are_forgotten_unless_their_run_goes_on(kit: Kit) -> None:
    thread_id = await kit.thread()
    done = await kit.running(thread_id)
    await kit.storage.runs.finish(done.run_id, done.attempt, Outcome(status="success"))
    going = await kit.running(thread_id)
    of_done = {"thread_id": thread_id, "run_id": done.run_id}
    kit.storage.events.post([frame(seq, **of_done) for seq in (*range(1, 1201), 5000)])
    kit.storage.events.post([frame(2000, thread_id=thread_id, run_id=going.run_id)])

    assert await kit.storage.events.purge(5000) == 1200

    assert await seqs(kit.storage, Feed(thread_id, done.run_id)) == [5000]
    assert await seqs(kit.storage, Feed(thread_id, going.run_id)) == [2000]
