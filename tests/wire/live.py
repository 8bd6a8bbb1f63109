"""A real server process for tests, and the gates that hold the nodes it runs."""

import asyncio
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

import httpx

APP = Path(__file__).parent / "app" / "langgraph.json"
DEADLINE = 40.0
"""Seconds anything in these tests may take before it counts as broken."""
POLL = 0.005


class Live:
    """A server on a free port of this machine, with its database, log and gates in `folder`.

    The same folder can be served again after `stop` or `kill`: `Live(folder)` takes up the database it finds.
    """

    def __init__(self, folder: Path, *, config: Path = APP, **environ: str) -> None:
        """`environ` is added to the environment, e.g. `TURNKEEPER_CANCEL_GRACE="1"`."""
        self.folder = folder
        self.log = folder / "server.log"
        self.gates = Gates(folder / "gates")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "turnkeeper", "serve", "-c", str(config)]
        command += ["--port", str(self.port), "--db", str(folder / "turnkeeper.db")]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=config.parent,
                env={**os.environ, "GATES": str(self.gates.folder), **environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Self:
        try:
            self.wait_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait_ready(self) -> None:
        """Return once the server answers; fail with its log if it does not."""
        deadline = time.monotonic() + DEADLINE
        with httpx.Client(base_url=self.url) as http:
            while not _answers(http):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"the server did not start\n{self.log.read_text()}")
                time.sleep(POLL)

    def stop(self) -> int:
        """Ask it to stop, as a service manager does; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the server did not stop\n{self.log.read_text()}") from None

    def kill(self) -> None:
        """End it without a warning, as a power cut does."""
        self.process.kill()
        self.process.wait()


class Gates:
    """The test's side of `app/gates.py`. A place is `TAG.node`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def hold(self, thread_id: str, *places: str) -> None:
        """Let nodes wait at these places. Call it before the run is created."""
        for place in places:
            hold = self._hold(thread_id, place)
            hold.parent.mkdir(exist_ok=True)
            hold.touch()

    def let(self, thread_id: str, *places: str) -> None:
        """Let the nodes that wait there go on."""
        for place in places:
            self._hold(thread_id, place).unlink(missing_ok=True)

    def let_all(self, thread_id: str) -> None:
        """Let every node of the thread that waits go on."""
        for hold in (self.folder / thread_id).glob("*.hold"):
            hold.unlink(missing_ok=True)

    async def started(self, thread_id: str, place: str, times: int = 1) -> None:
        """Wait until a node is there (for the `times`-th time)."""
        await self.noted(thread_id, f"{place} began", times)

    async def noted(self, thread_id: str, event: str, times: int = 1) -> None:
        """Wait until the log of the thread has this line."""
        deadline = time.monotonic() + DEADLINE
        while self.log(thread_id).count(event) < times:
            if time.monotonic() > deadline:
                raise AssertionError(f"'{event}' did not happen; the thread's log is {self.log(thread_id)}")
            await asyncio.sleep(POLL)

    def wait_started(self, thread_id: str, place: str) -> None:
        """`started` for tests that are no coroutines."""
        asyncio.run(self.started(thread_id, place))

    def visits(self, thread_id: str) -> list[str]:
        """The places in the order in which nodes came there."""
        return [event.removesuffix(" began") for event in self.log(thread_id) if event.endswith(" began")]

    def log(self, thread_id: str) -> list[str]:
        """Everything the nodes of the thread told, in order."""
        log = self.folder / thread_id / "log"
        return log.read_text().splitlines() if log.exists() else []

    def _hold(self, thread_id: str, place: str) -> Path:
        return self.folder / thread_id / f"{place}.hold"


def free_port() -> int:
    """A port nobody listens on, below those the system gives to connections: none takes it before a server does."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _answers(http: httpx.Client) -> bool:
    try:
        return http.get("/ok").status_code == 200
    except httpx.TransportError:
        return False
