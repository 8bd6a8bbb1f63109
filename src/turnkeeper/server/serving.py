"""Serves the application until the process is told to stop."""

import gc
import os
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType

import uvicorn

from turnkeeper.config import Settings
from turnkeeper.graphs.loader import Graphs
from turnkeeper.server.composition import Server
from turnkeeper.server.logs import configure_logs

SWITCH_INTERVAL = 0.001
"""Seconds a thread may hold the interpreter while others wait: the API answers while a graph computes."""


class _Uvicorn(uvicorn.Server):
    """Uvicorn that says when it is ready, and ends our streams before it waits for open responses."""

    def __init__(self, config: uvicorn.Config, server: Server, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._turnkeeper = server
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal drains, the second ends the process as it would end any: a restart takes up the runs."""
        if self.should_exit:
            signal.signal(sig, signal.SIG_DFL)
            os.kill(os.getpid(), sig)
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._turnkeeper.end_streams()
        await super().shutdown(sockets)


def serve(
    settings: Settings,
    graphs: Graphs,
    *,
    sockets: list[socket.socket] | None = None,
    on_ready: Callable[[], None] = lambda: None,
) -> None:
    """Serve until SIGINT or SIGTERM. Raises `ConfigError` when the database cannot be used.

    `sockets` are listened on instead of the settings' host and port; `on_ready` is called once they answer.
    """
    sys.setswitchinterval(SWITCH_INTERVAL)
    configure_logs()
    server = Server(settings, graphs)
    server.open()
    config = uvicorn.Config(
        server.app(),
        host=settings.host,
        port=settings.port,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=int(settings.cancel_grace) + 5,
    )
    gc.collect()
    gc.freeze()  # modules and graphs live as long as the process: the collector need not look through them again
    try:
        _Uvicorn(config, server, on_ready).run(sockets)
    finally:
        server.close()
