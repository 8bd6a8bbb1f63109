"""Checkpoints are in the order of their ids, which come from the clock of whoever makes them: none may fall behind."""

from uuid import UUID

from langgraph.checkpoint.base import id as ids

NEWEST = "_last_v6_timestamp"
"""Where LangGraph remembers what it gave out last. There is no public way to tell it of others."""


def go_on_after(checkpoint_id: str) -> None:
    """The ids made in this process from now on are above this one, whatever the clock of the machine that made it."""
    made = UUID(checkpoint_id)
    if made.version == 6:
        newest = (made.time_low << 28) | (made.time_mid << 12) | (made.time_hi_version & 0x0FFF)
        setattr(ids, NEWEST, max(newest, getattr(ids, NEWEST) or 0))
