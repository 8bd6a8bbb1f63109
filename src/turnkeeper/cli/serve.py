"""`turnkeeper serve`, and running a server in this process."""

import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Unpack

import click

from turnkeeper.cli.options import ServerOptions, read_settings, server_options
from turnkeeper.cli.screen import Screen
from turnkeeper.cli.stopping import stop_on_sigterm, stop_with_parent
from turnkeeper.errors import ConfigError

if TYPE_CHECKING:  # importing graphs imports langgraph
    from turnkeeper.config import Settings
    from turnkeeper.graphs.loader import Graphs

OnReady = Callable[["Settings", "Graphs", float], None]


class GraphsFailed(Exception):
    """Some graphs did not load where all of them must."""

    def __init__(self, errors: list[ConfigError]) -> None:
        super().__init__(f"{len(errors)} graphs did not load")
        self.errors = errors


@click.command
@server_options
@click.pass_obj
def serve(screen: Screen, **options: Unpack[ServerOptions]) -> None:
    """Serve the graphs of langgraph.json. Does not start unless all of them load."""

    def announce(settings: "Settings", graphs: "Graphs", seconds: float) -> None:
        from turnkeeper.cli.banner import banner

        screen.line(banner(settings, graphs, seconds))

    run_server(screen, options, announce, strict=True)


def run_server(
    screen: Screen,
    options: ServerOptions,
    on_ready: OnReady,
    *,
    listen_fds: Sequence[int] = (),
    strict: bool = False,
) -> None:
    """Serve until told to stop: Ctrl-C ends in `KeyboardInterrupt`, SIGTERM in `Stopped`.

    With `strict` a graph that does not load is a `GraphsFailed`, before any queued run is taken up.
    """
    begun = time.perf_counter()
    given = {key: value for key, value in options.items() if key not in ("config", "parent_fd")}
    settings = read_settings(screen, options["config"], **given)
    sockets = [socket.socket(fileno=number) for number in listen_fds] or _listen(settings)
    settings = replace(settings, port=sockets[0].getsockname()[1])
    stop_on_sigterm()
    stop_with_parent(options["parent_fd"])
    from turnkeeper.server import serve as serve_until_stopped

    graphs = _load(settings, strict=strict)

    def ready() -> None:
        on_ready(settings, graphs, time.perf_counter() - begun)  # importing all of the above counts too

    serve_until_stopped(settings, graphs, sockets=sockets, on_ready=ready)


def _load(settings: "Settings", *, strict: bool) -> "Graphs":
    from turnkeeper.graphs.loader import Graphs

    graphs = Graphs.load(settings)
    if strict and graphs.failed:
        raise GraphsFailed(list(graphs.failed.values()))
    return graphs


def _listen(settings: "Settings") -> list[socket.socket]:
    from turnkeeper.cli.listening import listen

    return listen(settings.host, settings.port)
