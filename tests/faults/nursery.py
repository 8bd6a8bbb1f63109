"""Servers that start in a tenth of a second: forked from a process that has imported everything already.

That makes hundreds of restarts affordable. What runs in the child is the `serve` command, whole.
"""

import importlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

from tests.wire.live import DEADLINE, Gates, Live

ROOT = Path(__file__).parents[2]
APP = Path(__file__).parent / "app" / "langgraph.json"
IMPORTED = (
    "turnkeeper.server",
    "turnkeeper.graphs.loader",
    "langgraph.prebuilt",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.httptools_impl",
)
"""What takes its time."""


class Child:
    """A process that is not ours to wait for, but can be watched: the part of `Popen` that `Live` uses."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._handle = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """Something once it has ended; its exit code is not known."""
        return 0 if select.select([self._handle], [], [], 0)[0] else None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""
        if not select.select([self._handle], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired("serve", timeout or 0.0)
        return 0

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            signal.pidfd_send_signal(self._handle, signal.Signals(number))

    def kill(self) -> None:
        """End it without a warning."""
        self.send_signal(signal.SIGKILL)


class Forked(Live):
    """A server of the nursery, on a port that stays the same over restarts."""

    def __init__(self, folder: Path, pid: int, port: int) -> None:
        self.folder = folder
        self.log = folder / "server.log"
        self.gates = Gates(folder / "gates")
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.process: Any = Child(pid)


class Nursery:
    """The process servers are forked from."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.nursery"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(DEADLINE)
        assert self._process.stdout
        self._process.stdout.close()

    def start(self, folder: Path, port: int, **environ: str) -> Forked:
        """Start a server; it is not ready yet."""
        assert self._process.stdin
        assert self._process.stdout
        order = {"folder": str(folder), "port": port, "environ": environ}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return Forked(folder, int(self._process.stdout.readline()), port)


def main() -> None:
    """Import what a server imports, then fork one for every line that comes in."""
    for name in IMPORTED:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody here waits for them
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            serve(json.loads(line))
        print(pid, flush=True)


def serve(order: dict[str, Any]) -> None:
    """The child: what `turnkeeper serve` does in a process of its own."""
    from turnkeeper.cli import main as turnkeeper

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    folder = Path(order["folder"])
    log = os.open(folder / "server.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for handle, standard in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(handle, standard)
    os.environ |= {"GATES": str(folder / "gates"), **order["environ"]}
    os.chdir(APP.parent)
    begun = time.monotonic()
    try:
        turnkeeper(["serve", "-c", str(APP), "--port", str(order["port"]), "--db", str(folder / "turnkeeper.db")])
    finally:
        print(f"left after {time.monotonic() - begun:.3f} s", file=sys.stderr, flush=True)
        os._exit(0)


if __name__ == "__main__":
    main()
