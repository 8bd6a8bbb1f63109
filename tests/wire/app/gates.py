"""How tests steer nodes without a clock: every node tells when it begins and ends, and waits where a test holds it.

A place is `TAG.node`. `<GATES>/<thread>/log` gets a line per event, in order; a node waits as long as the file
`<GATES>/<thread>/<place>.hold` exists. `tests/wire/live.py` has the other side.
"""

import asyncio
import os
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from langchain_core.runnables import RunnableConfig

POLL = 0.005


@asynccontextmanager
async def visit(config: RunnableConfig, place: str) -> AsyncGenerator[None]:
    """Tell of the visit; wait at the entrance while the place is held."""
    folder = _folder(config)
    note(config, f"{place} began")
    try:
        while (folder / f"{place}.hold").exists():
            await asyncio.sleep(POLL)
        yield
    except asyncio.CancelledError:
        note(config, f"{place} was cancelled")
        raise
    except Exception:
        note(config, f"{place} failed")
        raise
    note(config, f"{place} ended")


def visit_blocking(config: RunnableConfig, place: str) -> None:
    """The same for a node that is no coroutine."""
    note(config, f"{place} began")
    while (_folder(config) / f"{place}.hold").exists():
        time.sleep(POLL)
    note(config, f"{place} ended")


def note(config: RunnableConfig, event: str) -> None:
    """Write down what happened."""
    folder = _folder(config)
    folder.mkdir(exist_ok=True)
    with (folder / "log").open("a") as log:
        log.write(f"{event}\n")


def _folder(config: RunnableConfig) -> Path:
    return Path(os.environ["GATES"]) / config.get("configurable", {})["thread_id"]
