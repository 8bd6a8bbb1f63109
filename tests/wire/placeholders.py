"""What differs from run to run (ids, times, versions), replaced by names that do not."""

import re
from collections.abc import Callable

PATTERNS: dict[str, str] = {
    "uuid": r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "hash": r"\b[0-9a-f]{32}\b",
    "version": r"\b\d{32}\.0\.\d+\b",
    "time": r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)",
}
ANY = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in PATTERNS.items()))


class Placeholders:
    """Names what it sees in the order in which it sees it; the same thing always by the same name."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._counts: dict[str, int] = {}

    def fill(self, text: str) -> str:
        """The text with names in place of what differs. Times are all alike: two of them may be the same or not."""
        return ANY.sub(self._name, text)

    def number(self, kind: str, given: str) -> str:
        """A name for something no pattern finds."""
        if given not in self._names:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            self._names[given] = f"<{kind} {self._counts[kind]}>"
        return self._names[given]

    def _name(self, found: re.Match[str]) -> str:
        kind = found.lastgroup or ""
        return "<time>" if kind == "time" else self.number(kind, found[0])


def filled(texts: list[str], fill: Callable[[], Placeholders] = Placeholders) -> list[str]:
    """The texts of one run with names for what differs."""
    placeholders = fill()
    return [placeholders.fill(text) for text in texts]
