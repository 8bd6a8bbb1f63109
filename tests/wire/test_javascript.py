"""The JavaScript client in both of its major versions, unchanged, as its users install it."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.wire.live import Live
from tests.wire.test_founding_scenario import EXPECTED, STRATEGIES

JS = Path(__file__).parent / "js"


def missing() -> str | None:
    """What is not there to run JavaScript with."""
    if shutil.which("node") is None:
        return "node is not installed"
    if not (JS / "node_modules").is_dir():
        return "the JavaScript dependencies are not installed: run `npm ci` in tests/wire/js"
    return None


@pytest.fixture(scope="module", params=["langgraph-sdk-v1", "langgraph-sdk-v2"])
def sdk(request: pytest.FixtureRequest) -> str:
    """The package that holds the client; where these tests must run, its absence is a failure."""
    reason = missing()
    if reason is not None and os.environ.get("CI") == "true":
        pytest.fail(reason)
    if reason is not None:
        pytest.skip(reason)
    return request.param


def node(script: str, sdk: str, server: Live) -> Any:
    """What a script prints."""
    command = ["node", str(JS / script), sdk, server.url, str(server.gates.folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=40, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def stories(sdk: str, server: Live) -> Any:
    return node("founding.mjs", sdk, server)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_founding_scenario(stories: Any, strategy: str) -> None:
    story, expected = stories[strategy], EXPECTED[strategy]
    assert story["refused"] == (409 if strategy == "reject" else None)
    assert story["statuses"] == expected.statuses
    assert story["messages"] == story["joined"] == expected.messages
    assert (story["next"], story["thread"]) == (expected.next, expected.thread)


def test_a_person_answers_and_a_watched_run_is_stopped(sdk: str, server: Live) -> None:
    assert node("human.mjs", sdk, server) == {
        "answered": {
            "asked": [{"question": "go on?", "tag": "A"}],
            "waiting": "interrupted",
            "steps": ["A.before", "A.ask=yes", "A.after"],
        },
        "stopped": {
            "first": ["metadata", ["n1"], ["status", "reason"]],
            "second": ["metadata", ["n1"], ["n2"], ["n3"]],
        },
    }


def test_crons_are_made_found_changed_and_removed_and_fire(sdk: str, server: Live) -> None:
    assert node("crons.mjs", sdk, server) == {
        "fired": True,
        "other": [None, None, "delete"],
        "changed": [False, None, {"m": 1, "n": 2}],
        "found": [[True, {"enabled": False}]],
        "counted": 1,
        "left": 0,
    }


@pytest.fixture(scope="module")
def conversations(server: Live) -> Any:
    """Version 2.0.0 of the package has no `threads.stream`."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NODE_OPTIONS", "--experimental-websocket")
        return node("threads_stream.mjs", "langgraph-sdk-v1", server)


@pytest.mark.parametrize("transport", ["sse", "websocket"])
def test_a_conversation_over_the_event_protocol(conversations: Any, transport: str) -> None:
    assert conversations[transport] == {
        "talked": {
            "said": ["It is sunny in sf."],
            "tools": ["get_weather(sf)"],
            "output": ["human", "ai", "tool", "ai"],
            "last": "It is sunny in nyc.",
        },
        "answered": {
            "asked": {"interrupted": True, "payload": {"question": "go on?", "tag": "A"}},
            "steps": ["A.before", "A.ask=yes", "A.after"],
            "again": "no_such_interrupt",
        },
        "interrupted": {
            "heard": [["first", "running"], ["first", "interrupted"], ["second", "running"], ["second", "completed"]],
            "steps": ["A.n1", "B.n1", "B.n2", "B.n3"],
        },
        "nested": {"names": ["child"], "tree": ["child"]},
    }
