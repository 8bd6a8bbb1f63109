"""Boots a named server in a fresh directory on a free loopback port, and stops it again."""

import asyncio
import compileall
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

from bench import proc
from bench.client import Client

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "bench" / "langgraph.json"
COMMANDS = {
    "ours": ["-m", "turnkeeper", "serve", "-c", str(CONFIG), "--port", "{port}", "--db", "{dir}/bench.db"],
    "floor": ["-m", "bench.floor", "--port", "{port}"],
    "floor_sqlite": ["-m", "bench.floor", "--port", "{port}", "--db", "{dir}/bench.db"],
}
BOOT_DEADLINE = 60.0
STOP_DEADLINE = 15.0


class BootError(RuntimeError):
    """A server did not answer in time, or died."""


@dataclass(frozen=True)
class Server:
    """A running server."""

    name: str
    port: int
    directory: Path
    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        """The root of its process tree."""
        return self.process.pid

    def log_tail(self) -> str:
        """The last lines it printed."""
        return "\n".join((self.directory / "log").read_text(errors="replace").splitlines()[-15:])


def precompile() -> None:
    """Compile our modules once, so that no boot pays for it."""
    for folder in ("bench", "src"):
        compileall.compile_dir(ROOT / folder, quiet=2)


@contextlib.asynccontextmanager
async def boot(name: str) -> AsyncGenerator[Server, None]:
    """Run a server for the length of the block; its files go with it."""
    server = spawn(name, COMMANDS[name], Path(tempfile.mkdtemp(prefix=f"bench-{name}-")))
    try:
        await until_ok(server)
        yield server
    finally:
        await asyncio.to_thread(stop, server)
        shutil.rmtree(server.directory, ignore_errors=True)


def spawn(name: str, command: list[str], directory: Path) -> Server:
    """Start a server; ``{port}`` and ``{dir}`` in its command stand for where it listens and where its files are."""
    port = free_port()
    command = [part.format(port=port, dir=directory) for part in command]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=directory,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Server(name, port, directory, process)


def _environment() -> dict[str, str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false"}
    # Otherwise each boot compiles every dependency again, which no user pays.
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    return env


def free_port() -> int:
    """A port of the loopback nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def until_ok(server: Server) -> None:
    """Wait until a server answers. Raises `BootError`."""
    client = Client(server.port)
    deadline = time.monotonic() + BOOT_DEADLINE
    while not await _is_ok(client):
        if server.process.poll() is not None or time.monotonic() > deadline:
            raise BootError(f"{server.name} did not come up:\n{server.log_tail()}")
        await asyncio.sleep(0.03)
    client.close()


async def _is_ok(client: Client) -> bool:
    try:
        return (await client.request("GET", "/ok")).status == 200
    except OSError:
        return False


def stop(server: Server) -> None:
    """End a server's processes."""
    pids = list(proc.tree(server.pid))
    server.process.terminate()
    try:
        server.process.wait(STOP_DEADLINE)
    except subprocess.TimeoutExpired:
        for pid in pids:
            _kill(pid)
        server.process.wait()


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
