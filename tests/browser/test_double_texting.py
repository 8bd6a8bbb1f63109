"""A second message while the first is still being answered, from the same page and from another one."""

import time
from pathlib import Path

import httpx
import pytest

from tests.browser.browser import SOMETHING, Open
from tests.browser.messages import HALF, PARIS, ROME, settled, stored
from tests.wire.live import DEADLINE, POLL


def wait_for_two_runs(http: httpx.Client, thread: str) -> None:
    """Return once the server has the second message too."""
    deadline = time.monotonic() + DEADLINE
    while len(http.get(f"/threads/{thread}/runs").json()) < 2:
        assert time.monotonic() < deadline
        time.sleep(POLL)


@pytest.mark.parametrize(("strategy", "left"), [("interrupt", ["human: paris", *ROME]), ("rollback", ROME)])
def test_a_second_message_takes_the_place_of_the_first(
    open_tab: Open, page: str, http: httpx.Client, held: Path, strategy: str, left: list[str]
) -> None:
    tab = open_tab("chat")
    tab.say("paris")
    tab.until(messages=HALF)
    tab.say("rome", strategy)
    assert stored(http, settled(tab, page, left)) == left


def test_a_second_message_waits_for_the_first_answer(open_tab: Open, page: str, http: httpx.Client, held: Path) -> None:
    tab = open_tab("chat")
    tab.say("paris")
    tab.until(messages=HALF)
    tab.say("rome", "enqueue")
    tab.until(messages=HALF, status="running", queued="1" if page == "thread" else "0")
    held.unlink()
    shown = tab.until(messages=PARIS + ROME, status="idle", error="")
    assert stored(http, shown) == PARIS + ROME


def test_a_second_page_queues_behind_the_first(open_tab: Open, http: httpx.Client, held: Path) -> None:
    first = open_tab("chat")
    first.say("paris")
    thread = first.until(messages=HALF)["thread"]
    second = open_tab("chat", thread=thread)
    second.say("rome", "enqueue")
    wait_for_two_runs(http, thread)
    held.unlink()
    shown = second.until(messages=PARIS + ROME, status="idle", error="")
    assert stored(http, shown) == PARIS + ROME


def test_a_second_page_is_told_that_its_message_is_refused(open_tab: Open, http: httpx.Client, held: Path) -> None:
    first = open_tab("chat")
    first.say("paris")
    second = open_tab("chat", thread=first.until(messages=HALF)["thread"])
    second.say("rome", "reject")
    assert "already running" in second.until(error=SOMETHING)["error"]
    held.unlink()
    shown = first.until(messages=PARIS, status="idle", error="")
    assert stored(http, shown) == PARIS


@pytest.mark.parametrize("page", ["thread"])
def test_a_second_page_shows_the_answer_as_it_is_written(open_tab: Open, held: Path) -> None:
    first = open_tab("chat")
    first.say("paris")
    second = open_tab("chat", thread=first.until(messages=HALF)["thread"])
    second.until(messages=HALF, status="running")
    held.unlink()
    for tab in (first, second):
        tab.until(messages=PARIS, status="idle", error="")
