"""The few lines that say a server is ready."""

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from turnkeeper import __version__

if TYPE_CHECKING:  # importing graphs imports langgraph
    from turnkeeper.config import Settings
    from turnkeeper.graphs.loader import Graphs

COLUMN = 44


def banner(settings: "Settings", graphs: "Graphs", seconds: float) -> str:
    """Version, address, graphs and storage."""
    counts = f"{len(graphs.ids)} loaded, {len(graphs.failed)} failed"
    head = f"turnkeeper {__version__}   ready in {seconds:.1f} s"
    return "\n".join([
        f"{click.style(head, bold=True)}{' ' * max(COLUMN + 9 - len(head), 3)}Ctrl-C to stop",
        f"  API      {click.style(address(settings.host, settings.port), fg='cyan')}",
        f"  Graphs   {'  '.join(graphs.ids) or '-':<{COLUMN - 3}} {counts}",
        f"  Storage  {storage(settings.postgres_uri or settings.db)}",
        *_process(settings),
    ])  # fmt: skip


def address(host: str, port: int) -> str:
    """The URL a client on this machine uses."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}.get(host, host)  # noqa: S104  only compared
    return f"http://{f'[{reachable}]' if ':' in reachable and reachable[0] != '[' else reachable}:{port}"


def _process(settings: "Settings") -> list[str]:
    """What sets a process apart that is one of several."""
    if settings.postgres_uri is None:
        return []
    does = {"all": "API and worker", "api": "API only: workers execute the runs", "worker": "worker: no API here"}
    through = "Redis" if settings.redis_uri else "PostgreSQL"
    return [f"  Role     {does[settings.role]}; events and signals go through {through}"]


def storage(db: str) -> str:
    """Where state lies, and whether it is there after a restart."""
    if db == ":memory:":
        return "in memory (gone when the server stops)"
    if "://" in db:
        return f"PostgreSQL {urlsplit(db).hostname or 'on this machine'} (kept)"
    path = Path(db)
    near = path.absolute().is_relative_to(Path.cwd())
    return f"SQLite {'./' + os.path.relpath(path) if near else path} (kept)"
