"""`turnkeeper dev`: the server, started anew whenever its code changes."""

import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from turnkeeper.cli.screen import Screen
from turnkeeper.cli.serve import (
    OnReady,
    listen_for,
    read_settings,
    run_server,
    server_options,
    settings_on,
    stop_with_parent,
)

if TYPE_CHECKING:  # importing graphs imports langgraph
    from turnkeeper.config import Settings
    from turnkeeper.graphs.loader import Graphs


@click.command
@server_options
@click.option("--no-reload", is_flag=True, help="Do not watch for changes.")
@click.option("--no-browser", is_flag=True, help="Do not open a browser.")
@click.option("--listen-fd", "listen_fds", type=int, multiple=True, hidden=True, help="Sockets to inherit.")
@click.option("--changed", hidden=True, help="What the server was restarted for.")
@click.pass_obj
def dev(
    screen: Screen,
    *,
    config: Path,
    host: str,
    port: int,
    db: str | None,
    jobs: int | None,
    no_reload: bool,
    no_browser: bool,  # noqa: ARG001  there is no page to open
    parent_fd: int | None,
    listen_fds: tuple[int, ...],
    changed: str | None,
) -> int | None:
    """Serve the graphs of langgraph.json while they are being written.

    Restarts on changes, and stays up when a graph is broken.
    """
    if listen_fds or no_reload or os.name == "nt":  # Windows cannot hand a socket down by its number
        settings = read_settings(screen, config, host=host, port=port, db=db, jobs=jobs)
        sockets = [socket.socket(fileno=number) for number in listen_fds] or listen_for(settings)
        stop_with_parent(parent_fd)
        settings = settings_on(settings, sockets)
        run_server(settings, sockets, _announce(screen, settings, changed))
        return None
    from turnkeeper.cli.listening import listen
    from turnkeeper.cli.reload import Reloader

    sockets = listen(host, port)
    options = ["--host", host, "--port", str(sockets[0].getsockname()[1]), "--config", str(config)]
    options += ["--db", db] if db else []
    options += ["--n-jobs-per-worker", str(jobs)] if jobs else []
    options += ["--verbose"] if screen.verbose else []
    start = [sys.executable, "-m", "turnkeeper", *(["--no-color"] if screen.color is False else []), "dev", *options]
    return Reloader(screen, config.absolute(), start, sockets).run()


def _announce(screen: Screen, settings: "Settings", changed: str | None) -> OnReady:
    def announce(graphs: "Graphs", seconds: float) -> None:
        from turnkeeper.cli.banner import banner

        ready = f"reloaded: {changed} changed   ready in {seconds:.1f} s"
        screen.line(ready if changed else banner(settings, graphs, seconds))
        screen.cards(graphs.failed.values())

    return announce
