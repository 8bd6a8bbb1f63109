"""From a request's body to what storage admits: ids, strategy, preconditions, and how the run is put together."""

import hashlib
from dataclasses import dataclass

import msgspec

from turnkeeper.errors import Invalid
from turnkeeper.services.assistants import AssistantService
from turnkeeper.services.composing import composer, continues
from turnkeeper.services.requests import RunCreate, exclusive, queueing
from turnkeeper.types import Clock, NewThread, Preconditions, RunRequest, Supersession, uuid7

LONGEST_KEY = 255


@dataclass(frozen=True, slots=True)
class Policy:
    """What applies to runs that do not say otherwise (settings of the same names)."""

    recursion_limit: int
    max_queued: int
    keep_queued: bool
    keep_inputs: bool
    answer_tool_calls: bool


class Admitting:
    """Turns bodies into requests."""

    def __init__(self, assistants: AssistantService, policy: Policy, clock: Clock) -> None:
        self._assistants = assistants
        self._policy = policy
        self._clock = clock

    def request(
        self,
        thread_id: str | None,
        body: RunCreate,
        key: str | None = None,
        *,
        protocol: bool = False,
        cron_id: str | None = None,
    ) -> RunRequest:
        """A run of `thread_id`, or of a thread of its own. `key` is the `Idempotency-Key` header.

        `protocol`: whether it is to tell the event protocol's events in any case, and they are to be kept. `cron_id`:
        the cron that asks for it.

        Raises `Invalid` and `Impossible`.
        """
        exclusive(body.config, body.context)
        stateless = thread_id is None
        run_id, thread_id = body.run_id or uuid7(self._clock), thread_id or uuid7(self._clock)
        temporary = stateless and body.on_completion not in ("keep", "continue")
        may_create = stateless or body.if_not_exists == "create"
        fixed = {"temporary": temporary, "answer_tool_calls": self._answers_tool_calls(body), "protocol": protocol}
        recursion_limit = self._policy.recursion_limit
        return RunRequest(
            run_id=run_id,
            thread_id=thread_id,
            assistant_id=self._assistants.resolve(body.assistant_id),
            strategy=body.multitask_strategy or "enqueue",
            compose=composer(body, run_id, thread_id, fixed, recursion_limit=recursion_limit, cron_id=cron_id),
            due_at=self._clock() + (body.after_seconds or 0.0),
            stateless=stateless,
            has_command=body.command is not None,
            queueing=queueing(body),
            preconditions=self._preconditions(body, key),
            supersession=self._supersession(body),
            new_thread=_new_thread(thread_id, cron_id, temporary=temporary) if may_create else None,
        )

    def _answers_tool_calls(self, body: RunCreate) -> bool:
        given = body.dangling_tool_calls
        return self._policy.answer_tool_calls if given is None else given == "answer"

    def _preconditions(self, body: RunCreate, key: str | None) -> Preconditions:
        if key is not None and not 0 < len(key) <= LONGEST_KEY:
            raise Invalid(f"Idempotency-Key: 1 to {LONGEST_KEY} characters are allowed, got {len(key)}")
        allowed = body.if_thread_status or ()
        return Preconditions(
            if_thread_status=(allowed,) if isinstance(allowed, str) else tuple(allowed),
            if_waiting=body.if_waiting or ("resume" if continues(body) else "continue"),
            idempotency_key=key,
            fingerprint="" if key is None else hashlib.sha256(msgspec.json.encode(body)).hexdigest(),
            max_queued=self._policy.max_queued,
        )

    def _supersession(self, body: RunCreate) -> Supersession:
        queued, given = body.queued_on_interrupt, body.superseded_input
        return Supersession(
            keep_queued=self._policy.keep_queued if queued is None else queued == "keep",
            keep_inputs=self._policy.keep_inputs if given is None else given == "keep",
        )


def _new_thread(thread_id: str, cron_id: str | None, *, temporary: bool) -> NewThread:
    """A thread for one run; those of a cron say so."""
    metadata = {} if cron_id is None else {"cron_id": cron_id}
    return NewThread(thread_id=thread_id, metadata=metadata, temporary=temporary)
