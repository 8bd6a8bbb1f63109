"""`turnkeeper dockerfile`: what `turnkeeper build` would build, to keep or to build elsewhere."""

import shlex
from pathlib import Path

import click

from turnkeeper.cli.docker import base_image_option, build_command, read_project, write_dockerfile
from turnkeeper.cli.options import config_option
from turnkeeper.cli.screen import Screen, verbose_option

API_PORT = 8123


@click.command
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False))
@config_option
@base_image_option
@click.option("--add-docker-compose", is_flag=True, help="Write a compose.yaml beside it.")
@verbose_option
@click.pass_obj
def dockerfile(screen: Screen, *, path: Path, config: Path, base_image: str | None, add_docker_compose: bool) -> None:
    """Write a Dockerfile for the project of langgraph.json to PATH."""
    from turnkeeper.packaging.compose import compose_name, render_compose

    project = read_project(screen, config, base_image)
    path = path.absolute()
    written = write_dockerfile(project, path)
    command = shlex.join(build_command(project, path, compose_name(project)))
    if add_docker_compose:
        compose = path.with_name("compose.yaml")
        compose.write_text(
            render_compose(project, folder=path.parent, dockerfile=path, port=API_PORT), encoding="utf-8"
        )
        written.append(compose)
        command = shlex.join(["docker", "compose", "--file", str(compose), "up", "--build"])
    for file in written:
        screen.line(f"wrote {file}")
    screen.line(f"next: {command}")
