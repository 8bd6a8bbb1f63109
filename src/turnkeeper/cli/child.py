"""A server as a child process that never outlives its parent."""

import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from typing import IO, Any

READY = b"r"
PATIENCE = 30.0
"""Seconds a server that was asked to stop is waited for; it normally needs a fraction of one."""


class Child:
    """A running server. It holds one end of a line to us: it says there when it is ready, and stops if we are gone."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        pass_fds: Sequence[int] = (),
        environ: Mapping[str, str] | None = None,
        output: IO[Any] | None = None,
    ) -> None:
        self._line, theirs = socket.socketpair()
        self._line.setblocking(False)
        self._process = subprocess.Popen(  # noqa: S603  our own command
            [*command, "--parent-fd", str(theirs.fileno())],
            pass_fds=(*pass_fds, theirs.fileno()),
            env=environ,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
        )
        theirs.close()

    @property
    def exit_code(self) -> int | None:
        """`None` while it runs."""
        return self._process.poll()

    @property
    def was_ready(self) -> bool:
        """Whether it has served."""
        try:
            return self._line.recv(1, socket.MSG_PEEK) == READY
        except BlockingIOError:
            return False

    def stop(self) -> int:
        """Let it finish what it must, and wait for that; its exit code."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self.wait(None)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""
        code = self._process.wait(timeout)
        self._line.close()
        return code
