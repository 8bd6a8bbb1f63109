"""One run of a graph, from its arguments to its outcome. Knows no database and no HTTP."""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal, cast

import msgspec
from langchain_core.runnables import RunnableConfig
from langgraph.types import Command, Send

from turnkeeper.codec import raw
from turnkeeper.errors import NotFound
from turnkeeper.graphs.carried import SaverFor, carry_inputs
from turnkeeper.graphs.frames import Frames, error_info
from turnkeeper.graphs.resuming import changed_nothing, refuse_idle_resume
from turnkeeper.graphs.snapshots import interrupts_by_task, values
from turnkeeper.graphs.tool_calls import answer_open_tool_calls
from turnkeeper.graphs.unfinished import keep_finished_tasks
from turnkeeper.lifecycle import rest_status
from turnkeeper.types import Claimed, Outcome, StreamMode

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver
    from langgraph.pregel import Pregel

Emit = Callable[[str, Any], None]

LANGGRAPH_VERSION = version("langgraph")


class RunArguments(msgspec.Struct, frozen=True):
    """A run's `kwargs` as stored at its admission (`langgraph_sdk` run-create fields over the assistant's)."""

    input: Any = None
    command: dict[str, Any] | None = None
    config: dict[str, Any] = {}
    context: dict[str, Any] | None = None
    stream_mode: list[StreamMode] = msgspec.field(default_factory=list[StreamMode])
    interrupt_before: Literal["*"] | list[str] | None = None
    interrupt_after: Literal["*"] | list[str] | None = None
    checkpoint: dict[str, Any] | None = None
    durability: Literal["sync", "async", "exit"] = "async"
    subgraphs: bool = False
    run_timeout: float | None = None
    strict_resume: bool = True
    answer_tool_calls: bool = False


class Runner:
    """Executes one attempt of one run."""

    def __init__(
        self,
        claimed: Claimed,
        arguments: RunArguments,
        saver: "BaseCheckpointSaver[Any]",
        saver_for: SaverFor,
        emit: Emit,
    ) -> None:
        """`emit` is called with the name and the data of each event of the run's stream, as they come.

        `saver` keeps the run's own checkpoints, `saver_for` those that are made on behalf of runs it supersedes.
        """
        self._claimed = claimed
        self._arguments = arguments
        self._saver = saver
        self._saver_for = saver_for
        self._emit = emit
        self._frames = Frames(arguments.stream_mode, subgraphs=arguments.subgraphs)
        self._values: Any = None
        self._interrupted = False
        self._stopped = False

    @property
    def config(self) -> RunnableConfig:
        """What the graph is invoked with: the run's own config, its thread and its checkpointer."""
        claimed, given = self._claimed, self._arguments.config
        metadata = msgspec.json.decode(claimed.metadata)
        return {
            **cast("RunnableConfig", given),
            "run_id": uuid.UUID(claimed.run_id),
            "metadata": {
                **given.get("metadata", {}),
                **metadata,
                "run_attempt": claimed.attempt,
                "langgraph_version": LANGGRAPH_VERSION,
                "langgraph_host": "self-hosted",
                "run_id": claimed.run_id,
                "thread_id": claimed.thread_id,
            },
            "configurable": {
                **given.get("configurable", {}),
                "checkpoint_ns": "",
                "thread_id": claimed.thread_id,
                "run_id": claimed.run_id,
                "__pregel_checkpointer": self._saver,
                "__pregel_strict_resume": self._arguments.strict_resume,
            },
        }

    @property
    def _resumes(self) -> bool:
        """Whether the run answers an interrupt, and has to find it waiting."""
        command = self._arguments.command
        return self._arguments.strict_resume and command is not None and command.get("resume") is not None

    @property
    def _bare_config(self) -> RunnableConfig:
        """The thread's newest state, no run named.

        LangGraph takes an input of the run that wrote the newest checkpoint for a resumption of it, and drops it.
        """
        return {
            "configurable": {
                "thread_id": self._claimed.thread_id,
                "checkpoint_ns": "",
                "__pregel_checkpointer": self._saver,
            }
        }

    async def run(self, graph: "Pregel[Any, Any, Any, Any]") -> Outcome:
        """Execute the graph to its end, its next interrupt, or an exception, which is raised."""
        config, given = await self._start(graph)
        async with aclosing(self._stream(graph, config, given)) as stream:
            async for namespace, mode, data in stream:
                self._take(namespace, mode, data)
                if self._stopped:
                    raise asyncio.CancelledError
        if self._interrupted or self._has_breakpoints(graph):
            return await self.halted(graph, "success")
        return Outcome(status="success", values=raw(self._values), rest="idle")

    def stop(self) -> None:
        """Start no further step: a node may have swallowed the cancellation of its task."""
        self._stopped = True

    def _take(self, namespace: tuple[str, ...], mode: str, data: Any) -> None:
        """Note what an item of the stream says of the run's end, and emit its events."""
        if mode == "values" and not namespace:
            self._values = data
        if not namespace and isinstance(data, dict) and "__interrupt__" in data:
            self._interrupted = True
        for event, payload in self._frames.events(namespace, mode, data):
            self._emit(event, payload)

    async def halted(
        self,
        graph: "Pregel[Any, Any, Any, Any]",
        status: Literal["success", "error", "timeout", "interrupted"],
        error: BaseException | None = None,
    ) -> Outcome:
        """The outcome of a run that did not reach its end: what the thread's newest checkpoint says."""
        snapshot = await graph.aget_state(self._bare_config)
        return Outcome(
            status=status,
            values=raw(values(snapshot)) if snapshot.created_at else None,
            interrupts=raw(interrupts_by_task(snapshot)),
            rest=rest_status(waits=bool(snapshot.next), failed=error is not None and not changed_nothing(error)),
            error=None if error is None else raw(error_info(error)),
            checkpoint_id=snapshot.config.get("configurable", {}).get("checkpoint_id"),
        )

    async def _start(self, graph: "Pregel[Any, Any, Any, Any]") -> tuple[RunnableConfig, Any]:
        """Config and input. An attempt that follows a crash goes on from the run's own last checkpoint."""
        config = self.config
        if self._claimed.attempt > 1 and await self._has_begun(config):
            return config, None
        if self._arguments.checkpoint is not None:
            config["configurable"] = {**config.get("configurable", {}), **self._arguments.checkpoint}
            if await self._saver.aget_tuple(config) is None:
                raise NotFound(f"Checkpoint {self._arguments.checkpoint.get('checkpoint_id')} not found")
        elif self._resumes:
            await refuse_idle_resume(graph, self._bare_config)
        elif self._arguments.command is None and self._arguments.input is not None:
            if self._claimed.after_interrupt:
                await keep_finished_tasks(graph, self._bare_config)
                if self._arguments.answer_tool_calls:
                    await answer_open_tool_calls(graph, self._bare_config)
            await carry_inputs(graph, self._claimed.thread_id, self._claimed.carried, self._saver_for)
        return config, self._input()

    async def _has_begun(self, config: RunnableConfig) -> bool:
        newest = await self._saver.aget_tuple(config)
        return newest is not None and newest.metadata.get("run_id") == self._claimed.run_id

    def _input(self) -> Any:
        command = self._arguments.command
        return self._arguments.input if command is None else to_command(command)

    def _has_breakpoints(self, graph: "Pregel[Any, Any, Any, Any]") -> bool:
        """Static breakpoints may halt a run without a word in its stream."""
        arguments = self._arguments
        return bool(
            arguments.interrupt_before
            or arguments.interrupt_after
            or graph.interrupt_before_nodes
            or graph.interrupt_after_nodes
        )

    async def _stream(
        self, graph: "Pregel[Any, Any, Any, Any]", config: RunnableConfig, given: Any
    ) -> AsyncGenerator[tuple[tuple[str, ...], str, Any]]:
        """LangGraph's stream as (namespace, mode, data)."""
        arguments = self._arguments
        options: dict[str, Any] = {
            "stream_mode": self._frames.langgraph_modes,
            "subgraphs": arguments.subgraphs,
            "interrupt_before": arguments.interrupt_before,
            "interrupt_after": arguments.interrupt_after,
            "durability": arguments.durability,
        }
        if arguments.context:
            options["context"] = arguments.context
        if "events" in arguments.stream_mode:
            items = self._with_events(graph, config, given, options)
        else:
            items = graph.astream(given, config, **options)
        async with aclosing(cast("AsyncGenerator[Any]", items)) as open_items:
            async for item in open_items:
                yield cast("Any", item if arguments.subgraphs else ((), *cast("tuple[Any, ...]", item)))

    async def _with_events(
        self, graph: "Pregel[Any, Any, Any, Any]", config: RunnableConfig, given: Any, options: dict[str, Any]
    ) -> AsyncGenerator[Any]:
        """The same stream out of LangChain's event stream, whose events are emitted on the way."""
        events = graph.astream_events(given, config, version="v2", **options)
        async with aclosing(cast("AsyncGenerator[Any]", events)) as open_events:
            async for event in open_events:
                if event["event"] == "on_chain_stream" and event["run_id"] == self._claimed.run_id:
                    yield event["data"]["chunk"]
                else:
                    self._emit("events", event)


def to_command(given: dict[str, Any]) -> Command[Any]:
    """The wire's `command` (`langgraph_sdk.schema.Command`) as LangGraph's."""
    goto: Any = given.get("goto") or ()
    targets = cast("list[Any]", goto if isinstance(goto, list | tuple) else [goto])
    update: Any = given.get("update")
    return Command(
        update=[tuple(pair) for pair in cast("list[Any]", update)] if isinstance(update, list) else update,
        resume=given.get("resume"),
        goto=[_target(each) for each in targets],
    )


def _target(given: Any) -> str | Send:
    """A node's name, or a node with an input of its own."""
    return given if isinstance(given, str) else Send(given["node"], given.get("input"))
