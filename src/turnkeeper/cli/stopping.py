"""What a server has to do with the process that started it: it stops with it."""

import os
import signal
import threading
from contextlib import suppress
from typing import NoReturn


class Stopped(BaseException):
    """SIGTERM arrived. No `SystemExit`: modules of the user's that raise one of those do not end the server."""


def stop_on_sigterm() -> None:
    """Raise `Stopped` on SIGTERM, wherever we are then."""
    signal.signal(signal.SIGTERM, _stop)


def stop_with_parent(parent_fd: int | None) -> None:
    """Ask ourselves to stop once the process that started us is gone, however it went."""
    if parent_fd is not None:
        threading.Thread(target=_await_end, args=(parent_fd,), daemon=True, name="parent").start()


def tell_parent(parent_fd: int | None, word: bytes) -> None:
    """Say something on the line to the process that started us."""
    if parent_fd is not None:
        os.write(parent_fd, word)


def _stop(_signal: int, _frame: object) -> NoReturn:
    raise Stopped


def _await_end(descriptor: int) -> None:
    with suppress(ConnectionError):
        os.read(descriptor, 1)
    os.kill(os.getpid(), signal.SIGTERM)
