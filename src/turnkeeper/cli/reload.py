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
from turnkeeper.config import Settings, load_settings
from turnkeeper.errors import ConfigError

TICK = 50
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
        self._child: Child | None = None
        self._changed: str | None = None
        self._was_ready = False
        self._stop = threading.Event()
        self._exit_code: int | None = None

    def run(self) -> int:
        """Until Ctrl-C (130), SIGTERM (0), or the first server ends by itself (its exit code)."""
        if not self._config.exists():
            load_settings(self._config)  # there is nothing to wait for: raise what a server would
        with self._signals():
            try:
                while self._exit_code is None:
                    self._watch(self._folders())
            finally:
                self._stop_child()
        return self._exit_code

    def _watch(self, folders: tuple[Path, ...]) -> None:
        """Start a server now and after every change, until told to stop or there are other folders to watch."""
        due = True  # only now: a change that comes while the server starts is seen
        for changes in self._changes(folders):
            if changes:
                self._changed, due = _named(changes, self._config.parent), True
                if self._folders() != folders:
                    return
            if due:
                self._stop_child()
                self._child, due = self._start(), False
            elif self._child and self._child.exit_code is not None:
                self._ended()
            if self._exit_code is not None:
                return

    def _start(self) -> Child | None:
        """A server, or a card if there is nothing it could read; then the next save is waited for."""
        try:
            self._read_settings()
        except ConfigError as error:
            self._screen.cards([error])
            return None
        command = [*self._command, *(["--changed", self._changed] if self._changed and self._was_ready else [])]
        return Child(command, pass_fds=[each.fileno() for each in self._sockets], environ=self._environ)

    def _stop_child(self) -> None:
        if self._child:
            self._was_ready = self._was_ready or self._child.was_ready
            self._child.stop()
            self._child = None

    def _ended(self) -> None:
        """The server ended by itself. After a change the next may mend it; before, nothing would."""
        code = self._child.exit_code if self._child else None
        self._stop_child()
        if self._changed is None:
            self._exit_code = code

    def _read_settings(self) -> Settings:
        try:
            return load_settings(self._config)
        finally:
            os.environ.clear()
            os.environ.update(self._environ)

    def _folders(self) -> tuple[Path, ...]:
        root = self._config.parent
        try:
            dependencies = self._read_settings().dependencies
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
            self._exit_code = 130 if number == signal.SIGINT else 0
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
