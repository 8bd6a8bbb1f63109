"""What people see of a chat, in a browser, with the React hooks they use unchanged."""

from pathlib import Path

import httpx

from tests.browser.browser import Browser, Open
from tests.browser.messages import HALF, PARIS, ROME, settled, stored
from tests.wire.live import Live


def test_words_appear_while_the_model_still_speaks(open_tab: Open, http: httpx.Client, held: Path) -> None:
    tab = open_tab("chat")
    tab.say("paris")
    tab.until(messages=HALF, status="running")
    held.unlink()
    shown = tab.until(messages=PARIS, status="idle", error="")
    assert stored(http, shown) == PARIS


def test_a_chat_goes_on_where_it_was(open_tab: Open, http: httpx.Client) -> None:
    tab = open_tab("chat")
    tab.say("paris")
    tab.until(messages=PARIS, status="idle")
    tab.say("rome")
    shown = tab.until(messages=PARIS + ROME, status="idle", error="")
    assert stored(http, shown) == PARIS + ROME


def test_a_person_is_asked_and_answers(open_tab: Open, http: httpx.Client) -> None:
    tab = open_tab("booking")
    tab.say("oslo")
    tab.until(question="Book oslo?", status="idle", messages=["human: oslo"])
    tab.answer("yes")
    shown = tab.until(question="", status="idle", messages=["human: oslo", "ai: Answered: yes."], error="")
    assert stored(http, shown) == shown["messages"]


def test_a_question_is_still_there_after_a_reload(open_tab: Open) -> None:
    tab = open_tab("booking")
    tab.say("oslo")
    tab.until(question="Book oslo?", status="idle")
    tab.reload()
    tab.until(question="Book oslo?", status="idle", messages=["human: oslo"])
    tab.answer("no")
    tab.until(question="", status="idle", messages=["human: oslo", "ai: Answered: no."], error="")


def test_a_page_reloaded_in_mid_answer_shows_all_of_it_once(open_tab: Open, http: httpx.Client, held: Path) -> None:
    tab = open_tab("chat")
    tab.say("paris")
    tab.until(messages=HALF)
    tab.reload()
    tab.until(messages=HALF, status="running")
    held.unlink()
    shown = tab.until(messages=PARIS, status="idle", error="")
    assert stored(http, shown) == PARIS
    assert all(len(before["messages"]) <= 2 for before in tab.seen)


def test_an_answer_survives_a_lost_connection(
    open_tab: Open, browser: Browser, server: Live, http: httpx.Client, held: Path
) -> None:
    tab = open_tab("chat", api=browser.lay_line(server.url))
    tab.say("paris")
    tab.until(messages=HALF)
    browser.cut_line()
    held.unlink()
    shown = tab.until(messages=PARIS, status="idle", error="")
    assert stored(http, shown) == PARIS


def test_what_goes_wrong_in_a_node_is_shown(open_tab: Open) -> None:
    tab = open_tab("broken")
    tab.say("paris")
    tab.until(status="idle", messages=["human: paris"], error="the map is upside down", question="")


def test_the_stop_button_stops_the_run(open_tab: Open, page: str, http: httpx.Client, held: Path) -> None:
    tab = open_tab("chat")
    tab.say("paris")
    shown = tab.until(messages=HALF, status="running")
    runs = f"/threads/{shown['thread']}/runs"
    run = f"{runs}/{http.get(runs).json()[0]['run_id']}"
    tab.stop()
    tab.until(status="idle", error="")
    http.get(f"{run}/join")
    assert http.get(run).json()["status"] == "interrupted"
    tab.say("rome")
    shown = settled(tab, page, ["human: paris", *ROME])
    assert stored(http, shown) == shown["messages"]
