"""`turnkeeper serve`, and what every command that runs a server shares."""

import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from turnkeeper.cli.screen import Screen, verbose_option
from turnkeeper.errors import ConfigError

if TYPE_CHECKING:  # importing graphs imports langgraph
    from turnkeeper.config import Settings
    from turnkeeper.graphs.loader import Graphs

Command = TypeVar("Command", bound=Callable[..., Any])
OnReady = Callable[["Graphs", float], None]


class GraphsFailed(Exception):
    """Some graphs did not load where all of them must."""

    def __init__(self, errors: list[ConfigError]) -> None:
        super().__init__(f"{len(errors)} graphs did not load")
        self.errors = errors


def server_options(command: Command) -> Command:
    """The options `serve` and `dev` have in common; those of `langgraph dev` have the same names."""
    options = [
        click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on."),
        click.option("--port", type=click.IntRange(0, 65535), default=2024, show_default=True, help="0: any free one."),
        config_option,
        click.option("--db", help="Database file, or :memory:.  [default: .turnkeeper/turnkeeper.db]"),
        click.option("--n-jobs-per-worker", "jobs", type=click.IntRange(1), help="Runs at once.  [default: 100]"),
        click.option("--parent-fd", type=int, hidden=True, help="A pipe; the server stops when its other end closes."),
        verbose_option,
    ]
    for option in reversed(options):
        command = option(command)
    return command


def config_option(command: Command) -> Command:
    """`--config`."""
    path = click.Path(path_type=Path)
    return click.option(
        "-c", "--config", type=path, default="langgraph.json", show_default=True, help="Graphs to serve."
    )(command)


@click.command
@server_options
@click.pass_obj
def serve(
    screen: Screen, *, config: Path, host: str, port: int, db: str | None, jobs: int | None, parent_fd: int | None
) -> None:
    """Serve the graphs of langgraph.json. Does not start unless all of them load."""
    settings = read_settings(screen, config, host=host, port=port, db=db, jobs=jobs)
    sockets = listen_for(settings)
    stop_with_parent(parent_fd)
    run_server(settings_on(settings, sockets), sockets, _announce_if_whole(screen, settings_on(settings, sockets)))


def read_settings(screen: Screen, config: Path, **overrides: Any) -> "Settings":
    """The settings, with their warnings printed."""
    from turnkeeper.config import load_settings

    settings = load_settings(config, **overrides)
    for warning in settings.warnings:
        screen.warning(warning)
    return settings


def listen_for(settings: "Settings") -> list[socket.socket]:
    """The sockets the settings ask for."""
    from turnkeeper.cli.listening import listen

    return listen(settings.host, settings.port)


def settings_on(settings: "Settings", sockets: list[socket.socket]) -> "Settings":
    """The settings with the port that was really taken, where any free one was asked for."""
    from dataclasses import replace

    return replace(settings, port=sockets[0].getsockname()[1])


def run_server(settings: "Settings", sockets: list[socket.socket], on_ready: OnReady) -> None:
    """Serve until told to stop. Ctrl-C ends in `KeyboardInterrupt`, SIGTERM in a clean exit."""
    signal.signal(signal.SIGTERM, _leave)
    from turnkeeper.server import serve as serve_until_stopped

    serve_until_stopped(settings, sockets=sockets, on_ready=on_ready)


def stop_with_parent(parent_fd: int | None) -> None:
    """Ask ourselves to stop once the process that started us is gone, however it went."""
    if parent_fd is not None:
        threading.Thread(target=_await_end, args=(parent_fd,), daemon=True, name="parent").start()


def _await_end(descriptor: int) -> None:
    os.read(descriptor, 1)
    os.kill(os.getpid(), signal.SIGTERM)


def _leave(_signal: int, _frame: object) -> NoReturn:
    raise SystemExit(0)


def _announce_if_whole(screen: Screen, settings: "Settings") -> OnReady:
    def announce(graphs: "Graphs", seconds: float) -> None:
        from turnkeeper.cli.banner import banner

        if graphs.failed:
            raise GraphsFailed(list(graphs.failed.values()))
        screen.line(banner(settings, graphs, seconds))

    return announce
