"""Docker as a subprocess, the files it is given, and the options of the commands that need it."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from turnkeeper.cli.screen import Screen
from turnkeeper.errors import ConfigError

if TYPE_CHECKING:  # reading a project is not needed for --help
    from turnkeeper.packaging.project import Project

Command = TypeVar("Command", bound=Callable[..., Any])

INTERRUPTED = 130


def base_image_option(command: Command) -> Command:
    """`--base-image`."""
    help = "Image to build on.  [default: base_image of the file, or python:3.11-slim]"  # noqa: A001  click's word
    return click.option("--base-image", metavar="IMAGE", help=help)(command)


def read_project(screen: Screen, config: Path, base_image: str | None) -> "Project":
    """The project, with its warnings printed."""
    from turnkeeper.packaging.project import read_project as read

    project = read(config, base_image=base_image)
    for warning in project.warnings:
        screen.warning(warning)
    return project


def write_dockerfile(project: "Project", path: Path) -> list[Path]:
    """Write the Dockerfile, and beside it what Docker is not to see of the project; what was written."""
    from turnkeeper.packaging.dockerfile import render_dockerfile, render_ignore

    ignore = path.with_name(f"{path.name}.dockerignore")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render_dockerfile(project), encoding="utf-8")
    ignore.write_text(render_ignore(project), encoding="utf-8")
    return [path, ignore]


def build_command(project: "Project", dockerfile: Path, tag: str, *options: str) -> list[str]:
    """The words of the command that builds the image."""
    from turnkeeper.packaging.dockerfile import PIP_CONFIG

    secret = [] if project.pip_config is None else ["--secret", f"id={PIP_CONFIG},src={project.pip_config}"]
    return ["docker", "build", "--file", str(dockerfile), "--tag", tag, *secret, *options, str(project.context)]


def require_docker(command: str, plugin: str | None = None) -> None:
    """Raise `ConfigError` if there is no Docker, or it lacks a plugin: before anything is written for it."""
    elsewhere = "or write the files with `turnkeeper dockerfile Dockerfile`, and build where it is"
    if shutil.which("docker") is None:
        raise ConfigError(
            "docker was not found",
            cause=f"turnkeeper {command} runs it, and no folder of PATH has it",
            fix=f"install Docker; {elsewhere}",
        )
    if plugin is not None and not _answers(plugin):
        raise ConfigError(
            f"docker has no `{plugin}` command",
            cause=f"turnkeeper {command} runs `docker {plugin}`, and `docker {plugin} version` failed",
            fix=f"install Docker's {plugin} plugin; {elsewhere}",
        )


def _answers(plugin: str) -> bool:
    words = ["docker", plugin, "version"]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0  # noqa: S603  no shell


def run_docker(words: list[str], **environ: str) -> int:
    """Run the command until it ends; 0, 1 if it failed, 130 after Ctrl-C, which is for Docker to act on."""
    before = signal.signal(signal.SIGINT, _leave_it_to_docker)
    try:
        code = subprocess.run(words, env={**os.environ, **environ}, check=False).returncode  # noqa: S603  no shell
    finally:
        signal.signal(signal.SIGINT, before)
    return code if code in {0, INTERRUPTED} else 1


def _leave_it_to_docker(_signal: int, _frame: object) -> None:
    """Instead of `SIG_IGN`, which Docker would inherit."""
