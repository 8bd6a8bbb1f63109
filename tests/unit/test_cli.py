"""The command line as a person meets it: real processes, real files, and what they print."""

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from turnkeeper.cli import run
from turnkeeper.cli.banner import address, storage
from turnkeeper.cli.listening import listen
from turnkeeper.cli.scenario import FIRST, SECOND, Message, Outcome, Strategy
from turnkeeper.errors import ConfigError

GRAPH = """
from langgraph.graph import StateGraph
graph = StateGraph(dict).add_node("step", lambda state: state).set_entry_point("step").compile()
"""
DEADLINE = 40.0

Files = Callable[..., Path]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Write files into an empty project with a langgraph.json."""

    def write(config: str | None = '{\n  "graphs": {\n    "agent": "./agent.py:graph"\n  }\n}', **texts: str) -> Path:
        if config is not None:
            (tmp_path / "langgraph.json").write_text(config)
        for name, text in texts.items():
            (tmp_path / f"{name}.py").write_text(text)
        return tmp_path

    return write


class Running:
    """A command that runs while the test looks at it."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "turnkeeper", *arguments],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=_heed_interrupts,  # noqa: PLW1509 - no thread of ours holds a lock then
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def until(self, text: str) -> list[str]:
        """The lines up to the one with `text` in it."""
        lines: list[str] = []
        deadline = time.monotonic() + DEADLINE
        while not lines or text not in lines[-1]:
            line = self._lines.get(timeout=max(deadline - time.monotonic(), 0.001))
            assert line is not None, lines
            lines.append(line)
        return lines

    def to_the_end(self) -> list[str]:
        """All lines that are left."""
        return list(iter(lambda: self._lines.get(timeout=DEADLINE), None))  # type: ignore[arg-type]

    def close(self) -> None:
        """Wait until nobody can print any more."""
        self._reader.join(DEADLINE)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def stop(self, number: int) -> int:
        """Its exit code after a signal."""
        self.process.send_signal(number)
        return self.process.wait(DEADLINE)


def _heed_interrupts() -> None:
    """Tests that run in a shell's background inherit that Ctrl-C is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def running(folder: Path, *arguments: str) -> Generator[Running]:
    """Run a command for as long as the block lasts."""
    command = Running(folder, *arguments)
    try:
        yield command
    finally:
        if command.process.poll() is None:
            command.stop(signal.SIGTERM)
        command.close()


def url_in(lines: list[str]) -> str:
    """The address a banner names."""
    (line,) = [line for line in lines if line.startswith("  API")]
    return line.split()[1]


def get(url: str) -> bytes:
    """The body of an answer."""
    with urllib.request.urlopen(url, timeout=DEADLINE) as answer:
        return answer.read()


def refuses(url: str) -> bool:
    """Whether nobody listens there."""
    try:
        get(url + "/ok")
    except urllib.error.URLError as error:
        return isinstance(error.reason, ConnectionRefusedError)
    except ConnectionError:
        pass
    return False


def ended(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself."""
    command = [sys.executable, "-P", "-m", "turnkeeper", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=DEADLINE, check=False)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("demo"), "demo") as demo:
        yield demo


@pytest.fixture(scope="module", autouse=True)
def demo_meanwhile(request: pytest.FixtureRequest) -> None:
    """It waits most of its time: if a test asks for it, it is played while the others here run."""
    if any("demo" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("demo")


# --- serve ------------------------------------------------------------------------------------------------------------


def test_serve_says_where_it_listens_and_what_it_keeps(files: Files) -> None:
    with running(files(agent=GRAPH), "serve", "--port", "0") as server:
        lines = server.until("Storage")

        assert lines[0].startswith("turnkeeper 0.")
        assert " ready in " in lines[0]
        assert lines[2].split() == ["Graphs", "agent", "1", "loaded,", "0", "failed"]
        assert lines[3] == "  Storage  SQLite ./.turnkeeper/turnkeeper.db (kept)"
        assert json.loads(get(url_in(lines) + "/ok")) == {"ok": True}
        assert server.stop(signal.SIGINT) == 130


def test_serve_does_not_start_half(files: Files) -> None:
    config = '{\n"graphs": {\n"agent": "./agent.py:graph",\n"bad": "./nope.py:graph"}}'

    result = ended(files(config, agent=GRAPH), "serve", "--port", "0")

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.strip() == (
        "error: graph 'bad' did not load\n"
        '  langgraph.json:4   "bad": "./nope.py:graph"\n'
        "  cause  ./nope.py does not exist        nearest: ./agent.py (has `graph`)\n"
        '  fix    set "bad": "./agent.py:graph"'
    )


def test_a_port_in_use_is_said_before_anything_heavy_is_imported(files: Files) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = f"import sys\nfrom turnkeeper.cli import run\nrun(['serve', '--port', '{port}'])\n"
        command += "print('langgraph' in sys.modules)"
        result = subprocess.run(
            [sys.executable, "-c", command], cwd=files(agent=GRAPH), capture_output=True, text=True, check=True
        )

    assert result.stderr.startswith(f"error: port {port} is in use\n")
    assert "fix    --port " in result.stderr
    assert result.stdout == "False\n"


# --- dev --------------------------------------------------------------------------------------------------------------


def test_dev_follows_what_is_saved_survives_what_is_broken_and_keeps_its_port_open(files: Files) -> None:
    folder = files('{"graphs": }', agent=GRAPH)
    with running(folder, "dev", "--port", "0") as server:
        server.until("error: langgraph.json is not valid JSON")
        files()
        url = url_in(server.until("Storage"))

        files(None, agent="1/0")
        server.until("reloaded: agent.py changed")
        assert server.until("cause")[-1] == "  cause  ZeroDivisionError: division by zero   at agent.py:1"
        assert json.loads(get(url + "/ok")) == {"ok": True}

        with calling(url) as refused:
            files(None, agent=GRAPH)
            assert " ready in " in server.until("reloaded: agent.py changed")[-1]
        assert not any(refused)
        assert json.loads(get(url + "/ok")) == {"ok": True}
        assert server.stop(signal.SIGINT) == 130


@contextmanager
def calling(url: str) -> Generator[list[bool]]:
    """Call a server again and again; whether each call was refused."""
    refused: list[bool] = []
    enough = threading.Event()

    def call() -> None:
        while not enough.is_set():
            refused.append(refuses(url))

    caller = threading.Thread(target=call)
    caller.start()
    try:
        yield refused
    finally:
        enough.set()
        caller.join()


def test_a_server_does_not_outlive_the_dev_that_was_killed(files: Files) -> None:
    with running(files(agent=GRAPH), "dev", "--port", "0") as server:
        url = url_in(server.until("Storage"))
        server.stop(signal.SIGKILL)

        deadline = time.monotonic() + DEADLINE
        while (refused := refuses(url)) is False and time.monotonic() < deadline:
            pass
        assert refused


def test_dev_ends_when_there_is_nothing_to_watch(tmp_path: Path) -> None:
    result = ended(tmp_path, "dev", "--port", "0")

    assert result.returncode == 1
    assert "error: langgraph.json could not be read" in result.stderr


# --- demo -------------------------------------------------------------------------------------------------------------


def test_the_demo_shows_every_strategy_and_that_it_held(demo: Running) -> None:
    lines = demo.to_the_end()

    assert demo.process.wait(DEADLINE) == 0, lines
    assert [line.split(":")[0] for line in lines if "held" in line] == ["  held"] * 4
    assert list(demo.folder.iterdir()) == []


def turn(question: str) -> tuple[Message, ...]:
    """One whole conversation."""
    return (
        Message(at=0, id=f"{question}1", kind="human", text=question),
        Message(at=1, id=f"{question}2", kind="ai", text="…", calls_tool=True),
        Message(at=2, id=f"{question}3", kind="tool", text="sunny"),
        Message(at=3, id=f"{question}4", kind="ai", text="It is sunny."),
    )


ONE, TWO = turn(FIRST), turn(SECOND)


def outcome(strategy: Strategy, first: str | None, second: str | None, state: tuple[Message, ...]) -> Outcome:
    """How a strategy was played out."""
    refused = second is None
    return Outcome(strategy, state, state, first, second, second_sent_at=2, refused=refused)


GOOD = [
    outcome("enqueue", "success", "success", ONE + TWO),
    outcome("interrupt", "interrupted", "success", ONE[:1] + TWO),
    outcome("interrupt", "interrupted", "success", ONE[:2] + TWO),
    outcome("rollback", None, "success", TWO),
    outcome("reject", "success", None, ONE),
]


@pytest.mark.parametrize("played", GOOD)
def test_the_demo_recognises_what_a_strategy_promises(played: Outcome) -> None:
    assert played.problem is None


@pytest.mark.parametrize(
    "played",
    [
        outcome("enqueue", "success", "success", TWO + ONE),
        outcome("enqueue", "success", "success", ONE[:3] + TWO),
        outcome("enqueue", "interrupted", "success", ONE + TWO),
        outcome("interrupt", "interrupted", "success", TWO),
        outcome("interrupt", "interrupted", "success", ONE[:1] + TWO[:2]),
        outcome("interrupt", "success", "success", ONE + TWO),
        outcome("rollback", None, "success", ONE[:1] + TWO),
        outcome("rollback", "interrupted", "success", TWO),
        outcome("reject", "success", None, ONE[:3]),
        outcome("reject", "success", None, ONE + TWO[:1]),
        replace(outcome("reject", "success", None, ONE), refused=False),
    ],
)
def test_the_demo_does_not_praise_what_did_not_hold(played: Outcome) -> None:
    assert played.problem is not None


# --- validate, version, help ------------------------------------------------------------------------------------------


def test_validate_names_every_graph_and_fails_if_one_does(
    files: Files, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend("unused")  # restores the path afterwards
    config = '{"graph_s": 1, "graphs": {"one": "./valid.py:graph", "second": "./valid.py:grph"}}'
    folder = files(config, valid=GRAPH)

    assert run(["validate", "-c", str(folder / "langgraph.json")]) == 1

    shown = capsys.readouterr()
    assert shown.out == "  one      ok       ./valid.py:graph\n  second   failed   ./valid.py:grph\n"
    assert 'warning: langgraph.json:1 unknown key "graph_s", did you mean "graphs"?' in shown.err
    assert "  cause  ./valid.py has no `grph`        nearest: `graph`" in shown.err


@pytest.mark.parametrize(
    ("arguments", "shown"), [(["validate"], False), (["validate", "-v"], True), (["-v", "validate"], True)]
)
def test_a_traceback_is_shown_only_when_asked_for(
    files: Files,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    shown: bool,
) -> None:
    monkeypatch.syspath_prepend("unused")  # restores the path afterwards
    folder = files('{"graphs": {"a": "./broken.py:graph"}}', broken="1/0")

    run([*arguments, "-c", str(folder / "langgraph.json")])

    assert ('broken.py", line 1, in <module>' in capsys.readouterr().err) == shown


def test_version_can_be_read_by_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["version", "--json"]) == 0

    assert {"turnkeeper", "langgraph", "langgraph-sdk", "python"} <= set(json.loads(capsys.readouterr().out))


def test_help_answers_at_once() -> None:
    code = "import sys, turnkeeper.cli; print(sorted({'asyncio', 'httpx', 'langgraph', 'msgspec'} & {*sys.modules}))"

    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert output == "[]\n"


@pytest.mark.parametrize("arguments", [["serv"], ["serve", "--port", "x"], ["dev", "--n-jobs-per-worker", "0"]])
def test_wrong_usage_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    assert "Error: " in capsys.readouterr().err


def test_an_error_nobody_foresaw_is_one_screen_too(
    files: Files, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("oh")

    monkeypatch.setattr("turnkeeper.config.load_settings", broken)

    assert run(["validate", "-c", str(files())]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("error: RuntimeError: oh\n")
    assert "Traceback" not in shown


def test_colours_are_for_people_only(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    run(["validate", "-c", str(files() / "nope.json")])

    assert "\x1b" not in capsys.readouterr().err


# --- small parts ------------------------------------------------------------------------------------------------------


def test_localhost_is_listened_on_under_all_its_addresses() -> None:
    sockets = listen("localhost", 0)
    try:
        assert len({each.getsockname()[1] for each in sockets}) == 1
    finally:
        for each in sockets:
            each.close()


def test_a_host_that_is_not_here_is_said() -> None:
    with pytest.raises(ConfigError, match="no address is known for 'no such host'"):
        listen("no such host", 0)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:1"),
        ("0.0.0.0", "http://127.0.0.1:1"),
        ("::1", "http://[::1]:1"),
        ("::", "http://[::1]:1"),
    ],
)
def test_the_banner_names_an_address_one_can_open(host: str, url: str) -> None:
    assert address(host, 1) == url


def test_the_banner_says_whether_state_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert storage(":memory:") == "in memory (gone when the server stops)"
    assert storage("a/b.db") == f"SQLite .{os.sep}a{os.sep}b.db (kept)"
    assert storage("/elsewhere/b.db") == "SQLite /elsewhere/b.db (kept)"
