"""A real Chromium that shows the pages, steered through driver.mjs."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

HERE = Path(__file__).parent

Shown = dict[str, Any]
"""What a page shows: `messages` ("type: text" each), `status`, `error`, `question`, `queued`, `thread`."""
SOMETHING = None
"""Stands for whatever is shown, as long as something is: `tab.until(error=SOMETHING)`."""


class Browser:
    """One browser for all tests. It is waited for when it is first asked for something."""

    def __init__(self) -> None:
        self._driver = subprocess.Popen(
            ["node", str(HERE / "driver.mjs")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._driver.communicate(timeout=10)
        finally:
            self._driver.kill()

    def ask(self, verb: str, **request: Any) -> Any:
        """What driver.mjs answers to one of its verbs; fails with its error."""
        assert self._driver.stdin is not None
        self._driver.stdin.write(json.dumps({"verb": verb, **request}) + "\n")
        self._driver.stdin.flush()
        return self._answer()

    def lay_line(self, url: str) -> str:
        """Another address of that server, whose connections `cut_line` breaks."""
        return self.ask("lay", url=url)

    def cut_line(self) -> None:
        """Break all connections made through a line; new ones can be made at once."""
        self.ask("cut")

    def _answer(self) -> Any:
        assert self._driver.stdout is not None
        line = self._driver.stdout.readline()
        assert line, "the browser's driver ended; standard error says why"
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer["result"]


class Tab:
    """A tab with a page in it, in a profile of its own: another person's, or another machine's."""

    def __init__(self, browser: Browser, page: str, **query: str) -> None:
        """`query` is what the page's address says: `api`, `assistant` and perhaps `thread`."""
        self._browser = browser
        self._tab: int = browser.ask("open", page=page, query=query)

    def say(self, text: str, strategy: str | None = None) -> None:
        """Type a message and press Enter; `strategy` is its multitask strategy."""
        self._enter("say", text if strategy is None else f"{strategy}> {text}")

    def answer(self, text: str) -> None:
        """Answer the question that is shown."""
        self._enter("answer", text)

    def stop(self) -> None:
        """Press the stop button."""
        self._browser.ask("press", tab=self._tab, name="stop")

    def reload(self) -> None:
        """Load the page anew, as the person at it would."""
        self._browser.ask("reload", tab=self._tab)

    def until(self, **expected: Any) -> Shown:
        """Wait until all of this is shown; what is shown then. Fails with what is shown instead."""
        found = self._browser.ask("until", tab=self._tab, expected=expected)
        assert found["met"], f"expected {expected}\nbut shown is {found['shown']}\nconsole: {found['complaints']}"
        return found["shown"]

    @property
    def seen(self) -> list[Shown]:
        """Everything shown since the page was loaded, in order."""
        return self._browser.ask("seen", tab=self._tab)

    @property
    def complaints(self) -> list[str]:
        """The errors of the page's console."""
        return self._browser.ask("complaints", tab=self._tab)

    def headers(self, url: str, **init: Any) -> dict[str, Any]:
        """The `status` and the `headers` a page may read of the answer to a request of its own."""
        return self._browser.ask("headers", tab=self._tab, url=url, init=init)

    def close(self) -> None:
        """Close the tab with its profile."""
        self._browser.ask("close", tab=self._tab)

    def _enter(self, line: str, text: str) -> None:
        self._browser.ask("enter", tab=self._tab, line=line, text=text)


Open = Callable[..., Tab]
"""Open a tab: `open_tab("chat")` with that assistant, `open_tab("chat", thread=ID)` at a thread there is."""
