"""A busy server that is killed again and again, and what must be true of its threads in the end.

Everything is chosen by the seed: what the clients ask for, and after which line of the nodes' log, which accepted
request or which moment of the start the server is killed.
"""

import random
import threading
import time
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.faults.conftest import APP
from tests.nursery import Forked, Nursery
from tests.wire.live import POLL, free_port

PATIENCE = 30.0
"""Seconds anything may take, whatever else the machine has to do."""

CLIENTS = 4
ENVIRON = {"TURNKEEPER_MAX_ATTEMPTS": "1000", "TURNKEEPER_CANCEL_GRACE": "1"}


@dataclass(frozen=True)
class Line:
    """What a node told: `tests/faults/app/busy.py`."""

    at: float
    boot: int
    thread_id: str
    run_id: str
    attempt: int
    step: str
    event: str


class Log:
    """The nodes' log, as far as it was read."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "gates" / "nodes.log"
        self._offset = 0
        self._lock = threading.Lock()
        self.lines: list[Line] = []

    def read(self) -> list[Line]:
        """All lines until now."""
        with self._lock:
            if self._path.exists():
                with self._path.open("rb") as file:
                    file.seek(self._offset)
                    whole = file.read().rpartition(b"\n")[0]
                if whole:
                    self._offset += len(whole) + 1
                    self.lines += [_line(text) for text in whole.decode().splitlines()]
            return self.lines


def _line(text: str) -> Line:
    at, boot, thread_id, run_id, attempt, step, event = text.split()
    return Line(float(at), int(boot), thread_id, run_id, int(attempt), step, event)


@dataclass
class Asked:
    """A run as its client knows it."""

    run_id: str
    tag: str
    strategy: str
    durability: str
    cancelled: str | None = None
    """The action of a cancel that was answered with 2xx."""
    maybe_cancelled: bool = False
    """Whether a cancel was sent whose answer is not known."""


@dataclass
class Client(threading.Thread):
    """One person, who types into one thread without waiting for answers, and cancels now and then."""

    server: Callable[[], str]
    """Where the next request goes."""
    log: Log
    chance: random.Random
    name: str = "client"
    timeout: float = PATIENCE
    """Seconds until a request is given up and made again, if need be."""
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    """What is asked of every run, besides."""
    thread_id: str = ""
    runs: list[Asked] = field(default_factory=list)
    accepted: int = 0
    leaving: threading.Event = field(default_factory=threading.Event)
    trouble: BaseException | None = None

    def __post_init__(self) -> None:
        super().__init__(name=self.name)
        self.thread_id = str(uuid.UUID(int=self.chance.getrandbits(128), version=4))

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        try:
            with httpx.Client(timeout=self.timeout) as http:
                while not self.leaving.is_set():
                    self._act(http)
                self._create(http, "enqueue", "async")
        except BaseException as error:  # noqa: BLE001 - the test's thread raises it
            self.trouble = error

    def _act(self, http: httpx.Client) -> None:
        chance = self.chance
        what = chance.choices(("enqueue", "interrupt", "rollback", "cancel"), (45, 20, 10, 25))[0]
        if what != "cancel":
            self._create(http, what, chance.choice(("async", "async", "sync", "exit")))
        elif self.runs:
            self._cancel(http, chance.choice(self.runs[-4:]), chance.choice(("interrupt", "rollback")))
        self._watch(chance.randrange(0, 14))

    def _create(self, http: httpx.Client, strategy: str, durability: str) -> None:
        run_id = str(uuid.UUID(int=self.chance.getrandbits(128), version=4))
        tag = f"{self.name}-{len(self.runs)}"
        body = {
            "assistant_id": "busy",
            "run_id": run_id,
            "input": {"tag": tag, "inputs": [tag]},
            "multitask_strategy": strategy,
            "durability": durability,
            "if_not_exists": "create",
            **self.options,
        }
        path = f"/threads/{self.thread_id}/runs"
        answer, _ = self._insist(http, path, body, {"idempotency-key": run_id})
        assert answer.status_code == 200, answer.text
        assert answer.json()["run_id"] == run_id
        self.runs.append(Asked(run_id, tag, strategy, durability))
        self.accepted += 1

    def _cancel(self, http: httpx.Client, run: Asked, action: str) -> None:
        path = f"/threads/{self.thread_id}/runs/{run.run_id}/cancel?action={action}"
        answer, repeated = self._insist(http, path, None, {})
        assert answer.status_code in (202, 404), answer.text
        if answer.status_code == 202:
            run.cancelled = "rollback" if "rollback" in (action, run.cancelled) else action
            self.accepted += 1
        elif repeated:
            run.maybe_cancelled = True

    def _insist(self, http: httpx.Client, path: str, body: Any, headers: dict[str, str]) -> tuple[httpx.Response, bool]:
        """Ask until there is an answer; whether it took more than once."""
        deadline = time.monotonic() + PATIENCE
        repeated = False
        while True:
            with suppress(httpx.TransportError):
                answer = http.post(self.server() + path, json=body, headers=headers)
                if answer.status_code != 503:
                    return answer, repeated
            assert time.monotonic() < deadline, f"no answer from {path}"
            repeated = True
            self.leaving.wait(POLL)

    def _watch(self, lines: int) -> None:
        """Look at the answers for a while: until so many lines have come, if they come."""
        wanted, deadline = len(self._mine()) + lines, time.monotonic() + 0.15
        while len(self._mine()) < wanted and time.monotonic() < deadline and not self.leaving.is_set():
            time.sleep(POLL)

    def _mine(self) -> list[Line]:
        return [line for line in self.log.read()[-400:] if line.thread_id == self.thread_id]


@dataclass
class Session:
    """A database, its clients, and the servers that were killed over it."""

    seed: int
    folder: Path
    nursery: Nursery
    port: int = field(default_factory=free_port)
    boots: int = 0
    kills: list[float] = field(default_factory=list)
    """When the server of each boot was killed (`time.monotonic`)."""
    points: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.folder / "gates").mkdir(parents=True)
        self.chance = random.Random(self.seed)
        self.log = Log(self.folder)
        url = f"http://127.0.0.1:{self.port}"
        seeds = [self.chance.getrandbits(64) for _ in range(CLIENTS)]
        self.clients = [
            Client(lambda: url, self.log, random.Random(seed), name=f"c{number}") for number, seed in enumerate(seeds)
        ]

    def boot(self) -> Forked:
        """Start a server; it is not ready yet."""
        self.boots += 1
        return self.nursery.start(self.folder, self.port, APP, BOOT=str(self.boots), **ENVIRON)

    @contextmanager
    def talking(self) -> Generator[None]:
        """Clients are at work. In the end each has one more run accepted."""
        for client in self.clients:
            client.start()
        try:
            yield
        finally:
            for client in self.clients:
                client.leaving.set()

    def kill_once(self) -> None:
        """Start a server and kill it at the next point of the seed."""
        live = self.boot()
        kind = self.chance.choices(("line", "accepted", "start"), (6, 3, 1))[0]
        count = self.chance.randrange(1, 60) if kind == "line" else self.chance.randrange(1, 12)
        delay = self.chance.random() * (0.3 if kind == "start" else 0.02)
        self.points.append(f"{kind} {count} + {delay:.4f} s")
        if kind == "line":
            known = len(self.log.read())
            self._until(live, lambda: len(self.log.read()) >= known + count)
        elif kind == "accepted":
            known = self._accepted()
            self._until(live, lambda: self._accepted() >= known + count)
        time.sleep(delay)  # not to wait for anything: this is the moment
        self.kills.append(time.monotonic())
        live.kill()

    def interruptions(self, boot: int) -> list[tuple[float, float]]:
        """When the server of a boot did not do its work, from when to when."""
        return [(killed, killed) for killed in self.kills[boot - 1 : boot]]

    def settle(self) -> Forked:
        """Wait until the clients have left and no thread is busy; the server is still there."""
        live = self.boot()
        live.wait_ready()
        for client in self.clients:
            client.join(PATIENCE)
            if client.trouble is not None:
                raise client.trouble
            assert not client.is_alive()
        with httpx.Client(base_url=live.url, timeout=PATIENCE) as http:
            self._until(live, lambda: all(self._rests(http, client.thread_id) for client in self.clients))
        return live

    def _rests(self, http: httpx.Client, thread_id: str) -> bool:
        return http.get(f"/threads/{thread_id}").json()["status"] != "busy"

    def _accepted(self) -> int:
        return sum(client.accepted for client in self.clients)

    def _until(self, live: Forked, reached: Any) -> None:
        deadline = time.monotonic() + PATIENCE
        while not reached():
            for client in self.clients:
                if client.trouble is not None:
                    raise client.trouble
            assert live.process.poll() is None, "the server ended by itself"
            assert time.monotonic() < deadline, f"nothing goes on at kill point {self.points[-1]}"
            time.sleep(POLL)
