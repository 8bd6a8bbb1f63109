"""A project's Dockerfile and compose file: what is in the image, and what is not."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.images import check_compose, check_dockerfile, instructions, the
from turnkeeper import __version__
from turnkeeper.config import load_settings
from turnkeeper.errors import ConfigError
from turnkeeper.packaging.compose import render_compose
from turnkeeper.packaging.dockerfile import render_dockerfile, render_ignore
from turnkeeper.packaging.project import Project, read_project

SERVER = f"'turnkeeper[postgres,redis]=={__version__}'"
GRAPHS = {"graphs": {"agent": "./agent.py:graph"}}

Made = Callable[..., Project]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """A project of a `langgraph.json` with these keys, and of these files."""

    def make(*files: str, folder: str = "", building_on: str | None = None, **keys: Any) -> Project:
        for name in files:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("secret=hunter2\n")
        config = tmp_path / folder / "langgraph.json"
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(json.dumps(GRAPHS | keys))
        return read_project(config, base_image=building_on)

    return make


def runs(project: Project) -> list[str]:
    """What is run while the image is built."""
    return [each.rest for each in instructions(render_dockerfile(project)) if each.name == "RUN"]


def installed(project: Project) -> list[str]:
    """What pip is asked for, command by command."""
    return [words.partition(" ignore ")[2] for words in runs(project) if "pip install" in words]


# --- Dockerfile -------------------------------------------------------------------------------------------------------


def test_the_image_serves_the_langgraph_json_it_was_made_of(made: Made) -> None:
    text = render_dockerfile(made(dependencies=["."]))

    check_dockerfile(text)
    read = instructions(text)
    assert read[0].rest == "python:3.11-slim"
    assert the(read, "WORKDIR").rest == "/app"
    assert the(read, "CMD").words == ["serve", "--host", "0.0.0.0", "--port", "8000", "--config", "langgraph.json"]


def test_requirements_are_installed_before_the_code_is_copied(made: Made) -> None:
    project = made(
        "requirements.txt", dependencies=[".", "langchain-openai>=1,<2", "tools @ git+https://example.com/t"]
    )

    steps = [each.rest for each in instructions(render_dockerfile(project)) if each.name in {"COPY", "RUN"}]
    assert installed(project) == [
        "--requirement /app/requirements.txt",
        f"{SERVER} 'langchain-openai>=1,<2' 'tools @ git+https://example.com/t'",
    ]
    assert steps[0] == '["requirements.txt", "/app/requirements.txt"]'
    assert steps.index('[".", "/app/"]') > max(steps.index(each) for each in steps if "pip install" in each)


def test_a_package_is_installed_from_where_it_lies_with_its_extras(made: Made) -> None:
    project = made(
        "lib/pyproject.toml", "lib/requirements.txt", "plain/mod.py", dependencies=["./lib[fast]", "./plain"]
    )

    assert installed(project) == [SERVER, f"{SERVER} --editable '/app/lib[fast]'"]


def test_local_dependencies_are_found_in_the_image_where_the_file_says(made: Made, tmp_path: Path) -> None:
    project = made(
        "libs/common/x.py",
        "apps/my agent/own/y.py",
        folder="apps/my agent",
        dependencies=["../../libs/common", "./own"],
    )
    image = tmp_path / "image"

    for each in instructions(render_dockerfile(project)):
        if each.name == "COPY":
            source, target = each.words
            shutil.copytree(project.context / source, image / target.lstrip("/"), dirs_exist_ok=True)
    inside = image / the(instructions(render_dockerfile(project)), "WORKDIR").rest.lstrip("/")
    settings = load_settings(inside / "langgraph.json")

    assert [
        (folder / name).is_file() for folder, name in zip(settings.dependencies, ["x.py", "y.py"], strict=True)
    ] == [True, True]


@pytest.mark.parametrize(
    ("keys", "base"),
    [
        ({"python_version": "3.13"}, "python:3.13-slim"),
        ({"python_version": "3.12", "image_distro": "bookworm"}, "python:3.12-slim-bookworm"),
        ({"base_image": "mine/python:3.11"}, "mine/python:3.11"),
    ],
)
def test_the_file_says_what_is_built_on(made: Made, keys: dict[str, str], base: str) -> None:
    assert instructions(render_dockerfile(made(**keys)))[0].rest == base


def test_the_command_line_wins_over_the_file(made: Made) -> None:
    assert made(building_on="turnkeeper:0.1.0", base_image="mine:1").base_image == "turnkeeper:0.1.0"


def test_an_image_of_the_reference_server_is_not_built_on(made: Made) -> None:
    project = made(base_image="langchain/langgraph-api:3.12")

    assert project.base_image == "python:3.11-slim"
    assert "langchain/langgraph-api:3.12 is an image of the reference server" in project.warnings[0]


def test_own_lines_come_first_and_as_root(made: Made) -> None:
    read = instructions(render_dockerfile(made(dockerfile_lines=["RUN apt-get update", "ENV A=b"])))

    assert [(each.name, each.rest) for each in read[1:4]] == [
        ("USER", "root"),
        ("RUN", "apt-get update"),
        ("ENV", "A=b"),
    ]


@pytest.mark.parametrize(
    ("kept", "removed"),
    [([], "pip setuptools wheel"), (["pip"], "setuptools wheel"), (False, "pip setuptools wheel"), (True, None)],
)
def test_tools_the_server_has_no_use_for_are_removed(made: Made, kept: Any, removed: str | None) -> None:
    uninstalled = [words for words in runs(made(keep_pkg_tools=kept)) if "uninstall" in words]

    assert uninstalled == ([f"pip uninstall --yes {removed}"] if removed else [])


def test_no_secret_gets_into_the_image(made: Made) -> None:
    project = made("pip.conf", "keys.env", "sub/.env", env="keys.env", pip_config_file="pip.conf", dependencies=["."])
    text, ignored = render_dockerfile(project), render_ignore(project).splitlines()

    assert "hunter2" not in text
    assert {"pip.conf", "keys.env", "**/.env", "**/.git"} <= set(ignored)
    assert all(
        "--mount=type=secret,id=pip_config,target=/etc/pip.conf,required=true" in words
        for words in runs(project)
        if "pip install" in words
    )


def test_what_a_project_leaves_out_is_left_out(made: Made) -> None:
    project = made(".dockerignore")

    ignored = render_ignore(project).splitlines()

    assert ignored[0] == "secret=hunter2"
    assert "**/.env" in ignored[1:], "after the project's own lines, which may let things in again"


def test_the_files_environment_is_not_ours(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OF_THE_FILE", raising=False)
    monkeypatch.setenv("REDIS_URI", "redis://elsewhere")

    made(env={"OF_THE_FILE": "1", "TURNKEEPER_JOBS": "7"})

    assert "OF_THE_FILE" not in os.environ
    assert "TURNKEEPER_JOBS" not in os.environ


@pytest.mark.parametrize(
    ("key", "value", "fix"),
    [
        ("python_version", "3.10", "3.11 or newer"),
        ("python_version", 3.11, "3.11 or newer"),
        ("python_version", "3.11.4", "3.11 or newer"),
        ("image_distro", "wolfi", "base_image"),
        ("base_image", "", "python:3.11-slim"),
        ("dockerfile_lines", "RUN x", "array of strings"),
        ("pip_config_file", "missing.conf", "path of a file"),
        ("keep_pkg_tools", ["uv"], "pip, setuptools, wheel"),
        ("source", {"kind": "uv"}, "dependencies"),
    ],
)
def test_what_cannot_be_built_is_refused_by_name(made: Made, key: str, value: Any, fix: str) -> None:
    with pytest.raises(ConfigError) as refused:
        made(**{key: value})

    assert refused.value.where == f'langgraph.json:1   "{key}"'
    assert fix in (refused.value.fix or "")


def test_what_has_no_effect_is_said(made: Made) -> None:
    told = made(node_version="20", api_version="0.2", pip_installer="uv").warnings

    assert [line.split('"')[1] for line in told] == ["node_version", "api_version", "pip_installer"]


# --- compose ----------------------------------------------------------------------------------------------------------


def composed(project: Project, **options: Any) -> dict[str, Any]:
    """The compose file that would lie beside the project's `langgraph.json`."""
    dockerfile = project.root / "Dockerfile"
    return check_compose(render_compose(project, folder=project.root, dockerfile=dockerfile, port=8123, **options))


def test_requests_and_runs_get_containers_of_their_own(made: Made) -> None:
    services = composed(made(folder="My Agent!"))["services"]

    assert set(services) == {"postgres", "redis", "migrate", "api", "worker"}
    assert {name: services[name]["environment"]["TURNKEEPER_ROLE"] for name in ("api", "worker")} == {
        "api": "api",
        "worker": "worker",
    }
    assert services["api"]["ports"] == ["127.0.0.1:8123:8000"]
    assert "ports" not in services["postgres"] | services["redis"] | services["worker"]
    assert services["migrate"]["command"] == ["db", "migrate"]
    assert services["api"]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    assert services["api"]["build"] == {"context": ".", "dockerfile": "Dockerfile"}


def test_containers_of_different_projects_do_not_meet(made: Made) -> None:
    assert composed(made(folder="My Agent!"))["name"] == "my-agent-"


def test_the_projects_environment_reaches_its_containers(made: Made) -> None:
    services = composed(made(".env", env=".env"))["services"]

    assert services["api"]["env_file"] == services["worker"]["env_file"] == [".env"]


def test_with_a_database_elsewhere_none_is_started(made: Made) -> None:
    document = composed(made(), own_database=False)

    assert "postgres" not in document["services"]
    assert "volumes" not in document
    assert document["services"]["api"]["environment"]["DATABASE_URI"] == "${DATABASE_URI}"


def test_an_image_that_exists_is_not_built(made: Made) -> None:
    services = composed(made("pip.conf", pip_config_file="pip.conf"), image="agent:1")["services"]

    assert {services[name]["image"] for name in ("migrate", "api", "worker")} == {"agent:1"}
    assert "build" not in services["api"]


def test_a_build_by_compose_is_handed_the_pip_configuration(made: Made) -> None:
    document = composed(made("pip.conf", pip_config_file="pip.conf"))

    assert document["secrets"] == {"pip_config": {"file": "pip.conf"}}
    assert document["services"]["api"]["build"]["secrets"] == ["pip_config"]
