"""A listener who comes late is told what it needs to know, in the right place and once."""

import json
from typing import Any

import pytest

from turnkeeper.contracts import Frame
from turnkeeper.http.protocol.events import envelope
from turnkeeper.services.protocol.late import LateListener, Standing, requested, running
from turnkeeper.types import Ended

pytestmark = pytest.mark.anyio

NOW = 100


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Feed:
    """A subscription whose batches are written down."""

    since = NOW
    ended = None
    going = None

    def __init__(self, *batches: list[Frame]) -> None:
        self._batches = list(batches)
        self.closed = False

    async def ready(self) -> None:
        pass

    async def batch(self, timeout: float) -> list[Frame]:
        return self._batches.pop(0) if self._batches else []

    def finish(self, ended: Ended) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self.closed = True


def told(seq: int, method: str, run_id: str = "run", /, **data: Any) -> Frame:
    return Frame(seq, "thread", run_id, method, json.dumps(data).encode(), protocol=True)


def lifecycle(seq: int, event: str, run_id: str = "run") -> Frame:
    return told(seq, "lifecycle", run_id, event=event)


async def heard(standing: Standing, *batches: list[Frame]) -> list[tuple[int, str]]:
    """What a listener hears of all batches, as seq and event id."""

    async def look() -> Standing:
        return standing

    listener = LateListener(Feed(*batches), look)
    frames: list[Frame] = []
    for _ in range(len(batches) + 2):
        frames += await listener.batch(0)
    assert listener.caught_up
    return [(event["seq"], event["event_id"]) for event in map(json.loads, map(envelope, frames))]


def a_run() -> Standing:
    return Standing(running("thread", "run", "graph"))


async def test_a_run_that_was_not_told_to_run_is_told_to() -> None:
    assert await heard(a_run()) == [(NOW, "synth:run:lc||running")]


async def test_it_is_told_before_the_first_event_of_the_run() -> None:
    past = [lifecycle(10, "completed", "before"), told(20, "values"), told(30, "values")]
    ids = ["synth:before:lc||completed", "synth:run:lc||running", "20", "30"]
    assert await heard(a_run(), past) == list(zip([10, 19, 20, 30], ids, strict=True))


async def test_it_is_not_told_when_it_is_stored() -> None:
    past = [lifecycle(10, "running"), told(20, "values")]
    assert await heard(a_run(), past) == [(10, "synth:run:lc||running"), (20, "20")]


async def test_the_event_itself_is_dropped_when_it_comes_after_all() -> None:
    live = [lifecycle(101, "running"), told(102, "values")]
    assert await heard(a_run(), live) == [(NOW, "synth:run:lc||running"), (102, "102")]


async def test_a_run_that_ends_meanwhile_is_told_to_run_before_it_ends() -> None:
    assert await heard(a_run(), [], [lifecycle(101, "completed")]) == [
        (NOW, "synth:run:lc||running"),
        (101, "synth:run:lc||completed"),
    ]


async def test_a_question_is_told_unless_it_is_stored() -> None:
    asked = [requested("thread", "run", {"id": each, "value": "?"}) for each in ("one", "two")]
    past = [told(10, "input.requested", interrupt_id="one"), lifecycle(20, "interrupted")]
    assert await heard(Standing(asked=asked), past, []) == [
        (10, "synth:run:input||one"),
        (20, "synth:run:lc||interrupted"),
        (NOW, "synth:run:input||two"),
    ]


async def test_who_leaves_is_told_nothing() -> None:
    async def look() -> Standing:
        feed.close()
        return a_run()

    feed = Feed([told(10, "values")])
    assert await LateListener(feed, look).batch(0) == []


def test_an_event_goes_around_its_data() -> None:
    data = b'{"text":"\xc3\xa4"}'
    frame = Frame(1719000000000123, "thread", "run", "messages", data, ('a"b:1', "c:2"), "no\nde", protocol=True)
    assert data in envelope(frame)
    assert json.loads(envelope(frame)) == {
        "type": "event",
        "event_id": "1719000000000123",
        "seq": 1719000000000123,
        "method": "messages",
        "params": {
            "namespace": ['a"b:1', "c:2"],
            "timestamp": 1719000000000,
            "data": {"text": "ä"},
            "node": "no\nde",
        },
    }
