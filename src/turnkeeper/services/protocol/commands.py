"""What the commands of the event protocol do. Each comes to a result or is refused."""

from collections.abc import Sequence
from typing import Any, assert_never, cast

import msgspec

from turnkeeper.errors import Conflict, NotFound
from turnkeeper.services.protocol import params
from turnkeeper.services.protocol.events import ThreadEvents, before
from turnkeeper.services.protocol.refusals import Refusal
from turnkeeper.services.protocol.threads import Threads, questions
from turnkeeper.services.protocol.trees import Node, tree
from turnkeeper.services.requests import CheckpointBody, HistoryQuery, RunCreate, StateEdit
from turnkeeper.services.runs import RunService
from turnkeeper.services.schemas import SchemaService
from turnkeeper.services.states import StateService
from turnkeeper.types import NULL, StreamMode, Thread

RUN_MODES: list[StreamMode] = ["values", "messages-tuple", "updates", "custom", "tasks", "checkpoints"]
"""What the runs tell those who join their own streams; `debug` and `events` would say the same once more."""

NOT_BUSY: list[Any] = ["idle", "interrupted", "error"]


class Result(msgspec.Struct, frozen=True):
    """What a command comes to."""

    result: Any
    through: int | None = None
    """For commands that start a run: the last `seq` before the events a client still has to hear."""


class ProtocolService:
    """What the transports ask of the event protocol."""

    def __init__(
        self, threads: Threads, events: ThreadEvents, runs: RunService, states: StateService, schemas: SchemaService
    ) -> None:
        self.threads = threads
        self.events = events
        self._runs = runs
        self._states = states
        self._schemas = schemas

    async def perform(self, thread_id: str, command: params.Params, key: str | None = None) -> Result:
        """Carry out a command. `key` is the `Idempotency-Key` of a request. Raises `TurnkeeperError`."""
        thread = await self.threads.find(thread_id)
        match command:
            case params.RunStart():
                return await self._start(thread_id, command, key)
            case params.InputRespond():
                return await self._respond(thread, command, key)
            case params.StateFork():
                return await self._fork(thread, command, key)
            case params.RunCancel():
                return Result(await self._cancel(thread_id, command))
            case params.InputInject():
                return Result(await self._inject(thread, command))
            case params.AgentGetTree():
                return Result({"tree": await self.tree(thread_id, command.run_id)})
            case params.StateGet():
                return Result(await self._state(thread_id, command))
            case params.StateListCheckpoints():
                return Result({"checkpoints": await self._checkpoints(thread_id, command)})
            case params.Subscribe() | params.Unsubscribe() | params.Reconnect():
                there = f"POST to /threads/{thread_id}/stream/events, or open a WebSocket there"
                raise Refusal("not_supported", f"A subscription needs a connection that lasts: {there}.")
            case _:
                assert_never(command)

    async def tree(self, thread_id: str, run_id: str | None) -> Node:
        """A run's graph and the subgraphs it started. Raises `Refusal`."""
        run = await self.threads.run(thread_id, run_id)
        if run is None:
            raise Refusal("no_such_run", f"Run {run_id} not found" if run_id else "The thread has no run yet.")
        return tree(run, await self.events.past(thread_id, before(run.created_at)))

    async def _start(self, thread_id: str, given: params.RunStart, key: str | None) -> Result:
        """An input on a thread that waits for a human is the answer."""
        if given.fork_from is not None:
            await self._check_checkpoint(thread_id, given.fork_from)
        answers = given.input != NULL and given.fork_from is None
        body = msgspec.structs.replace(
            given,
            checkpoint_id=given.fork_from or given.checkpoint_id,
            multitask_strategy=given.multitask_strategy or given.strategy,
            if_not_exists=given.if_not_exists or "create",
            if_waiting=given.if_waiting or ("resume" if answers else None),
        )
        return await self._admit(thread_id, body, key)

    async def _respond(self, thread: Thread | None, given: params.InputRespond, key: str | None) -> Result:
        answers = given.answers()
        if not answers:
            raise Refusal("invalid_argument", "interrupt_id is required, or responses, each with its interrupt_id")
        asked = () if thread is None else [question.get("id") for question in questions(thread)]
        gone = [each for each in answers if each not in asked]
        if thread is None or gone:
            raise _answered(gone)
        body = RunCreate(
            assistant_id=await self.threads.assistant(thread),
            command=given.command(),
            config=given.config,
            metadata=given.metadata,
            strict_resume=given.strict_resume,
            if_thread_status=NOT_BUSY,
        )
        try:
            return await self._admit(thread.thread_id, body, key)
        except Conflict:  # somebody else was quicker: the thread goes on already
            raise _answered(list(answers)) from None

    async def _fork(self, thread: Thread | None, given: params.StateFork, key: str | None) -> Result:
        if thread is None:
            raise _no_checkpoint(given.checkpoint_id)
        await self._check_checkpoint(thread.thread_id, given.checkpoint_id)
        body = RunCreate(
            assistant_id=await self.threads.assistant(thread),
            input=given.input,
            config=given.config,
            checkpoint_id=given.checkpoint_id,
        )
        admitted = await self._admit(thread.thread_id, body, key)
        return Result({**admitted.result, "thread_id": thread.thread_id}, admitted.through)

    async def _admit(self, thread_id: str, body: RunCreate, key: str | None) -> Result:
        """Put a run in the thread's queue. Nobody waits for it to start."""
        through = await self.events.heard(thread_id)
        telling = msgspec.structs.replace(
            body, stream_mode=body.stream_mode or RUN_MODES, stream_subgraphs=True, stream_resumable=True
        )
        run = await self._runs.create(thread_id, telling, key, protocol=True)
        return Result({"run_id": run.run_id}, through)

    async def _check_checkpoint(self, thread_id: str, checkpoint_id: str) -> None:
        try:
            state = await self._states.get(thread_id, {"checkpoint_id": checkpoint_id}, subgraphs=False)
        except NotFound:
            state = None
        if state is None or state["checkpoint"] is None:
            raise _no_checkpoint(checkpoint_id)

    async def _cancel(self, thread_id: str, given: params.RunCancel) -> dict[str, Any]:
        try:
            await self._runs.cancel(thread_id, given.run_id, given.action or "interrupt", wait=False)
        except NotFound as error:
            raise Refusal("no_such_run", str(error)) from None
        return {"run_id": given.run_id}

    async def _inject(self, thread: Thread | None, given: params.InputInject) -> dict[str, Any]:
        """Add a message to the state, as an edit of the state would. No run is started."""
        if given.namespace:
            raise Refusal("not_supported", "A message can be injected at the root only (namespace: []).")
        if thread is None:
            raise NotFound("Thread not found: start a run on it first.")
        await self._check_messages(thread)
        message = cast("dict[str, Any]", msgspec.to_builtins(given.message))
        try:
            await self._states.update(thread.thread_id, StateEdit(values={"messages": [message]}))
        except Conflict:
            instead = "Send the message with run.start: it is taken up as soon as that run has ended."
            raise Refusal("not_supported", f"The state cannot be edited while a run is active. {instead}") from None
        return {}

    async def _check_messages(self, thread: Thread) -> None:
        """Refuse what is known to have no effect: LangGraph drops values of channels that do not exist."""
        schema = (await self._schemas.schemas(await self.threads.assistant(thread)))["state_schema"]
        if schema is not None and "messages" not in schema.get("properties", {}):
            raise Refusal("not_supported", "The state of this graph has no channel 'messages' to inject into.")

    async def _state(self, thread_id: str, given: params.StateGet) -> dict[str, Any]:
        namespace = "|".join(given.namespace or ())
        state = await self._states.get(thread_id, {"checkpoint_ns": namespace}, subgraphs=False)
        if namespace and not _is_under(namespace, state):
            raise Refusal("no_such_namespace", f"No subgraph has left a state under '{namespace}'.")
        values = state["values"]
        if given.keys is not None and isinstance(values, dict):
            found = cast("dict[str, Any]", values)
            values = {key: found[key] for key in given.keys if key in found}
        if state["checkpoint"] is None:
            return {"values": values}
        return {"values": values, "checkpoint": {"id": state["checkpoint_id"], "ns": namespace}}

    async def _checkpoints(self, thread_id: str, given: params.StateListCheckpoints) -> list[dict[str, Any]]:
        namespace = "|".join(given.namespace or ())
        address = CheckpointBody(checkpoint_ns=namespace)
        query = HistoryQuery(limit=given.limit or 10, before=given.before, checkpoint=address)
        states = await self._states.history(thread_id, query)
        return [_summary(state) for state in states if _is_under(namespace, state)]


def _answered(interrupt_ids: Sequence[str]) -> Refusal:
    return Refusal("no_such_interrupt", f"Unknown or already-consumed interrupt: {', '.join(interrupt_ids)}")


def _no_checkpoint(checkpoint_id: str) -> Refusal:
    return Refusal("no_such_checkpoint", f"Checkpoint {checkpoint_id} not found")


def _is_under(namespace: str, state: dict[str, Any]) -> bool:
    """Whether a state is of the graph asked for: LangGraph answers with the root's where it knows no such subgraph."""
    return state["checkpoint"] is not None and state["checkpoint"].get("checkpoint_ns") == namespace


def _summary(state: dict[str, Any]) -> dict[str, Any]:
    """A state as `langchain_protocol.CheckpointSummary`."""
    metadata: dict[str, Any] = state["metadata"] or {}
    return {
        "id": state["checkpoint_id"],
        "timestamp": state["created_at"],
        "step": metadata.get("step"),
        "metadata": metadata,
    }
