"""A busy cluster to which things happen, and people who type, cancel, wait and listen at servers chosen at random.

Everything is chosen by the seed: what people ask for, what happens, to whom, and for how long.
"""

import itertools
import json
import random
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Self

import httpx
import psycopg

from tests.cluster.kit import LEASE, Cluster, Member
from tests.faults.crashing import PATIENCE, Asked, Client, Log
from tests.faults.verdict import judge
from tests.wire.live import POLL

PEOPLE = 5
TIMEOUT = 4.0
"""Seconds after which a person asks another server."""

SETTLING = 40.0
"""Seconds after the last fault until everything must be at rest, and everybody have an answer."""

Answer = dict[str, Any]


@dataclass(eq=False)
class Waiter(threading.Thread):
    """Waits for a run, or listens to it, wherever it gets an answer, and comes back when it was cut off."""

    server: Callable[[], str]
    http: httpx.Client
    thread_id: str
    asked: Asked
    streams: bool
    ids: list[int] = field(default_factory=list[int])
    status: int = 0
    answer: Any = None
    doing: str = "nothing yet"
    trouble: BaseException | None = None

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    def run(self) -> None:
        try:
            while not (self._listen() if self.streams else self._wait()):
                time.sleep(POLL)
        except BaseException as error:  # noqa: BLE001 - the test's thread raises it
            self.trouble = error

    def check(self) -> None:
        """It got what was promised."""
        if self.trouble is not None:
            raise self.trouble
        assert not self.is_alive(), f"nobody answers who waits for {self.asked}: {self.doing}"
        assert self.ids == sorted(set(self.ids)), f"events twice or out of order: {self.ids}"

    def _wait(self) -> bool:
        server = self.server()
        self.doing = f"joining at {server} since {time.monotonic():.3f}"
        with suppress(httpx.TransportError):
            answer = self.http.get(f"{server}/threads/{self.thread_id}/runs/{self.asked.run_id}/join")
            self.status, self.answer = answer.status_code, answer.text
            assert self.status in (200, 404, 503), answer.text
            return self.status != 503 and _is_whole(answer)
        return False

    def _listen(self) -> bool:
        server = self.server()
        self.doing = f"listening at {server} since {time.monotonic():.3f}"
        path = f"{server}/threads/{self.thread_id}/runs/{self.asked.run_id}/stream"
        headers = {"last-event-id": str(self.ids[-1])} if self.ids else {"last-event-id": "-1"}
        with suppress(httpx.TransportError), self.http.stream("GET", path, headers=headers) as answer:
            assert answer.status_code in (200, 404, 503), answer.read()
            for line in answer.iter_lines():
                if line.startswith("id: "):
                    self.ids.append(int(line.removeprefix("id: ")))
            return answer.status_code != 503
        return False


def _is_whole(answer: httpx.Response) -> bool:
    """Whether an answer that began with blanks, to say that somebody is there, has come to its end."""
    if not answer.content.strip():
        return False
    with suppress(json.JSONDecodeError):
        answer.json()
        return True
    return False


@dataclass(eq=False)
class Person(Client):
    """Of some runs also somebody waits for the end, or listens."""

    others: httpx.Client = field(default_factory=httpx.Client)
    """What those ask with."""
    waiters: list[Waiter] = field(default_factory=list[Waiter])

    def _create(self, http: httpx.Client, strategy: str, durability: str) -> None:
        super()._create(http, strategy, durability)
        if self.chance.random() < 0.4:
            streams = self.chance.random() < 0.5
            self.waiters.append(Waiter(self.server, self.others, self.thread_id, self.runs[-1], streams))
            self.waiters[-1].start()


class ClusterBooks:
    """What the database of a cluster says."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def journal(self, thread_id: str) -> list[tuple[str, str, int, str | None, str]]:
        """See `Books`."""
        statement = b"select run_id, event, attempt, detail, at from journal where thread_id = %s order by seq"
        return self._connection.execute(statement, (thread_id,)).fetchall()

    def check_at_rest(self) -> None:
        """See `Books`."""
        active = self._connection.execute(b"select * from runs where status in ('pending', 'running')").fetchall()
        assert active == []


class Round:
    """Some faults in a row on a busy cluster, and the verdict."""

    def __init__(self, cluster: Cluster, seed: int) -> None:
        self.cluster = cluster
        self.chance = random.Random(seed)
        self.log = Log(cluster.folder)
        self.told: list[str] = []
        self._begun = time.monotonic()
        self.http = httpx.Client(timeout=None, limits=httpx.Limits(max_connections=None))
        self.people = [self._person(number) for number in range(PEOPLE)]

    def _person(self, number: int) -> Person:
        chance = random.Random(self.chance.getrandbits(64))
        return Person(
            self.cluster.someone(chance),
            self.log,
            chance,
            name=f"p{number}",
            timeout=TIMEOUT,
            options={"stream_resumable": True} if number % 2 else {},
            others=self.http,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def play(self, faults: int) -> None:
        """Let so much happen; raise on the first thing that is not as promised."""
        with self.judged(), ExitStack() as lasting:
            for _ in range(faults):
                self.work(self.chance.randrange(0, 50))
                self._happen(lasting)
            self.work(self.chance.randrange(0, 50))

    @contextmanager
    def judged(self) -> Generator[None]:
        """People are at work in the meantime; afterwards all is as promised."""
        self.log.read()
        with self._talking():
            yield
        self.settle()
        self.check()

    @contextmanager
    def _talking(self) -> Generator[None]:
        for person in self.people:
            person.start()
        try:
            yield
        finally:
            for person in self.people:
                person.leaving.set()

    def work(self, lines: int) -> None:
        """Let the cluster work until nodes have told so many lines more, but not for long."""
        known, deadline = len(self.log.read()), time.monotonic() + 1.0
        while len(self.log.read()) < known + lines and time.monotonic() < deadline:
            self._look_after_people()
            time.sleep(POLL)

    def _look_after_people(self) -> None:
        for person in self.people:
            if person.trouble is not None:
                raise person.trouble

    # --- What happens

    def _happen(self, lasting: ExitStack) -> None:
        """One of the faults; some last while others happen."""
        happen = self.chance.choices(list(FAULTS), list(FAULTS.values()))[0]
        self.told.append(f"{time.monotonic() - self._begun:.3f} {happen.__name__}")
        happen(self, lasting)

    def _pause(self, longest: float = 1.8 * LEASE) -> None:
        """For as long as something lasts: not to wait for anything."""
        seconds = self.chance.random() * longest
        self.told.append(f"  for {seconds:.3f} s")
        time.sleep(seconds)

    def _some(self, members: Sequence[Member]) -> list[Member]:
        """One or two of those who are there."""
        there = [member for member in members if member.live is not None]
        found = self.chance.sample(there, min(len(there), self.chance.choice((1, 1, 2))))
        self.told.append("  " + " ".join(member.name for member in found))
        return found

    def kill_processes(self, lasting: ExitStack) -> None:
        """Some are gone, for a moment or until the end."""
        killed = self._some(self.cluster.members)
        self.cluster.kill(*killed)
        if self.chance.random() < 0.7:
            self._pause()
            self.cluster.begin(*killed)

    def pause_workers(self, lasting: ExitStack) -> None:
        """They do nothing for longer than the lease, as a rule, and then go on as if nothing had been."""
        with self.cluster.paused(*self._some(self.cluster.workers)):
            self._pause(2.5 * LEASE)

    def pause_servers(self, lasting: ExitStack) -> None:
        lasting.enter_context(self.cluster.paused(*self._some(self.cluster.servers)))
        self._pause()

    def drain_processes(self, lasting: ExitStack) -> None:
        drained = self._some([member for member in self.cluster.members if not member.stopped])
        self.cluster.drain(*drained)
        self.cluster.begin(*drained)

    def restart_postgres(self, lasting: ExitStack) -> None:
        with self.cluster.during("postgres restarted"):
            self.cluster.services.postgres.stop()
            self._pause(self.chance.choice((0.0, LEASE)))
            self.cluster.services.postgres.start()

    def restart_redis(self, lasting: ExitStack) -> None:
        with self.cluster.during("redis restarted"):
            self.cluster.services.redis.stop()
            self._pause(self.chance.choice((0.0, LEASE)))
            self.cluster.services.redis.start()

    def flush_redis(self, lasting: ExitStack) -> None:
        self.cluster.services.redis.go_on()
        self.cluster.services.redis.do("FLUSHALL")
        self.cluster.services.redis.do("SCRIPT", "FLUSH")

    def pause_redis(self, lasting: ExitStack) -> None:
        redis = self.cluster.services.redis
        redis.pause()
        if self.chance.random() < 0.5:
            lasting.callback(redis.go_on)
        else:
            self._pause()
            redis.go_on()

    def cut_postgres(self, lasting: ExitStack) -> None:
        """Connections to the database break, some or all of them."""
        members = self._some(self.cluster.members) if self.chance.random() < 0.7 else self.cluster.members
        with self.cluster.during("postgres cut", *members):
            for member in members:
                member.postgres.cut()

    def hold_postgres(self, lasting: ExitStack) -> None:
        """Some cannot reach the database, and nobody tells them."""
        members = self._some(self.cluster.members)
        with self.cluster.during("postgres held up", *members):
            for member in members:
                member.postgres.hold()
            self._pause(2.5 * LEASE)
            for member in members:
                self.chance.choice((member.postgres.cut, member.postgres.go_on))()
                member.postgres.go_on()

    def cut_redis(self, lasting: ExitStack) -> None:
        for member in self._some(self.cluster.members):
            if member.redis is not None:
                member.redis.cut()

    def hold_redis(self, lasting: ExitStack) -> None:
        held = [member.redis for member in self._some(self.cluster.members) if member.redis is not None]
        for way in held:
            way.hold()
        self._pause(2.5 * LEASE)
        for way in held:
            way.go_on()

    # --- The end

    def settle(self) -> None:
        """Everybody is there again: wait until all is at rest."""
        self._tell("settle")
        self.cluster.restore()
        self._tell("restored")
        deadline = time.monotonic() + SETTLING
        for person in self.people:
            person.join(max(0.0, deadline - time.monotonic()))
        self._look_after_people()
        assert not any(person.is_alive() for person in self.people)
        self._tell("all said")
        while self.cluster.ask("select 1 from runs where status in ('pending', 'running')"):
            assert time.monotonic() < deadline, self._active()
            time.sleep(POLL)
        self._tell("all ended")
        for waiter in self._waiters():
            waiter.join(max(0.0, deadline - time.monotonic()))

    def _tell(self, what: str) -> None:
        self.told.append(f"{time.monotonic() - self._begun:.3f} {what}")

    def _active(self) -> Any:
        return self.cluster.ask("select * from runs where status in ('pending', 'running')")

    def _waiters(self) -> Iterator[Waiter]:
        return itertools.chain.from_iterable(person.waiters for person in self.people)

    def check(self) -> None:
        """The verdict."""
        self._tell("all answered")
        for waiter in self._waiters():
            waiter.check()
        lines = self.log.read()
        with psycopg.connect(self.cluster.uri, autocommit=True) as connection:
            judge(self.people, lines, self._get, ClusterBooks(connection), self.cluster.interruptions)

    def _get(self, path: str) -> Any:
        answer = self.http.get(self.chance.choice(self.cluster.servers).url + path, timeout=PATIENCE)
        assert answer.status_code == 200, answer.text
        return answer.json()

    @property
    def effort(self) -> str:
        """How much was done."""
        runs = sum(len(person.runs) for person in self.people)
        return f"{runs} runs, {len(list(self._waiters()))} waiters, {time.monotonic() - self._begun:.1f} s"


FAULTS: dict[Callable[[Round, ExitStack], None], int] = {
    Round.kill_processes: 5,
    Round.pause_workers: 4,
    Round.pause_servers: 1,
    Round.drain_processes: 2,
    Round.restart_postgres: 2,
    Round.restart_redis: 2,
    Round.flush_redis: 1,
    Round.pause_redis: 2,
    Round.cut_postgres: 2,
    Round.hold_postgres: 3,
    Round.cut_redis: 1,
    Round.hold_redis: 1,
}
"""How often what happens. Without Redis, what happens to it is a moment of rest."""
