"""Messages as the pages write them: "human: paris", "ai: paris is lovely."."""

from typing import Any

import httpx

from tests.browser.browser import Shown, Tab

PARIS = ["human: paris", "ai: paris is lovely."]
ROME = ["human: rome", "ai: rome is lovely."]
HALF = ["human: paris", "ai: paris is"]
"""As far as the model gets while a test holds it."""


def settled(tab: Tab, page: str, messages: list[str]) -> Shown:
    """Wait until these are all messages, after a run was stopped in mid-sentence; what is shown then.

    What it had said by then is in no state. @langchain/react goes on to show it, below everything else, until the page
    is loaded anew: to it a message is gone once a state had it and the next one has not.
    """
    if page == "thread":
        tab.until(messages=[*messages, HALF[-1]], status="idle", error="")
        tab.reload()
    return tab.until(messages=messages, status="idle", error="")


def stored(http: httpx.Client, shown: Shown) -> list[str]:
    """The messages of the thread a page is at."""
    state = http.get(f"/threads/{shown['thread']}/state").raise_for_status().json()
    return [f"{message['type']}: {_text(message['content'])}" for message in state["values"]["messages"]]


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(block["text"] for block in content)
