"""`turnkeeper build`: a project as a container image."""

import tempfile
from pathlib import Path

import click

from turnkeeper.cli.docker import (
    base_image_option,
    build_command,
    read_project,
    require_docker,
    run_docker,
    write_dockerfile,
)
from turnkeeper.cli.options import config_option
from turnkeeper.cli.screen import Screen, verbose_option


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("-t", "--tag", required=True, help="Name of the image, like agent:1.0.")
@config_option
@base_image_option
@click.option("--pull/--no-pull", help="Look for a newer base image.  [default: no-pull]")
@click.argument("docker_options", nargs=-1, type=click.UNPROCESSED)
@verbose_option
@click.pass_obj
def build(
    screen: Screen, *, tag: str, config: Path, base_image: str | None, pull: bool, docker_options: tuple[str, ...]
) -> int:
    """Build an image of the project of langgraph.json.

    What else is given goes to `docker build`.
    """
    project = read_project(screen, config, base_image)
    require_docker("build")
    options = [*(["--pull"] if pull else []), *docker_options]
    with tempfile.TemporaryDirectory() as folder:
        dockerfile = Path(folder) / "Dockerfile"
        write_dockerfile(project, dockerfile)
        return run_docker(build_command(project, dockerfile, tag, *options), DOCKER_BUILDKIT="1")
