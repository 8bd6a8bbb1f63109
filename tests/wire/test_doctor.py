"""`turnkeeper doctor health`: what a container's health check asks."""

import socket
import subprocess
import sys
from contextlib import closing

import pytest

from tests.wire.live import Live
from turnkeeper.cli import run


def health(url: str) -> int:
    return run(["doctor", "health", "--url", url])


def test_a_server_that_answers_is_healthy(server: Live, capsys: pytest.CaptureFixture[str]) -> None:
    assert health(server.url) == 0
    assert capsys.readouterr().out == f"ok   {server.url}\n"


def test_a_proxy_of_the_environment_is_not_asked(server: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    assert health(server.url) == 0


def test_a_server_that_is_gone_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"

    assert health(url) == 1
    assert capsys.readouterr().err.startswith(f"error: no healthy server at {url}\n  cause  ConnectionRefusedError")


def test_a_server_that_hangs_is_not(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.modules["turnkeeper.cli.doctor"], "PATIENCE", 0.05)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        assert health(f"http://127.0.0.1:{silent.getsockname()[1]}") == 1
    assert "no answer within 0.05 seconds" in capsys.readouterr().err


def test_something_else_that_answers_is_not(server: Live, capsys: pytest.CaptureFixture[str]) -> None:
    assert health(f"{server.url}/elsewhere") == 1
    assert "404 to /ok" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["127.0.0.1:2024", "ftp://host", "http://", "http://host:port"])
def test_an_address_that_is_none_is_wrong_usage(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert health(url) == 2
    assert "give it like http://127.0.0.1:2024" in capsys.readouterr().err


def test_asking_costs_next_to_nothing() -> None:
    heavy = "{'asyncio', 'httpx', 'langgraph', 'msgspec', 'uvicorn', 'yaml'}"
    code = f"import sys\nfrom turnkeeper.cli import run\nrun({['doctor', 'health', '--url', 'http://127.0.0.1:9']})\n"

    shown = subprocess.run(
        [sys.executable, "-c", f"{code}print(sorted({heavy} & {{*sys.modules}}))"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip

    assert shown == "[]\n"
