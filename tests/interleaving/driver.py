"""The test's side: threads to talk on, what their nodes wrote down, and the database as it is on disk."""

import asyncio
import sqlite3
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from tests.interleaving.sockets import Answer, Http
from tests.wire.live import DEADLINE, POLL, Gates, Live

APP = Path(__file__).parent / "app" / "langgraph.json"
NODES = ("n1", "n2", "n3")
CRASHED = "the server died"


class Event(NamedTuple):
    """A line of a thread's log."""

    place: str
    what: str
    run_id: str


@dataclass(eq=False)
class Said:
    """An input that was sent, under a run id of our own."""

    tag: str
    strategy: str
    body: dict[str, Any]
    run_id: str
    accepted: bool | None = None
    """`None`: nobody knows, as the server died."""


@dataclass(eq=False)
class Line:
    """One thread, seen by a client."""

    http: Http
    gates: Gates
    thread_id: str
    said: list[Said] = field(default_factory=list)

    @property
    def accepted(self) -> list[Said]:
        """The inputs that the server took, in the order they were sent."""
        return [said for said in self.said if said.accepted]

    async def say(
        self, tag: str, strategy: str = "interrupt", *, how: str = "runs", graph: str = "talk", **options: Any
    ) -> Answer:
        """Send an input; the answer is read to its end."""
        said = self.prepare(tag, strategy, graph=graph, **options)
        answer = await self.http.post(f"/threads/{self.thread_id}/{how}", said.body)
        said.accepted = answer.status_code == 200
        return answer

    def prepare(self, tag: str, strategy: str, *, graph: str = "talk", pace: float = 0.0, **options: Any) -> Said:
        """The body of an input, written down as sent."""
        run_id = str(uuid4())
        given = chat_input(tag, pace) if graph == "chat" else {"tag": tag, "said": [tag], "pace": pace, "ask": False}
        body = {"assistant_id": graph, "input": given, "multitask_strategy": strategy, "run_id": run_id, **options}
        said = Said(tag, strategy, body, run_id)
        self.said.append(said)
        return said

    async def end_of(self, run_id: str) -> Any:
        """Wait for a run's end; its result."""
        return (await self.http.get(f"/threads/{self.thread_id}/runs/{run_id}/join")).json()

    async def run(self, run_id: str) -> dict[str, Any] | None:
        """A run; `None` when it is gone."""
        answer = await self.http.get(f"/threads/{self.thread_id}/runs/{run_id}")
        assert answer.status_code in (200, 404), answer.text
        return answer.json() if answer.status_code == 200 else None

    async def runs(self) -> dict[str, dict[str, Any]]:
        """The runs that are not gone, by id, in the order of their admission."""
        runs = (await self.http.get(f"/threads/{self.thread_id}/runs?limit=1000")).json()
        return {run["run_id"]: run for run in reversed(runs)}

    async def status(self, run_id: str) -> str | None:
        """A run's status; `None` when it is gone."""
        run = await self.run(run_id)
        return None if run is None else run["status"]

    async def thread(self) -> dict[str, Any]:
        """The thread as clients see it."""
        return (await self.http.get(f"/threads/{self.thread_id}")).json()

    async def values(self) -> dict[str, Any]:
        """The newest state, on which state and thread must agree."""
        state = (await self.http.get(f"/threads/{self.thread_id}/state")).json()["values"]
        thread = await self.thread()
        if thread["status"] != "busy":
            assert (thread["values"] or {}) == state
        return state

    async def at(self, place: str, times: int = 1) -> None:
        """Wait until a node is there."""
        deadline = time.monotonic() + DEADLINE
        while sum(event[:2] == (place, "began") for event in self.log) < times:
            assert time.monotonic() < deadline, f"nothing came to {place}: {self.log}"
            await asyncio.sleep(POLL)

    def hold(self, *places: str) -> None:
        """Let nodes wait at these places."""
        self.gates.hold(self.thread_id, *places)

    def let(self, *places: str) -> None:
        """Let the nodes that wait there go on."""
        self.gates.let(self.thread_id, *places)

    @property
    def log(self) -> list[Event]:
        """What the nodes wrote down."""
        return [parse(line) for line in self.gates.log(self.thread_id)]

    def begun(self) -> list[str]:
        """The runs of which a node began, in the order of their first."""
        return list(dict.fromkeys(event.run_id for event in self.log if event.what == "began" and event.run_id != "-"))

    def note_crash(self) -> None:
        """Whatever was under way on the thread is no more."""
        folder = self.gates.folder / self.thread_id
        folder.mkdir(exist_ok=True)
        with (folder / "log").open("a") as log:
            log.write(f"{CRASHED}\n")


def parse(line: str) -> Event:
    """A line of a log."""
    if line == CRASHED:
        return Event("", CRASHED, "")
    place, *what, run_id = line.split()
    return Event(place, " ".join(what), run_id)


def chat_input(tag: str, pace: float) -> dict[str, Any]:
    """A person's message without an id: the server has to give it one."""
    return {"messages": [{"type": "human", "content": tag, "additional_kwargs": {"pace": pace}}]}


async def new_line(http: Http, live: Live) -> Line:
    """A new thread."""
    thread = (await http.post("/threads", {})).json()
    return Line(http, live.gates, thread["thread_id"])


def assert_no_overlap(log: list[Event]) -> None:
    """While a node of a run is at work, no node of another is; nothing is left at work."""
    inside: list[Event] = []
    for event in log:
        if event.what == CRASHED:
            inside.clear()
        elif event.what == "began":
            others = {each.run_id for each in inside} - {event.run_id}
            assert not others, f"{event} began while {inside} had not ended"
            inside.append(event)
        elif event.run_id != "-":
            inside.remove(next(each for each in inside if (each.place, each.run_id) == (event.place, event.run_id)))
    assert not inside


def assert_in_order(begun: list[str], admitted: list[str]) -> None:
    """Of the runs that started, each started in its turn."""
    place = {run_id: number for number, run_id in enumerate(admitted)}
    assert [place[run_id] for run_id in begun] == sorted(place[run_id] for run_id in begun)


def assert_steps_fit(steps: list[str], log: list[Event], gone: set[str]) -> None:
    """What was kept is what nodes finished, in their order, nothing of it twice and nothing of what was taken back."""
    finished = [event.place for event in log if event.what == "ended" and event.run_id not in gone]
    rest = iter(finished)
    assert all(each in rest for each in steps), f"{steps} is not what was finished: {finished}"


class Note(NamedTuple):
    """A row of the journal."""

    run_id: str
    event: str
    detail: str | None


@contextmanager
def on_disk(live: Live) -> Generator[sqlite3.Connection]:
    """The database, to be read only."""
    with closing(sqlite3.connect(f"file:{live.folder / 'turnkeeper.db'}?mode=ro", uri=True)) as connection:
        yield connection


def journal(connection: sqlite3.Connection, thread_id: str) -> list[Note]:
    """All that happened to the thread's runs."""
    rows = connection.execute("select run_id, event, detail from journal where thread_id = ? order by seq", [thread_id])
    return [Note(*row) for row in rows]


def is_uuid(text: str) -> bool:
    """Whether a text is an id."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
