"""Watch the user's code and start the server anew when it changes; the sockets stay open meanwhile."""

import os
import signal
import socket
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from watchfiles import Change, DefaultFilter, watch

from turnkeeper.cli.child import Child
from turnkeeper.cli.screen import Screen
from turnkeeper.config import load_settings
from turnkeeper.errors import ConfigError

TICK = 200
"""Milliseconds between two looks at whether the server is still there."""

Changes = set[tuple[Change, str]]


class Reloader:
    """Keeps one server running, of the code as it was last saved."""

    def __init__(self, screen: Screen, config: Path, command: Sequence[str], sockets: list[socket.socket]) -> None:
        self._screen = screen
        self._config = config
        self._command = [*command, *(word for each in sockets for word in ("--listen-fd", str(each.fileno())))]
        self._sockets = sockets
        # The server's, before our own look at the file's `env`: what is set already would win over a later change.
        self._environ = dict(os.environ)
        self._stop = threading.Event()
        self._signal: int | None = None

    def run(self) -> int:
        """Until Ctrl-C (130), SIGTERM (0), or the first server ends by itself (its exit code)."""
        folders = self._folders()
        with self._signals():
            child = self._start(None, first=True)
            try:
                while not self._stop.is_set():
                    child, code = self._watch(folders, child)
                    if code is not None:
                        return code
                    folders = self._folders()
            finally:
                if child:
                    child.stop()
        return 130 if self._signal == signal.SIGINT else 0

    def _watch(self, folders: tuple[Path, ...], child: Child | None) -> tuple[Child | None, int | None]:
        """Restart at every change, until told to stop or there are other folders to watch."""
        first = True
        for changes in self._changes(folders):
            if changes:
                first = False
                if child:
                    child.stop()
                child = self._start(_named(changes, self._config.parent))
                if self._folders() != folders:
                    break
            elif child and child.exit_code is not None:
                code = child.wait()
                if first:
                    return None, code
                child = None
        return child, None

    def _start(self, changed: str | None, *, first: bool = False) -> Child | None:
        """A server, or a card if there is nothing it could read; then the next save is waited for."""
        try:
            load_settings(self._config)
        except ConfigError as error:
            if first and not self._config.exists():
                raise
            self._screen.cards([error])
            return None
        finally:
            os.environ.clear()
            os.environ.update(self._environ)
        command = [*self._command, *(["--changed", changed] if changed else [])]
        return Child(command, pass_fds=[each.fileno() for each in self._sockets], environ=self._environ)

    def _folders(self) -> tuple[Path, ...]:
        root = self._config.parent
        try:
            dependencies = load_settings(self._config).dependencies
        except ConfigError:
            dependencies = ()
        return (root, *(folder for folder in dependencies if not folder.is_relative_to(root.resolve())))

    def _changes(self, folders: Iterable[Path]) -> Iterator[Changes]:
        return watch(
            *folders,
            watch_filter=_Sources(self._config),
            stop_event=self._stop,
            rust_timeout=TICK,
            yield_on_timeout=True,
        )

    @contextmanager
    def _signals(self) -> Generator[None]:
        """Note Ctrl-C and SIGTERM instead of being torn out of the middle of something."""

        def note(number: int, _frame: object) -> None:
            self._signal = self._signal or number
            self._stop.set()

        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class _Sources(DefaultFilter):
    """Python files, `langgraph.json` and `.env`; not what lies in environments and caches."""

    def __init__(self, config: Path) -> None:
        super().__init__()
        self._config = config.name

    def __call__(self, change: Change, path: str) -> bool:
        name = os.path.basename(path)  # noqa: PTH119  called for every file that changes
        return (name.endswith(".py") or name == self._config or name.startswith(".env")) and super().__call__(
            change, path
        )


def _named(changes: Changes, root: Path) -> str:
    """`agent.py`, or `agent.py and 2 more`."""
    names = sorted({os.path.relpath(path, root) for _, path in changes})
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")
