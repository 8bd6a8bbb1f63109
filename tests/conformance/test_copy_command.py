"""`turnkeeper db` as a user meets it: a server outgrows its file and goes on in PostgreSQL as if nothing had been."""

import re
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from tests.conformance.copy_kit import new_database
from tests.conformance.postgres_kit import Postgres
from tests.nursery import Forked, Nursery
from tests.wire.live import APP, DEADLINE, free_port
from tests.wire.talk import Talk, whole
from tests.wire.test_founding_scenario import EXPECTED, FIRST, SECOND
from tests.wire.test_founding_scenario import told as said
from turnkeeper.cli import run
from turnkeeper.storage.postgres.opening import patiently

SECRET = "nobody-may-see-it"


@pytest.fixture
def target(postgres: Postgres) -> Iterator[str]:
    with new_database(postgres.uri) as uri:
        yield uri


class Moving:
    """One server after the other, in the same folder: first on a file, then on PostgreSQL."""

    def __init__(self, nursery: Nursery, folder: Path) -> None:
        self.folder = folder
        self.live: Forked | None = None
        self._nursery = nursery
        self._port = free_port()
        self._clients: list[LangGraphClient] = []

    def start(self, **environ: str) -> LangGraphClient:
        environ = {"TURNKEEPER_CANCEL_GRACE": "0.5", "TURNKEEPER_DRAIN_TIMEOUT": "0.1", **environ}
        self.live = self._nursery.start(self.folder, self._port, APP, **environ).__enter__()
        self._clients.append(get_client(url=self.live.url, api_key=None))
        return self._clients[-1]

    async def close(self) -> None:
        """Hang up and end the server."""
        for client in self._clients:
            await client.aclose()
        self.kill()

    def kill(self) -> None:
        if self.live is not None:
            self.live.kill()
            self.live = None


@pytest.fixture
async def moving(nursery: Nursery, tmp_path: Path) -> AsyncIterator[Moving]:
    moving = Moving(nursery, tmp_path)
    yield moving
    await moving.close()


async def events(live: Forked, thread: str, run_id: str, after: str) -> list[tuple[str, str]]:
    """A run's stream to its end, from an event on: name and id of each."""
    async with httpx.AsyncClient(base_url=live.url, timeout=DEADLINE) as http:
        answer = await http.get(f"/threads/{thread}/runs/{run_id}/stream", headers={"last-event-id": after})
    assert answer.status_code == 200
    return re.findall(r"event: (.+)\r\ndata: .+\r\nid: (\d+)\r\n", answer.text)


async def told(talk: Talk) -> Any:
    """All there is to know of a thread, but what changes when a server starts."""
    return [await talk.history(), await talk.client.runs.list(talk.thread_id), (await talk.thread())["values"]]


async def test_a_server_that_moves_to_postgres_goes_on(
    moving: Moving, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    client = moving.start()
    assert moving.live
    threads = [(await client.threads.create())["thread_id"] for _ in range(4)]
    talks = busy, asked, done, story = [Talk(client, moving.live.gates, thread) for thread in threads]
    await done.end_of(await done.say("X"), await done.say("Y"))
    asking = await asked.say("Q", graph="ask")
    await asked.end_of(asking)
    busy.hold("A.n2")
    first = await busy.say("A", stream_mode=["values", "updates"], stream_resumable=True)
    await busy.started("A.n2")
    queued = [await busy.say(tag, "enqueue") for tag in "BC"]
    story.hold("sf.tool", "nyc.tool")
    sf = await story.say("", graph="agent", input=FIRST)
    await story.started("sf.tool")
    nyc = await story.say("", "interrupt", graph="agent", input=SECOND)
    await story.started("nyc.tool")
    before = [await told(done), (await asked.thread())["interrupts"], await asked.history()]
    assistants = await client.assistants.search()
    moving.kill()

    seen = moving.folder / "turnkeeper.db"
    assert run(["db", "copy", "--from", f"sqlite:{seen}", "--to", target]) == 0
    output = capsys.readouterr().out
    assert re.search(r"copied [\d,]+ rows", output)
    assert "will be taken up again: 2" in output

    client = moving.start(DATABASE_URI=target)
    for talk in talks:
        talk.client = client
    after = [await told(done), (await asked.thread())["interrupts"], await asked.history()]
    assert after == before
    assert await client.assistants.search() == assistants
    busy.let("A.n2")
    await busy.end_of(first, *queued)
    assert await busy.steps() == whole("A", "B", "C")
    assert await busy.statuses(first, *queued) == ["success"] * 3
    every = await events(moving.live, busy.thread_id, first, "-1")
    assert [name for name, _ in every].count("updates") >= 3
    assert await events(moving.live, busy.thread_id, first, every[2][1]) == every[3:]
    story.let("nyc.tool")
    values = await story.end_of(nyc)
    assert [said(values["messages"]), await story.statuses(sf, nyc)] == [
        EXPECTED["interrupt"].messages,
        EXPECTED["interrupt"].statuses,
    ]
    await asked.end_of(await asked.say("Q", graph="ask", input=None, command={"resume": "yes"}))
    assert await asked.steps() == ["Q.before", "Q.ask=yes", "Q.after"]


def test_migrating_makes_the_tables_and_may_be_repeated(
    target: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTGRES_URI", target)
    for _ in range(2):
        assert run(["db", "migrate"]) == 0
    assert "up to date" in capsys.readouterr().out
    with psycopg.connect(target) as connection:
        assert connection.execute("select count(*) from runs").fetchone() == (0,)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("turnkeeper.db", "postgresql://host/database"),
        ("sqlite:", "postgresql://host/database"),
        ("sqlite:turnkeeper.db", f"mysql://somebody:{SECRET}@host/database"),
        ("sqlite:turnkeeper.db", f"postgresql://somebody:{SECRET}@127.0.0.1:1/database"),
    ],
    ids=["no scheme", "no path", "no PostgreSQL", "nobody there"],
)
def test_a_wrong_address_is_refused_without_its_password(
    source: str, target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from turnkeeper.storage.sqlite.storage import SqliteStorage

    monkeypatch.setattr("turnkeeper.storage.postgres.database.patiently", partial(patiently, patience=0.1))
    monkeypatch.chdir(tmp_path)
    storage = SqliteStorage("turnkeeper.db")
    storage.open()
    storage.close()
    assert run(["db", "copy", "--from", source, "--to", target]) == 1
    output = "".join(capsys.readouterr())
    assert "error:" in output
    assert SECRET not in output
