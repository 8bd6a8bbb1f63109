"""What nodes write down about themselves, and the gates at which tests hold them.

`<GATES>/<thread>/log` gets a line `TAG.node WHAT RUN` per event (began, ended, was cancelled, broke off), in order; a
node waits as long as `<GATES>/<thread>/<TAG.node>.hold` exists. `tests/interleaving/driver.py` has the other side.
"""

import asyncio
import os
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from langchain_core.runnables import RunnableConfig

POLL = 0.002
GATES = Path(os.environ.get("GATES", "gates"))


@asynccontextmanager
async def visit(config: RunnableConfig, place: str, pace: float = 0.0) -> AsyncGenerator[None]:
    """Tell of the visit; take `pace` seconds for it, and wait at the entrance while the place is held."""
    configurable = config.get("configurable", {})
    folder, run_id = GATES / configurable["thread_id"], configurable.get("run_id")
    folder.mkdir(exist_ok=True)
    note(folder, f"{place} began {run_id}")
    try:
        while (folder / f"{place}.hold").exists():
            await asyncio.sleep(POLL)
        if pace:
            await asyncio.sleep(pace)
        yield
    except asyncio.CancelledError:
        note(folder, f"{place} was cancelled {run_id}")
        raise
    except Exception:
        note(folder, f"{place} broke off {run_id}")
        raise
    note(folder, f"{place} ended {run_id}")


def hold_here(thread_id: str, place: str) -> None:
    """Stop the whole loop at a place that is held: a test that ends the server there knows what is on disk."""
    folder = GATES / thread_id
    if (folder / f"{place}.hold").exists():
        note(folder, f"{place} began -")
        while (folder / f"{place}.hold").exists():
            time.sleep(POLL)


def note(folder: Path, event: str) -> None:
    """Write down what happened."""
    with (folder / "log").open("a") as log:
        log.write(f"{event}\n")
