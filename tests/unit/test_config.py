"""`langgraph.json` and the environment become settings; what is wrong is told in the words of the file."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from turnkeeper.config import Settings, load_settings
from turnkeeper.config.dotenv import parse_dotenv
from turnkeeper.config.settings import StoreIndex, StoreTtl
from turnkeeper.errors import ConfigError

Write = Callable[..., Path]

GRAPHS = {"agent": "./agent.py:graph"}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a langgraph.json, from its text or from keys."""

    def write(text: str | None = None, **keys: Any) -> Path:
        path = tmp_path / "langgraph.json"
        path.write_text(text if text is not None else json.dumps({"graphs": GRAPHS} | keys, indent=2))
        return path

    return write


@pytest.fixture(autouse=True)
def _own_environment() -> Iterator[None]:
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def test_the_official_file_is_read_unchanged(write: Write) -> None:
    path = write(
        graphs={"a": "./a.py:graph", "b": {"path": "pkg.mod:make", "description": "does b"}},
        dependencies=[".", "langchain_openai", "git+https://example.org/x"],
        python_version="3.12",
        image_distro="wolfi",
        pip_installer="uv",
        source={"kind": "uv"},
    )

    settings = load_settings(path)

    assert [(spec.graph_id, spec.path, spec.description) for spec in settings.graphs] == [
        ("a", "./a.py:graph", None),
        ("b", "pkg.mod:make", "does b"),
    ]
    assert settings.root == path.parent
    assert settings.dependencies == (path.parent,)
    assert settings.warnings == ()


def test_defaults_are_those_that_are_documented(write: Write) -> None:
    settings = load_settings(write())

    assert (settings.host, settings.port, settings.db) == ("127.0.0.1", 2024, ".turnkeeper/turnkeeper.db")
    assert (settings.jobs, settings.cancel_grace, settings.max_body) == (100, 5.0, 8 * 1024 * 1024)


def test_every_graph_knows_its_line(write: Write) -> None:
    text = """{
  "env": {"agent": "a decoy"},
  "graphs": {
    "a \\" quote": "./a.py:graph",

    "agent": {
      "path": "./agent.py:graph"
    }
  }
}"""
    first, second = load_settings(write(text)).graphs

    assert (first.line, second.line) == (4, 6)
    assert second.where("langgraph.json") == 'langgraph.json:6   "agent": "./agent.py:graph"'


def test_an_unknown_key_is_a_warning_that_names_the_nearest(write: Write) -> None:
    (warning,) = load_settings(write(dependancies=["."])).warnings

    assert warning == 'langgraph.json:5 unknown key "dependancies", did you mean "dependencies"?'


def test_a_key_the_server_does_not_act_on_is_never_passed_over_in_silence(write: Write) -> None:
    (warning,) = load_settings(write(encryption={"path": "./secret.py:encryption"})).warnings

    assert '"encryption" is not supported yet' in warning


def test_the_stores_index_and_lifetimes_are_read_as_the_official_server_does(write: Write) -> None:
    own = {"index": {"embed": "./embed.py:embed", "dims": 3}, "ttl": {"default_ttl": 60, "refresh_on_read": False}}

    settings = load_settings(write(store=own), postgres_uri="postgresql://localhost/db")

    assert settings.store_index == StoreIndex(embed="./embed.py:embed", dims=3, fields=("$",))
    assert settings.store_ttl == StoreTtl(minutes=60, refresh_on_read=False)
    assert not settings.warnings


def test_a_search_by_meaning_that_one_file_cannot_do_is_not_passed_over_in_silence(write: Write) -> None:
    (warning,) = load_settings(write(store={"index": {"embed": "openai:small", "dims": 3}})).warnings

    assert "pgvector" in warning


@pytest.mark.parametrize("own", [{"index": {"embed": "openai:x"}}, {"index": 1}, {"ttl": {"default": 1}}, 5])
def test_a_store_that_cannot_be_understood_is_refused(write: Write, own: object) -> None:
    with pytest.raises(ConfigError, match='"store" cannot be understood'):
        load_settings(write(store=own))


def test_several_processes_without_a_database_they_share_are_refused(write: Write) -> None:
    for given in ({"role": "worker"}, {"redis_uri": "redis://localhost"}):
        with pytest.raises(ConfigError, match="for several processes"):
            load_settings(write(), **given)


def test_a_password_in_a_wrong_address_is_not_shown(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URI", "mysql://user:secret@host/db")

    with pytest.raises(ConfigError) as refused:
        load_settings(write())

    assert "secret" not in f"{refused.value} {refused.value.cause} {refused.value.where} {refused.value.fix}"


def test_a_database_file_on_the_command_line_wins_over_addresses_in_the_environment(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URI", "postgresql://host/db")
    monkeypatch.setenv("REDIS_URI", "redis://host")

    assert load_settings(write()).postgres_uri == "postgresql://host/db"
    assert load_settings(write(), db="own.db").postgres_uri is None


def test_a_server_that_was_to_authenticate_does_not_let_everybody_in(write: Write) -> None:
    with pytest.raises(ConfigError, match='"auth" is not supported yet'):
        load_settings(write(auth={"path": "./auth.py:auth"}))


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("{}", 'the key "graphs" is missing'),
        ('{"graphs": {}}', '"graphs" is empty'),
        ('{"graphs": ["./a.py:graph"]}', '"graphs" is an array, not an object'),
        ('{"graphs": {"a": 1}}', '"path" is a number, not a string'),
        ('{"graphs": {"a": {"description": "x"}}}', '"path" is missing'),
        ('{"graphs": {"a": "./a.py"}}', "it names a file, but not the graph in it"),
        ('{"graphs": {"a": "agent"}}', "it is neither ./file.py:name nor package.module:name"),
        ('{"graphs": {"a": "./a.ts:graph"}}', "JavaScript and TypeScript graphs cannot be loaded"),
        ('{"graphs": {"a": "./a.py:my graph"}}', "'my graph' cannot be a name in a Python module"),
        ("[1]", "it is an array"),
    ],
)
def test_what_is_wrong_with_the_graphs_is_said(write: Write, text: str, cause: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(write(text))

    assert caught.value.cause is not None
    assert caught.value.cause.startswith(cause)
    assert caught.value.where is not None
    assert caught.value.fix


def test_invalid_json_is_shown_with_line_and_column(write: Write) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(write('{\n  "graphs": {"a": "./a.py:graph",}\n}'))

    assert caught.value.where is not None
    assert caught.value.where.startswith("langgraph.json:2:")
    assert '"./a.py:graph",}' in caught.value.where


def test_a_missing_file_names_the_one_that_was_meant(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write()
    monkeypatch.chdir(path.parent)

    with pytest.raises(ConfigError) as caught:
        load_settings("langgraf.json")

    assert (caught.value.cause, caught.value.nearest) == ("the file does not exist", "langgraph.json")


def test_env_fills_the_environment_but_what_is_set_stays(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "outer")
    path = write(env=".env")
    (path.parent / ".env").write_text("KEPT=inner\nexport ADDED='x y' # why\n")

    load_settings(path)

    assert (os.environ["KEPT"], os.environ["ADDED"]) == ("outer", "x y")


def test_env_may_be_a_map(write: Write) -> None:
    load_settings(write(env={"MAPPED": "1", "NUMBER": 2}))

    assert (os.environ["MAPPED"], os.environ["NUMBER"]) == ("1", "2")


def test_a_missing_env_file_is_a_warning(write: Write) -> None:
    assert load_settings(write(env=".env")).warnings == ('langgraph.json:5 "env": .env does not exist',)


def test_env_of_a_wrong_type_is_refused(write: Write) -> None:
    with pytest.raises(ConfigError, match='"env" is an array'):
        load_settings(write(env=["A=1"]))


def test_dotenv_lines() -> None:
    text = (
        '# comment\nA=1\r\nexport B = two words # why\nC=\'a # b\'\nD="x\\n\\"y\\""\nE=\nF=http://h/#frag\n'
        'G="many\nlines"\nnonsense\n'
    )
    assert parse_dotenv(text) == {
        "A": "1",
        "B": "two words",
        "C": "a # b",
        "D": 'x\n"y"',
        "E": "",
        "F": "http://h/#frag",
        "G": "many\nlines",
    }


def test_the_command_line_wins_over_environment_over_file_over_default(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(turnkeeper={"jobs": 2, "cancel_grace": 1})

    def loaded(**overrides: Any) -> Settings:
        return load_settings(path, **overrides)

    assert (loaded().jobs, loaded().cancel_grace) == (2, 1)
    monkeypatch.setenv("N_JOBS_PER_WORKER", "3")
    assert loaded().jobs == 3
    monkeypatch.setenv("TURNKEEPER_JOBS", "4")
    assert loaded().jobs == 4
    assert loaded(jobs=5, port=None).jobs == 5
    monkeypatch.setenv("TURNKEEPER_CANCEL_GRACE", "0.5")
    assert loaded().cancel_grace == 0.5


def test_our_settings_may_stand_in_the_env_file(write: Write) -> None:
    path = write(env={"TURNKEEPER_MAX_BODY": "2048"})

    assert load_settings(path).max_body == 2048


def test_a_database_named_in_the_file_lies_beside_the_file(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(turnkeeper={"db": "data/runs.db"})

    assert load_settings(path).db == str(path.parent / "data/runs.db")
    assert load_settings(path, db=":memory:").db == ":memory:"
    monkeypatch.setenv("TURNKEEPER_DB", "here.db")
    assert load_settings(path).db == "here.db"


@pytest.mark.parametrize(
    ("own", "problem"),
    [
        ({"jobs": "many"}, '"jobs" cannot be "many"'),
        ({"jobs": 0}, '"jobs" cannot be 0'),
        ({"jobs": True}, '"jobs" cannot be true'),
        ({"jobs": 1.5}, '"jobs" cannot be 1.5'),
        ({"cancel_grace": -1}, '"cancel_grace" cannot be -1'),
        ({"concurrency_limit": 0}, '"concurrency_limit" cannot be 0'),
        ({"concurrency_limits": 4}, '"concurrency_limits" cannot be 4'),
        ({"concurrency_limits": {"openai": 0}}, '"concurrency_limits" cannot be {"openai": 0}'),
        ({"concurrency_limits": {"": 4}}, '"concurrency_limits" cannot be {"": 4}'),
        ({"max_body": 3}, '"max_body" cannot be 3'),
        ({"db": ""}, '"db" cannot be ""'),
        ([], '"turnkeeper" is an array, not an object'),
    ],
)
def test_a_wrong_value_of_ours_says_what_is_allowed(write: Write, own: object, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(write(turnkeeper=own))

    assert caught.value.problem == problem
    assert caught.value.fix


def test_an_unknown_key_of_ours_is_refused_with_the_nearest(write: Write) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(write(turnkeeper={"cancel_grase": 1}))

    assert (caught.value.nearest, caught.value.where) == (
        '"cancel_grace"',
        'langgraph.json:6   "turnkeeper"."cancel_grase"',
    )


def test_concurrency_keys_get_their_limits(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNKEEPER_CONCURRENCY_LIMIT", "10")

    settings = load_settings(write(turnkeeper={"concurrency_limits": {"openai": 4}}))

    assert (settings.concurrency_limit, settings.concurrency_limits) == (10, {"openai": 4})


def test_a_wrong_environment_variable_is_named(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNKEEPER_MAX_BODY", "8MB")

    with pytest.raises(ConfigError) as caught:
        load_settings(write())

    assert caught.value.where == "environment   TURNKEEPER_MAX_BODY=8MB"


def test_a_local_dependency_that_is_missing_is_refused(write: Write) -> None:
    path = write(dependencies=["./scr"])
    (path.parent / "src").mkdir()

    with pytest.raises(ConfigError) as caught:
        load_settings(path)

    assert caught.value.nearest == "./src"


def test_reading_the_configuration_imports_nothing_heavy() -> None:
    code = "import sys, turnkeeper.config; print({'langgraph', 'langchain_core', 'httpx'} & {*sys.modules})"

    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert output.strip() == "set()"
