"""The state of threads: read at any checkpoint, edited, listed back through time."""

import asyncio
import copy
from collections.abc import AsyncGenerator, Coroutine, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast
from weakref import WeakValueDictionary

import msgspec
from langchain_core.runnables import RunnableConfig
from langgraph.store.base import BaseStore
from langgraph.types import Command, StateSnapshot, StateUpdate
from langgraph_sdk.runtime import AccessContext

from turnkeeper.codec import decode, raw
from turnkeeper.contracts import STATE_CHANGED, EventLog, Storage, Told
from turnkeeper.errors import Impossible, NotFound, TurnkeeperError
from turnkeeper.graphs.factories import Graph
from turnkeeper.graphs.loader import Graphs
from turnkeeper.graphs.loop import LoopThread
from turnkeeper.graphs.namespaces import own_address
from turnkeeper.graphs.runner import to_command
from turnkeeper.graphs.snapshots import interrupts_by_task, never_ran, thread_state, values
from turnkeeper.lifecycle import rest_status
from turnkeeper.services.requests import BeforeBody, HistoryQuery, StateEdit, Superstep, SuperstepUpdate
from turnkeeper.types import Ended, Outcome

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Opened:
    """A thread's graph, ready to read or edit its state."""

    graph: Graph
    config: RunnableConfig


class StateService:
    """What the HTTP handlers ask of state. Graphs are the user's code, so they are used on a loop of their own."""

    def __init__(self, storage: Storage, graphs: Graphs, store: BaseStore, events: EventLog, loop: LoopThread) -> None:
        self._storage = storage
        self._graphs = graphs
        self._store = store
        self._events = events
        self._loop = loop
        self._editing = WeakValueDictionary[str, asyncio.Lock]()

    async def get(
        self, thread_id: str, checkpoint: Mapping[str, Any], *, subgraphs: bool, addressed: bool = False
    ) -> dict[str, Any]:
        """The newest state of a thread, or the one at `checkpoint`. Raises `NotFound`.

        With `addressed` a thread that never ran has an address, too.
        """
        return await self._loop.run(self._get(thread_id, checkpoint, subgraphs=subgraphs, addressed=addressed))

    async def history(self, thread_id: str, query: HistoryQuery) -> list[dict[str, Any]]:
        """States of a thread, newest first. Raises `NotFound`."""
        return await self._loop.run(self._history(thread_id, query))

    async def update(self, thread_id: str, edit: StateEdit) -> dict[str, Any]:
        """Edit a thread's state as if a node had. Returns the new checkpoint.

        Raises `Conflict` while the thread is busy, `Impossible` when the graph does not take the edit, `NotFound`.
        """
        return await self._loop.run(self._in_turn(thread_id, self._update(thread_id, edit)))

    async def replay(self, thread_id: str, supersteps: Sequence[Superstep]) -> None:
        """Give a new thread a past. Raises like `update`."""
        await self._loop.run(self._in_turn(thread_id, self._replay(thread_id, supersteps)))

    async def at_end(self, ended: Ended) -> Ended:
        """The end of a run with the values it left, read from its last checkpoint."""
        state = await self._loop.run(self._left_by(ended))
        if state is None:
            return ended
        waiting = {task["id"]: task["interrupts"] for task in state["tasks"] if task["interrupts"]}
        return msgspec.structs.replace(ended, values=raw(state["values"]), interrupts=raw(waiting))

    async def _left_by(self, ended: Ended) -> dict[str, Any] | None:
        """The state at a run's last checkpoint, seen through the graph that made it; `None` if it wrote none."""
        if ended.checkpoint_id is None:
            return None
        address = {"thread_id": ended.thread_id, "checkpoint_ns": "", "checkpoint_id": ended.checkpoint_id}
        last = await self._storage.thread_checkpointer(ended.thread_id).aget_tuple({"configurable": address})
        if last is None:
            return None
        graph_id = last.metadata.get("graph_id")
        async with self._open(ended.thread_id, "threads.read", address, graph_id) as opened:
            return None if opened is None else thread_state(await opened.graph.aget_state(opened.config))

    async def _get(
        self, thread_id: str, checkpoint: Mapping[str, Any], *, subgraphs: bool, addressed: bool
    ) -> dict[str, Any]:
        async with self._open(thread_id, "threads.read", checkpoint) as opened:
            if opened is None:
                return thread_state(never_ran(thread_id), addressed=addressed)
            snapshot = await opened.graph.aget_state(opened.config, subgraphs=subgraphs)
            if snapshot.metadata is None and checkpoint.get("checkpoint_id"):
                raise _no_checkpoint(checkpoint)
            return thread_state(snapshot, addressed=addressed)

    async def _history(self, thread_id: str, query: HistoryQuery) -> list[dict[str, Any]]:
        address = {} if query.checkpoint is None else cast("dict[str, Any]", msgspec.to_builtins(query.checkpoint))
        async with self._open(thread_id, "threads.read", address) as opened:
            if opened is None:
                return []
            states = opened.graph.aget_state_history(
                opened.config, filter=query.metadata, before=_before(thread_id, query.before), limit=query.limit or 1
            )
            return [thread_state(snapshot) async for snapshot in states]

    async def _in_turn(self, thread_id: str, edit: Coroutine[Any, Any, T]) -> T:
        """Edits of one thread that come at once wait for each other, so that each builds on the one before."""
        with closing(edit):
            async with self._editing.setdefault(thread_id, asyncio.Lock()):
                return await edit

    async def _update(self, thread_id: str, edit: StateEdit) -> dict[str, Any]:
        address = {} if edit.checkpoint is None else cast("dict[str, Any]", msgspec.to_builtins(edit.checkpoint))
        if edit.checkpoint_id is not None:
            address["checkpoint_id"] = edit.checkpoint_id
        async with self._open(thread_id, "threads.update", address) as opened:
            if opened is None:
                raise Impossible("Thread has no graph yet: run it once, or create it with a graph_id.")
            if address.get("checkpoint_id") and (await opened.graph.aget_state(opened.config)).metadata is None:
                raise _no_checkpoint(address)
            with _edits():
                config = await opened.graph.aupdate_state(opened.config, edit.values, as_node=edit.as_node)
            await self._publish(thread_id, opened)
            return _saved(thread_id, config)

    async def _replay(self, thread_id: str, supersteps: Sequence[Superstep]) -> None:
        async with self._open(thread_id, "threads.update", {}) as opened:
            if opened is None:
                raise Impossible("supersteps need metadata.graph_id: the graph that makes the state.")
            with _edits():
                await opened.graph.abulk_update_state(
                    opened.config, [[_superstep_update(update) for update in step.updates] for step in supersteps]
                )
            await self._publish(thread_id, opened)

    async def _publish(self, thread_id: str, opened: Opened) -> None:
        """Show clients the edited state."""
        head: RunnableConfig = {
            "configurable": {
                key: value
                for key, value in opened.config.get("configurable", {}).items()
                if not key.startswith("checkpoint_")
            }
        }
        snapshot = await opened.graph.aget_state(head)
        await self._storage.threads.publish_state(thread_id, _outcome(snapshot))
        if self._events.wanted(thread_id, "", protocol=False):
            self._events.append(Told(thread_id, "", STATE_CHANGED, b""))

    @asynccontextmanager
    async def _open(
        self, thread_id: str, access: AccessContext, checkpoint: Mapping[str, Any], graph_id: object = None
    ) -> AsyncGenerator[Opened | None]:
        """`graph_id` or else the graph the thread last ran with; `None` when it never ran. Raises `NotFound`."""
        thread = await self._storage.threads.get(thread_id)
        graph_id = graph_id or decode(thread.metadata).get("graph_id")
        if not isinstance(graph_id, str):  # clients may write anything into metadata
            yield None
            return
        address = {key: value for key, value in checkpoint.items() if key != "thread_id" and value is not None}
        config: RunnableConfig = {"configurable": {"checkpoint_ns": "", **address, "thread_id": thread_id}}
        async with self._graphs.open(graph_id, config=config, access=access, store=self._store) as graph:
            # Not in the config: there it would say that a subgraph's checkpoints are this very graph's.
            saving = copy.copy(graph)
            saving.checkpointer = self._storage.thread_checkpointer(thread_id)
            yield Opened(saving, await own_address(saving, config))


@contextmanager
def _edits() -> Generator[None]:
    """What a graph says of an edit it does not take is the caller's mistake."""
    try:
        yield
    except TurnkeeperError:
        raise
    except Exception as error:
        raise Impossible(f"The graph does not take this update: {type(error).__name__}: {error}") from error


def _outcome(snapshot: StateSnapshot) -> Outcome:
    return Outcome(
        status="success",
        values=raw(values(snapshot)),
        interrupts=raw(interrupts_by_task(snapshot)),
        rest=rest_status(waits=bool(snapshot.next), failed=False),
        checkpoint_id=snapshot.config.get("configurable", {}).get("checkpoint_id"),
    )


def _superstep_update(update: SuperstepUpdate) -> StateUpdate:
    if update.command is not None:
        command: Command[Any] = to_command(cast("dict[str, Any]", msgspec.to_builtins(update.command)))
        return StateUpdate(values=cast("Any", command), as_node=update.as_node)
    return StateUpdate(values=update.values, as_node=update.as_node)


def _before(thread_id: str, before: str | BeforeBody | None) -> RunnableConfig | None:
    """The SDKs send a checkpoint id, its address, or a config that holds the address."""
    if before is None:
        return None
    if isinstance(before, str):
        address: dict[str, Any] = {"checkpoint_id": before}
    else:
        address = before.configurable or {"checkpoint_id": before.checkpoint_id}
    if not address.get("checkpoint_id"):
        return None
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": "", **address}}


def _saved(thread_id: str, config: RunnableConfig) -> dict[str, Any]:
    """The new checkpoint in each of the places a client may look for it."""
    configurable = config.get("configurable", {})
    checkpoint = {
        "thread_id": thread_id,
        "checkpoint_ns": configurable.get("checkpoint_ns", ""),
        "checkpoint_id": configurable["checkpoint_id"],
    }
    return {"checkpoint": checkpoint, "configurable": checkpoint, "checkpoint_id": checkpoint["checkpoint_id"]}


def _no_checkpoint(address: Mapping[str, Any]) -> NotFound:
    return NotFound(f"Checkpoint {address.get('checkpoint_id')} not found")
