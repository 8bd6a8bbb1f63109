"""One run of a graph, from its arguments to its outcome. Knows no database and no HTTP."""

import asyncio
import uuid
from collections.abc import Iterable
from contextlib import aclosing
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal, cast

import msgspec
from langchain_core.runnables import RunnableConfig
from langgraph.errors import ParentCommand
from langgraph.types import Command, Send

from turnkeeper.codec import raw
from turnkeeper.errors import NotFound
from turnkeeper.graphs.carried import SaverFor, carry_inputs
from turnkeeper.graphs.frames import Event, Frames, error_info
from turnkeeper.graphs.handing_over import handed_over
from turnkeeper.graphs.items import INTERRUPT, Item
from turnkeeper.graphs.protocol.events import ProtocolEvents
from turnkeeper.graphs.protocol.tell import Tell
from turnkeeper.graphs.resuming import changed_nothing, refuse_idle_resume
from turnkeeper.graphs.snapshots import interrupts_by_task, values
from turnkeeper.graphs.streams import Emit, Way, stream
from turnkeeper.graphs.subgraphs import Ending
from turnkeeper.graphs.tool_calls import answer_open_tool_calls
from turnkeeper.graphs.unfinished import keep_finished_tasks
from turnkeeper.lifecycle import rest_status
from turnkeeper.types import Claimed, Outcome, StreamMode

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver
    from langgraph.pregel import Pregel

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
    resumable: bool = False
    protocol: bool = False
    """Whether the event protocol's `run.start` made it."""
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
        tell: Tell | None = None,
    ) -> None:
        """`emit` is called with the name and the data of each event of the run's stream, as they come.

        `saver` keeps the run's own checkpoints, `saver_for` those that are made on behalf of runs it supersedes.
        `tell` is called with the events of the protocol, but for those of the run's own start and end.
        """
        self._claimed = claimed
        self._arguments = arguments
        self._saver = saver
        self._saver_for = saver_for
        self._emit = emit
        self._frames = Frames(arguments.stream_mode, subgraphs=arguments.subgraphs)
        self._way = self._chosen_way()
        self._protocol = None if tell is None else ProtocolEvents(tell, self._way.streamed)
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
        self._emit_all(self._frames.begin(self._claimed.graph_id))
        try:
            await self._see_through(graph, config, given)
        except BaseException as error:
            if self._protocol is not None:
                cancelled = isinstance(error, asyncio.CancelledError)
                self._protocol.finish("interrupted" if cancelled else "failed", error)
            raise
        if self._interrupted or self._has_breakpoints(graph):
            return await self.halted(graph, "success")
        self._tell_end("completed")
        return Outcome(status="success", values=raw(self._values), rest="idle")

    def ask(self) -> None:
        """The run's end is on disk: tell the protocol's listeners what answers the thread waits for."""
        if self._protocol is not None:
            self._protocol.ask()

    def stop(self) -> None:
        """Start no further step: a node may have swallowed the cancellation of its task."""
        self._stopped = True

    async def _see_through(self, graph: "Pregel[Any, Any, Any, Any]", config: RunnableConfig, given: Any) -> None:
        try:
            async with aclosing(stream(graph, config, given, self._way, self._emit)) as items:
                async for item in items:
                    self._take(item)
                    if self._stopped:
                        raise asyncio.CancelledError
        except ParentCommand as error:
            self._emit("command", handed_over(error))

    def _take(self, item: Item) -> None:
        """Note what an item of the stream says of the run's end, and emit its events."""
        namespace, mode, data = item
        if mode == "values" and not namespace:
            self._values = data
        if not namespace and isinstance(data, dict) and INTERRUPT in data:
            self._interrupted = True
        self._emit_all(self._frames.events(namespace, mode, data))
        if self._protocol is not None:
            self._protocol.take(item)

    def _emit_all(self, events: Iterable[Event]) -> None:
        for event, data in events:
            self._emit(event, data)

    def _tell_end(self, ending: Ending, error: BaseException | None = None) -> None:
        """Tell of the run's end, for those who hear of it from here."""
        self._emit_all(self._frames.end(ending, self._claimed.graph_id, error))
        if self._protocol is not None:
            self._protocol.finish(ending, error)

    async def halted(
        self,
        graph: "Pregel[Any, Any, Any, Any]",
        status: Literal["success", "error", "timeout", "interrupted"],
        error: BaseException | None = None,
    ) -> Outcome:
        """The outcome of a run that did not reach its end: what the thread's newest checkpoint says."""
        snapshot = await graph.aget_state(self._bare_config)
        self._tell_end(_ending(status, waits=bool(snapshot.next)), error)
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
                    await answer_open_tool_calls(graph, self._bare_config, self._arguments.input)
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

    def _chosen_way(self) -> Way:
        """How the graph is streamed, from what the run was asked for."""
        arguments = self._arguments
        options: dict[str, Any] = {
            "interrupt_before": arguments.interrupt_before,
            "interrupt_after": arguments.interrupt_after,
            "durability": arguments.durability,
        }
        if arguments.context:
            options["context"] = arguments.context
        return Way(
            modes=self._frames.langgraph_modes,
            subgraphs=self._frames.langgraph_subgraphs,
            events="events" in arguments.stream_mode,
            protocol=arguments.protocol,
            options=options,
        )


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


def _ending(status: str, *, waits: bool) -> Ending:
    """A run's end as clients of streams hear of it. One that waits for a person is no success yet."""
    match status:
        case "success":
            return "interrupted" if waits else "completed"
        case "interrupted":
            return "interrupted"
        case _:
            return "failed"
