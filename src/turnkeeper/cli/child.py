"""A server as a child process that never outlives its parent."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import IO, Any

PATIENCE = 30.0
"""Seconds a server that was asked to stop is waited for; it normally needs a fraction of one."""


class Child:
    """A running server. It holds one end of a pipe, and stops by itself when ours is gone."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        pass_fds: Sequence[int] = (),
        environ: Mapping[str, str] | None = None,
        output: IO[Any] | None = None,
    ) -> None:
        theirs, self._ours = os.pipe()
        self._process = subprocess.Popen(  # noqa: S603  our own command
            [*command, "--parent-fd", str(theirs)],
            pass_fds=(*pass_fds, theirs),
            env=environ,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
        )
        os.close(theirs)

    @property
    def exit_code(self) -> int | None:
        """`None` while it runs."""
        return self._process.poll()

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
        if self._ours is not None:
            os.close(self._ours)
            self._ours = None
        return code
