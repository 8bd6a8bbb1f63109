"""Several servers and workers on one PostgreSQL, and what may happen to them and to the ways between them."""

import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from tests.cluster.roads import Roads, Way
from tests.conformance.redis_kit import RedisServer
from tests.nursery import Forked, Nursery
from tests.wire.live import DEADLINE, POLL, Gates, free_port

LEASE = 1.0
"""Seconds a worker may be silent."""

ROLES = ("all", "api", "api", "worker", "worker")
"""Three servers, of which one executes runs, too, and two workers."""

SERVER = Path(__file__).parents[1] / "conformance" / "postgres_server.py"

BUSES = ("redis", "postgres")
"""What processes tell each other things by."""


class PostgresServer:
    """A server of our own, which outlives the kills it gets: what it has taken, it keeps."""

    def __init__(self) -> None:
        command = [sys.executable, str(SERVER)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._uri = self._answer()
        self.socket = f"{conninfo_to_dict(self._uri)['host']}/.s.PGSQL.5432"
        with psycopg.connect(self._uri, autocommit=True) as connection:
            connection.execute("alter system set synchronous_commit = on")
            connection.execute("alter system set max_connections = 300")
        self.restart()

    def close(self) -> None:
        self._process.communicate()

    def database(self) -> str:
        """The name of a new, empty database."""
        name = f"t{uuid4().hex}"
        with psycopg.connect(self._uri, autocommit=True) as connection:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        return name

    def uri(self, database: str) -> str:
        """How tests reach a database: directly."""
        return self._uri.replace("/postgres?", f"/{database}?")

    def stop(self) -> None:
        """Kill it: whatever is under way is undone."""
        self._ask("stop")

    def start(self) -> None:
        """Start it again."""
        self._ask("start")

    def restart(self) -> None:
        """Both."""
        self.stop()
        self.start()

    def _ask(self, order: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{order}\n")
        self._process.stdin.flush()
        self._answer()

    def _answer(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()


@dataclass(frozen=True)
class Fault:
    """Something that happened to all processes or to those of some boots, from when to when (`time.monotonic`)."""

    what: str
    begin: float
    end: float
    boots: frozenset[int] = frozenset()
    """Empty: all."""

    def hits(self, boot: int) -> bool:
        """Whether it happened to a process."""
        return not self.boots or boot in self.boots


@dataclass(eq=False)
class Member:
    """One place for a process: its port and its ways stay the same over restarts."""

    name: str
    role: str
    folder: Path
    postgres: Way
    redis: Way | None
    port: int = field(default_factory=free_port)
    boot: int = 0
    live: Forked | None = None
    stopped: bool = False
    """Whether it is paused: it hears no other signal then."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def process(self) -> Forked:
        assert self.live is not None, f"{self.name} is not there"
        return self.live


@dataclass(eq=False)
class Services:
    """What a cluster stands on; one of each per session."""

    nursery: Nursery
    roads: Roads
    postgres: PostgresServer
    redis: RedisServer


class Cluster:
    """Processes that serve one `langgraph.json` from one database. Their nodes share gates and a log."""

    def __init__(
        self,
        services: Services,
        folder: Path,
        config: Path,
        *,
        bus: str = "redis",
        roles: Sequence[str] = ROLES,
        **environ: str,
    ) -> None:
        """`environ` is added to the environment of all."""
        self.services = services
        self.folder = folder
        self.gates = Gates(folder / "gates")
        self._config = config
        self._bus = bus
        self._environ = {"TURNKEEPER_LEASE": str(LEASE), "TURNKEEPER_POSTGRES_CONNECTIONS": "6", **environ}
        self.database = services.postgres.database()
        self.uri = services.postgres.uri(self.database)
        self.boots = 0
        self.faults: list[Fault] = []
        self.members = [self._member(role, number) for number, role in enumerate(roles)]

    def _member(self, role: str, number: int) -> Member:
        name = f"{role}-{number}"
        (folder := self.folder / name).mkdir(parents=True, exist_ok=True)
        postgres = self.services.roads.open(self.services.postgres.socket)
        redis = self.services.roads.open(str(self.services.redis.port)) if self._bus == "redis" else None
        return Member(name, role, folder, postgres, redis)

    def __enter__(self) -> Self:
        try:
            self.start(*self.members)
        except BaseException:
            self.kill(*self.members)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill(*self.members)

    def join(self, role: str) -> Member:
        """One more, who is ready when this returns."""
        member = self._member(role, self.boots)
        self.start(member)
        self.members.append(member)
        return member

    def leave(self, *members: Member) -> None:
        """Nobody asks these any more, whose runs others take over."""
        for member in members:
            self.members.remove(member)
        self.drain(*members)

    @property
    def servers(self) -> list[Member]:
        """Those that answer requests."""
        return [member for member in self.members if member.role != "worker"]

    @property
    def workers(self) -> list[Member]:
        """Those that execute runs."""
        return [member for member in self.members if member.role != "api"]

    def named(self, name: str) -> Member:
        """The member of this name."""
        return next(member for member in self.members if member.name == name)

    def someone(self, chance: random.Random) -> Callable[[], str]:
        """Any server for each request, as a load balancer that knows nothing of them would choose it."""
        return lambda: chance.choice(self.servers).url

    def begin(self, *members: Member, **environ: str) -> None:
        """Start processes; they are not ready yet."""
        for member in members:
            self.boots += 1
            member.boot = self.boots
            member.stopped = False
            given = self._environ | self._ways(member) | {"BOOT": str(member.boot)} | environ
            start = self.services.nursery.start
            member.live = start(member.folder, member.port, self._config, GATES=str(self.gates.folder), **given)

    def _ways(self, member: Member) -> dict[str, str]:
        uri = (
            f"postgresql://postgres@127.0.0.1:{member.postgres.port}/{self.database}?sslmode=disable&gssencmode=disable"
        )
        redis = {} if member.redis is None else {"REDIS_URI": f"redis://127.0.0.1:{member.redis.port}/0"}
        return {"DATABASE_URI": uri, "TURNKEEPER_ROLE": member.role, **redis}

    def start(self, *members: Member, **environ: str) -> None:
        """Start processes; they are ready when this returns."""
        self.begin(*members, **environ)
        for member in members:
            member.process.wait_ready()

    def kill(self, *members: Member) -> None:
        """End them without a warning."""
        for member in members:
            if member.live is not None:
                self._note("kill", time.monotonic(), member)
                member.live.kill()
                member.live = None

    def drain(self, *members: Member) -> None:
        """Ask them to end, and wait until they have."""
        begun = time.monotonic()
        for member in members:
            member.process.process.send_signal(signal.SIGTERM)
        for member in members:
            self._await_end(member.process, member.name)
            member.live = None
            self._note("drain", begun, member)

    def _await_end(self, live: Forked, name: str) -> None:
        try:
            code = live.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            live.process.send_signal(signal.SIGUSR1)
            time.sleep(0.5)  # until it has said what it does
            code = None
        assert code == 0, f"{name} ended with {code}\n{live.log.read_text()[-8000:]}"

    @contextmanager
    def paused(self, *members: Member) -> Generator[None]:
        """They do nothing for a while, and do not know it."""
        begun = time.monotonic()
        for member in members:
            member.process.process.send_signal(signal.SIGSTOP)
            member.stopped = True
        try:
            yield
        finally:
            for member in members:
                member.stopped = False
                if member.live is not None:
                    member.live.process.send_signal(signal.SIGCONT)
                self._note("pause", begun, member)

    @contextmanager
    def during(self, what: str, *members: Member) -> Generator[None]:
        """Something happens to members, or to all, while it lasts."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self._note(what, begun, *members)

    def interruptions(self, boot: int) -> list[tuple[float, float]]:
        """When the process of a boot did not do its work, from when to when."""
        return [(fault.begin, fault.end) for fault in self.faults if fault.hits(boot)]

    def _note(self, what: str, begun: float, *members: Member) -> None:
        self.faults.append(Fault(what, begun, time.monotonic(), frozenset(member.boot for member in members)))

    def restore(self) -> None:
        """Start whoever is missing. Fails if one ended by itself."""
        for member in self.members:
            if member.live is not None and member.live.process.poll() is not None:
                pytest.fail(f"{member.name} ended by itself\n{member.live.log.read_text()[-4000:]}")
        missing = [member for member in self.members if member.live is None]
        self.begin(*missing)
        for member in self.members:
            member.process.wait_ready()

    def hear_each_other(self) -> None:
        """Wait until everybody is connected to Redis again."""
        listening, deadline = sum(member.redis is not None for member in self.members), time.monotonic() + DEADLINE
        while len(re.findall("cmd=(?:ping|subscribe) ", str(self.services.redis.do("CLIENT", "LIST")))) < listening:
            assert time.monotonic() < deadline, self.services.redis.do("CLIENT", "LIST")
            time.sleep(POLL)

    def ask(self, query: str, **named: Any) -> list[tuple[Any, ...]]:
        """A look into the database, around all servers."""
        with psycopg.connect(self.uri, autocommit=True) as connection:
            return connection.execute(query.encode(), named).fetchall()

    def until(self, query: str, **named: Any) -> list[tuple[Any, ...]]:
        """Wait until a query finds something."""
        deadline = time.monotonic() + DEADLINE
        with psycopg.connect(self.uri, autocommit=True) as connection:
            while not (found := connection.execute(query.encode(), named).fetchall()):
                assert time.monotonic() < deadline, f"nothing found by {query} with {named}"
                time.sleep(POLL)
        return found
