"""Options several commands share. Those of `langgraph dev` have the same names."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import click

from turnkeeper.cli.screen import Screen, verbose_option

if TYPE_CHECKING:
    from turnkeeper.config import Settings

ROLES = ("all", "api", "worker")

Command = TypeVar("Command", bound=Callable[..., Any])


class ServerOptions(TypedDict):
    """What `server_options` pass to a command."""

    config: Path
    host: str
    port: int
    db: str | None
    postgres_uri: str | None
    redis_uri: str | None
    role: str | None
    jobs: int | None
    parent_fd: int | None


def config_option(command: Command) -> Command:
    """`--config`."""
    path = click.Path(path_type=Path)
    return click.option(
        "-c", "--config", type=path, default="langgraph.json", show_default=True, help="Graphs to serve."
    )(command)


def server_options(command: Command) -> Command:
    """The options of every command that runs a server."""
    options = [
        click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on."),
        click.option("--port", type=click.IntRange(0, 65535), default=2024, show_default=True, help="0: any free one."),
        config_option,
        click.option("--db", help="Database file, or :memory:.  [default: .turnkeeper/turnkeeper.db]"),
        click.option("--postgres-uri", help="PostgreSQL of several servers, instead of --db.  [env: DATABASE_URI]"),
        click.option("--redis-uri", help="Redis, for what they tell each other.  [env: REDIS_URI]"),
        click.option("--role", type=click.Choice(ROLES), help="Serve the API, execute runs, or both.  [default: all]"),
        click.option("--n-jobs-per-worker", "jobs", type=click.IntRange(1), help="Runs at once.  [default: 100]"),
        click.option("--parent-fd", type=int, hidden=True, help="A line to the parent process."),
        verbose_option,
    ]
    for option in reversed(options):
        command = option(command)
    return command


def read_settings(screen: Screen, config: Path, **overrides: Any) -> "Settings":
    """The settings, with their warnings printed."""
    from turnkeeper.config import load_settings

    settings = load_settings(config, **overrides)
    for warning in settings.warnings:
        screen.warning(warning)
    return settings
