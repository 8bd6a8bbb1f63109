"""`turnkeeper dockerfile`, `build` and `up`, with a Docker that notes what it is asked for."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.images import check_compose, check_dockerfile
from turnkeeper.cli import run

DOCKER = """#!/bin/sh
printf '%s\\n' "$@" > "$NOTES/words"
printf '%s' "$DATABASE_URI" > "$NOTES/database"
previous=
for word in "$@"; do
  if [ "$previous" = --file ]; then cp "$word" "$NOTES/file"; cp "$word.dockerignore" "$NOTES/ignore" 2>/dev/null; fi
  previous=$word
done
exit ${DOCKER_EXITS:-0}
"""

WAITING = """#!/bin/sh
[ "$2" = version ] && exit
trap 'echo stopped; exit 130' INT
echo started
while :; do sleep 0.02; done
"""


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project to work in, and a folder outside where Docker takes its notes."""
    notes = tmp_path / "notes"
    (tmp_path / "project").mkdir()
    notes.mkdir()
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setenv("NOTES", str(notes))
    monkeypatch.setenv("PATH", f"{put(tmp_path / 'bin', DOCKER)}:{os.environ['PATH']}")
    Path("langgraph.json").write_text(json.dumps({"graphs": {"agent": "./agent.py:graph"}}))
    return notes


def put(folder: Path, script: str) -> Path:
    """A `docker` in a folder."""
    folder.mkdir()
    (folder / "docker").write_text(script)
    (folder / "docker").chmod(0o755)
    return folder


def words(notes: Path) -> list[str]:
    """What Docker was asked."""
    return (notes / "words").read_text().splitlines()


def test_dockerfile_writes_what_can_be_built_elsewhere(notes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dockerfile", "deploy/Dockerfile", "--add-docker-compose"]) == 0

    folder = Path.cwd() / "deploy"
    check_dockerfile((folder / "Dockerfile").read_text())
    services = check_compose((folder / "compose.yaml").read_text())["services"]
    built = services["api"]["build"]
    assert (folder / built["context"]).resolve() == Path.cwd()
    assert (Path.cwd() / built["dockerfile"]).resolve() == folder / "Dockerfile"
    assert f"wrote {folder / 'Dockerfile.dockerignore'}" in capsys.readouterr().out
    assert not (notes / "words").exists()


def test_build_hands_docker_the_project_and_leaves_nothing_behind(notes: Path) -> None:
    assert run(["build", "-t", "agent:1", "--pull", "--build-arg", "A=b"]) == 0

    asked = words(notes)
    assert asked[:2] == ["build", "--file"]
    assert asked[3:] == ["--tag", "agent:1", "--pull", "--build-arg", "A=b", str(Path.cwd())]
    check_dockerfile((notes / "file").read_text())
    assert "**/.env" in (notes / "ignore").read_text()
    assert [file.name for file in Path.cwd().iterdir()] == ["langgraph.json"]


def test_build_hands_over_the_pip_configuration_as_a_secret(notes: Path) -> None:
    Path("pip.conf").write_text("[global]\n")
    Path("langgraph.json").write_text(
        json.dumps({"graphs": {"agent": "./agent.py:graph"}, "pip_config_file": "pip.conf"})
    )

    run(["build", "-t", "agent:1"])

    assert f"id=pip_config,src={Path.cwd() / 'pip.conf'}" in words(notes)


def test_a_build_that_failed_is_a_failure(notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_EXITS", "17")

    assert run(["build", "-t", "agent:1"]) == 1


@pytest.mark.parametrize("command", [["build", "-t", "agent:1"], ["up"]])
def test_without_docker_one_is_told_what_to_do(
    notes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    monkeypatch.setenv("PATH", str(notes))

    assert run(command) == 1

    shown = capsys.readouterr().err
    assert shown.startswith("error: docker was not found\n")
    assert "turnkeeper dockerfile Dockerfile" in shown
    assert [file.name for file in Path.cwd().iterdir()] == ["langgraph.json"]


def test_without_compose_one_is_told_what_is_missing(
    notes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOCKER_EXITS", "1")

    assert run(["up"]) == 1

    assert words(notes) == ["compose", "version"]
    assert capsys.readouterr().err.startswith("error: docker has no `compose` command\n")
    assert not Path(".turnkeeper").exists()


def test_up_runs_what_was_built_and_says_where(notes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["up", "-p", "9000", "--recreate", "--wait"]) == 0

    compose = Path.cwd() / ".turnkeeper" / "up" / "compose.yaml"
    assert words(notes) == [
        *("compose", "--file", str(compose), "up", "--remove-orphans", "--build", "--force-recreate", "--wait")
    ]
    document = check_compose(compose.read_text())
    assert document["services"]["api"]["ports"] == ["127.0.0.1:9000:8000"]
    assert (Path.cwd() / document["services"]["api"]["build"]["dockerfile"]).is_file()
    assert "http://127.0.0.1:9000" in capsys.readouterr().out


def test_up_keeps_the_address_of_a_database_out_of_files(notes: Path) -> None:
    uri = "postgresql://me:hunter2@db/agent"

    assert run(["up", "--postgres-uri", uri, "--image", "agent:1"]) == 0

    assert "--build" not in words(notes)
    assert (notes / "database").read_text() == uri
    assert not any("hunter2" in file.read_text() for file in Path(".turnkeeper/up").iterdir())


def test_ctrl_c_lets_docker_stop_in_order(notes: Path, tmp_path: Path) -> None:
    path = f"{put(tmp_path / 'waiting', WAITING)}:{os.environ['PATH']}"
    command = [sys.executable, "-c", _HEEDING, "up"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PATH": path}, start_new_session=True
    ) as process:
        assert process.stdout is not None
        while "started" not in process.stdout.readline():
            pass
        os.killpg(process.pid, signal.SIGINT)

        assert process.stdout.read() == "stopped\n"
        assert process.wait() == 130


_HEEDING = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in a shell's background inherit that it is ignored
from turnkeeper.cli import main
main()
"""
