"""Servers that start in a tenth of a second: forked from a process that has imported everything already.

That makes hundreds of restarts affordable. What runs in the child is the `serve` command, whole, up to the end of its
interpreter.
"""

import faulthandler
import gc
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, Self

from tests.wire.live import DEADLINE, Gates, Live

ROOT = Path(__file__).parents[1]
IMPORTED = (
    "turnkeeper.server.serving",
    "turnkeeper.server.composition",
    "turnkeeper.graphs.loader",
    "turnkeeper.storage.sqlite.storage",
    "turnkeeper.storage.postgres.storage",
    "redis.asyncio",
    "langgraph.prebuilt",
    "uvicorn.lifespan.on",
    "turnkeeper.cli.banner",
    "turnkeeper.cli.listening",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.auto",
)
"""What takes its time."""


class Child:
    """A process of the nursery: the part of `Popen` that `Live` uses."""

    def __init__(self, pid: int, nursery: "Nursery") -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._nursery = nursery
        self._handle = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """Its exit code, or `None` while it runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; its exit code."""
        if self.returncode is None:
            if not select.select([self._handle], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("serve", timeout or 0.0)
            os.close(self._handle)
            self.returncode = self._nursery.ask({"ended": self.pid})
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            signal.pidfd_send_signal(self._handle, signal.Signals(number))

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it without a warning."""
        self.send_signal(signal.SIGKILL)


class Forked(Live):
    """A server of the nursery, on a port that stays the same over restarts."""

    def __init__(self, folder: Path, process: Child, port: int, gates: Path) -> None:
        self.folder = folder
        self.log = folder / "server.log"
        self.gates = Gates(gates)
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.process: Any = process


Start = Callable[..., Forked]
"""Start a server, or start it again: `start(TURNKEEPER_CANCEL_GRACE="1")`. It is ready when this returns."""


class Nursery:
    """The process servers are forked from."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.nursery"],
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

    def start(self, folder: Path, port: int, config: Path, **environ: str) -> Forked:
        """Start a server of this `langgraph.json`; it is not ready yet.

        With a `DATABASE_URI` it is on PostgreSQL, else on a file in its folder. Its gates are there, too, unless
        `GATES` says otherwise.
        """
        environ = {"GATES": str(folder / "gates"), **environ}
        order = {"folder": str(folder), "port": port, "config": str(config), "environ": environ}
        return Forked(folder, Child(self.ask(order), self), port, Path(environ["GATES"]))

    def ask(self, order: dict[str, Any]) -> int:
        """Have it do something; its answer."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def main() -> None:
    """Import what a server imports; then fork one, or say how one ended, for every line that comes in."""
    for name in IMPORTED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a child that collects its garbage need not look through, and so copy, what it shares with us
    for line in sys.stdin:
        order = json.loads(line)
        if "ended" in order:
            answer = os.waitstatus_to_exitcode(os.waitpid(order["ended"], 0)[1])
        elif (answer := os.fork()) == 0:
            serve(order)
        print(answer, flush=True)


def serve(order: dict[str, Any]) -> NoReturn:
    """The child: what `turnkeeper serve` does in a process of its own."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # until it has begun it has nothing to end
    from turnkeeper.cli import main as turnkeeper

    folder, config = Path(order["folder"]), Path(order["config"])
    log = os.open(folder / "server.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for handle, standard in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(handle, standard)
    faulthandler.register(signal.SIGUSR1)  # what it does, for who wonders why it does not end
    os.environ |= order["environ"]
    os.chdir(config.parent)
    database = [] if "DATABASE_URI" in order["environ"] else ["--db", str(folder / "turnkeeper.db")]
    begun = time.monotonic()
    try:
        turnkeeper(["serve", "-c", str(config), "--port", str(order["port"]), *database])
    finally:
        print(f"left after {time.monotonic() - begun:.3f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
