"""The files in `deploy/` fit the server, each other and what they are fed to, as far as that shows without Docker."""

import json
import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from tests.unit.images import check_compose, check_dockerfile, stages, the
from turnkeeper import __version__
from turnkeeper.cli import cli
from turnkeeper.config.options import OPTIONS

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "turnkeeper"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
COMPOSE = (DEPLOY / "compose.yaml").read_text()
TEMPLATES = {file.name: file.read_text() for file in (CHART / "templates").iterdir()}
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())


def pins(file: Path) -> dict[str, str]:
    """What a lock file says of each package, hashes included."""
    entries = re.split(r"\n(?=[a-z])", file.read_text().strip())
    return {entry.partition("==")[0]: entry for entry in entries}


def accepted(words: list[str]) -> None:
    """Raise if the command line would refuse these words."""
    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group):
        command, words = command.commands[words[0]], words[1:]
        context = click.Context(command, parent=context)
    command.make_context("it", list(words))


# --- image ------------------------------------------------------------------------------------------------------------


def test_the_image_is_small_unprivileged_and_says_how_it_is() -> None:
    check_dockerfile(DOCKERFILE)
    build, last = stages(DOCKERFILE)

    assert build[0].rest == "python:3.11-slim AS build"
    assert last[0].rest == "python:3.11-slim"
    assert not [each for each in last if each.name == "COPY"], "what was needed to build stays behind"


def test_the_image_runs_commands_there_are() -> None:
    last = stages(DOCKERFILE)[-1]

    accepted(the(last, "CMD").words)
    accepted(the(last, "HEALTHCHECK").words[1:])


def test_the_image_gets_what_it_copies() -> None:
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text().split()
    sources = [each.rest.split()[:-1] for each in stages(DOCKERFILE)[0] if each.name == "COPY"]

    assert lines[0] == "*"
    for source in [name for names in sources for name in names]:
        assert (ROOT / source).exists()
        assert f"!{source}" in lines
    packed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert all(any(fnmatch(path, f"{line[1:]}*") for line in lines[1:]) for path in packed["only-include"])


def test_the_image_runs_on_what_was_tested() -> None:
    ours, tested = pins(DEPLOY / "requirements.lock"), pins(ROOT / "requirements-dev.lock")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["postgres"], *extras["redis"]]

    assert {re.split(r"[^\w-]", each)[0] for each in wanted} <= set(ours)
    assert {name: entry for name, entry in ours.items() if tested.get(name) != entry} == {}


# --- compose ----------------------------------------------------------------------------------------------------------


def test_the_compose_file_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    services = check_compose(COMPOSE)["services"]

    monkeypatch.setenv("DATABASE_URI", services["migrate"]["environment"]["DATABASE_URI"])
    accepted(services["migrate"]["command"])
    for role in ("api", "worker"):
        assert services[role]["environment"]["TURNKEEPER_ROLE"] == role
        assert services[role]["read_only"] is True
        assert services[role]["cap_drop"] == ["ALL"]
        assert services[role]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    assert (DEPLOY / services["api"]["volumes"][0].split(":")[0] / "langgraph.json").is_file()
    assert (DEPLOY / services["api"]["build"]["context"] / services["api"]["build"]["dockerfile"]).is_file()


def test_containers_are_given_the_time_they_need_to_stop() -> None:
    services = yaml.safe_load(COMPOSE)["services"]

    for role in ("api", "worker"):
        drain = float(services[role]["environment"]["TURNKEEPER_DRAIN_TIMEOUT"])
        assert float(services[role]["stop_grace_period"].rstrip("s")) > longest_stop(drain, grace=5)


def longest_stop(drain: float, grace: float) -> float:
    """Seconds a server takes at most: its open responses, its runs, those that ignore being cancelled."""
    return (grace + 5) + (drain + grace + 1)


# --- all of them ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [DOCKERFILE, COMPOSE, *TEMPLATES.values()])
def test_every_setting_is_one_the_server_knows(text: str) -> None:
    known = {name for option in OPTIONS.values() for name in option.variables}

    assert set(re.findall(r"\b(TURNKEEPER_[A-Z_]+\b|DATABASE_URI|REDIS_URI)(?!\.)", text)) <= known


def test_versions_agree() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    named = re.findall(r"turnkeeper:(\d[\w.]*)", DOCKERFILE + COMPOSE)

    assert {chart["appVersion"], *named} == {__version__}


# --- chart ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_value_a_template_uses_exists(name: str) -> None:
    for path in re.findall(r"\.Values((?:\.\w+)+)", TEMPLATES[name]):
        value: Any = VALUES
        for key in path[1:].split("."):
            assert key in value, path
            value = value[key]


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_block_of_a_template_is_closed(name: str) -> None:
    words = re.findall(r"\{\{-?\s*(if|with|range|define|end)\b", TEMPLATES[name])

    assert words.count("end") * 2 == len(words)
    assert TEMPLATES[name].count("{{") == TEMPLATES[name].count("}}")


def test_the_schema_knows_every_value_and_no_other() -> None:
    def compare(values: dict[str, Any], schema: dict[str, Any], where: str) -> None:
        if "$ref" in schema:
            schema = SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]]
        for part in schema.get("allOf", []):
            compare(values, part, where)
        if schema.get("additionalProperties") is False:
            assert set(schema["properties"]) - {"global"} == set(values), where
            for key, value in values.items():
                if isinstance(value, dict):
                    compare(value, schema["properties"][key], f"{where}.{key}")

    compare(VALUES, SCHEMA, "")
