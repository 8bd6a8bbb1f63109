"""`turnkeeper dev`: the server, started anew whenever its code changes."""

import os
import sys
from typing import TYPE_CHECKING, Unpack

import click

from turnkeeper.cli.options import ServerOptions, server_options
from turnkeeper.cli.screen import Screen
from turnkeeper.cli.serve import run_server
from turnkeeper.cli.stopping import tell_parent

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
    no_reload: bool,
    no_browser: bool,  # noqa: ARG001  there is no page to open
    listen_fds: tuple[int, ...],
    changed: str | None,
    **options: Unpack[ServerOptions],
) -> int | None:
    """Serve the graphs of langgraph.json while they are being written.

    Restarts on changes, and stays up when a graph is broken.
    """

    def announce(settings: "Settings", graphs: "Graphs", seconds: float) -> None:
        from turnkeeper.cli.banner import banner
        from turnkeeper.cli.child import READY

        ready = f"reloaded: {changed} changed   ready in {seconds:.1f} s"
        screen.line(ready if changed else banner(settings, graphs, seconds))
        screen.cards(graphs.failed.values())
        tell_parent(options["parent_fd"], READY)

    if listen_fds or no_reload or os.name == "nt":  # Windows cannot hand a socket down by its number
        return run_server(screen, options, announce, listen_fds=listen_fds)
    return _reloading(screen, options)


def _reloading(screen: Screen, options: ServerOptions) -> int:
    from turnkeeper.cli.listening import listen
    from turnkeeper.cli.reload import Reloader

    sockets = listen(options["host"], options["port"])
    words = ["--host", options["host"], "--port", str(sockets[0].getsockname()[1]), "--config", str(options["config"])]
    given = {"--db": options["db"], "--role": options["role"]}
    given |= {"--postgres-uri": options["postgres_uri"], "--redis-uri": options["redis_uri"]}
    words += [word for name, value in given.items() if value for word in (name, value)]
    words += ["--n-jobs-per-worker", str(options["jobs"])] if options["jobs"] else []
    words += ["--verbose"] if screen.verbose else []
    plain = ["--no-color"] if screen.color is False else []
    command = [sys.executable, "-P", "-m", "turnkeeper", *plain, "dev", *words]
    return Reloader(screen, options["config"].absolute(), command, sockets).run()
