"""How a test holds a model in mid-sentence: it waits as long as the file `<GATES>/<word>.hold` exists."""

import asyncio
import os
from pathlib import Path

POLL = 0.005


async def passed(word: str) -> None:
    """Return once nothing holds this word."""
    hold = Path(os.environ["GATES"]) / f"{word}.hold"
    while hold.exists():
        await asyncio.sleep(POLL)
