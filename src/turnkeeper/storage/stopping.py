"""How runs stop and end, as far as no database is needed to say it."""

from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from turnkeeper.codec import raw
from turnkeeper.lifecycle import CancelAction, Move, RunStatus
from turnkeeper.types import Outcome, RunRequest

WANTED: dict[str, Move] = {"success": "succeed", "error": "fail", "timeout": "expire", "interrupted": "interrupt"}
"""The move an attempt asks for, by the status it reports."""

CRASHED = "server restarted"
"""The journal's word for a run whose server went down without having let go of it."""

LOST = "worker not heard of"
"""The journal's word for a run whose worker let its lease run out."""

GONE = "thread deleted"
"""What ended the runs that went with their thread."""


class Active(NamedTuple):
    """What stopping a run needs to know of it."""

    run_id: str
    thread_id: str
    status: RunStatus
    attempt: int

    @property
    def unstarted(self) -> bool:
        """Whether it can be stopped in this very transaction: no attempt has left anything in the state."""
        return self.status == "pending" and self.attempt == 0


@dataclass(frozen=True, slots=True)
class Stop:
    """Why and how runs are stopped."""

    action: CancelAction
    reason: str
    now: str
    superseded_by: str | None = None
    carry: bool = False
    """Whether what they were given is to be put into the state ahead of their successor's input."""


def supersession(request: RunRequest, action: CancelAction, now: str) -> Stop:
    """How a new run stops those before it."""
    return Stop(
        action=action,
        reason=f"superseded by run {request.run_id} (multitask_strategy={action})",
        now=now,
        superseded_by=request.run_id,
        carry=request.supersession.keep_inputs and action == "interrupt",
    )


def told(outcome: Outcome, status: RunStatus, reason: str | None) -> Outcome:
    """With the error that says why a run was interrupted."""
    if status != "interrupted":
        return outcome
    stopped = {"error": "UserInterrupt", "message": reason or "interrupted"}
    return msgspec.structs.replace(outcome, error=raw(stopped))
