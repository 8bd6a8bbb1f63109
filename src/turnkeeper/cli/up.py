"""`turnkeeper up`: a project as it runs in production, with PostgreSQL and Redis, in containers of this machine."""

from pathlib import Path
from typing import TypedDict, Unpack

import click

from turnkeeper.cli.docker import base_image_option, read_project, require_docker, run_docker, write_dockerfile
from turnkeeper.cli.dockerfile import API_PORT
from turnkeeper.cli.options import config_option
from turnkeeper.cli.screen import Screen, verbose_option

FOLDER = Path(".turnkeeper", "up")


class UpOptions(TypedDict):
    """What the command line gives."""

    config: Path
    port: int
    docker_compose: Path | None
    postgres_uri: str | None
    image: str | None
    base_image: str | None
    recreate: bool
    wait: bool


@click.command
@config_option
@click.option("-p", "--port", type=click.IntRange(1, 65535), default=API_PORT, show_default=True, help="Of the API.")
@click.option(
    "-d", "--docker-compose", type=click.Path(path_type=Path, exists=True), help="A compose file with more services."
)
@click.option("--postgres-uri", help="A database to use instead of one in a container.")
@click.option("--image", help="An image to run instead of building one.")
@base_image_option
@click.option("--recreate/--no-recreate", help="Replace containers that have not changed.  [default: no-recreate]")
@click.option("--wait", is_flag=True, help="Return once all is healthy.")
@verbose_option
@click.pass_obj
def up(screen: Screen, **options: Unpack[UpOptions]) -> int:
    """Run the project of langgraph.json in containers.

    One answers requests, one executes runs. Their state is kept in PostgreSQL.
    """
    project = read_project(screen, options["config"], options["base_image"])
    require_docker("up", plugin="compose")
    from turnkeeper.packaging.compose import render_compose

    folder = project.root / FOLDER
    dockerfile, compose = folder / "Dockerfile", folder / "compose.yaml"
    port, postgres_uri = options["port"], options["postgres_uri"]
    write_dockerfile(project, dockerfile)
    text = render_compose(
        project,
        folder=folder,
        dockerfile=dockerfile,
        port=port,
        image=options["image"],
        own_database=postgres_uri is None,
    )
    compose.write_text(text, encoding="utf-8")
    screen.line(f"  API      {click.style(f'http://127.0.0.1:{port}', fg='cyan')}")
    screen.line(f"  Stop     docker compose --file {compose} down")
    environ = {} if postgres_uri is None else {"DATABASE_URI": postgres_uri}
    return run_docker(_command(compose, options), **environ)


def _command(compose: Path, options: UpOptions) -> list[str]:
    more = options["docker_compose"]
    return [
        *("docker", "compose", "--file", str(compose)),
        *([] if more is None else ["--file", str(more)]),
        *("up", "--remove-orphans"),
        *(["--build"] if options["image"] is None else []),
        *(["--force-recreate"] if options["recreate"] else []),
        *(["--wait"] if options["wait"] else []),
    ]
