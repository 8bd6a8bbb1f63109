"""Request bodies as the SDKs send them, and what becomes of them. Every optional field may also be `null`."""

from typing import Annotated, Any, Literal

import msgspec

from turnkeeper import lifecycle
from turnkeeper.errors import Impossible, Invalid
from turnkeeper.types import NULL, Queueing, Select, StreamMode

BIGGEST = 2**63 - 1
"""The greatest integer the database takes."""

JsonObject = dict[str, Any]
Limit = Annotated[int, msgspec.Meta(ge=1, le=1000)]
Offset = Annotated[int, msgspec.Meta(ge=0, le=BIGGEST)]
Priority = Annotated[int, msgspec.Meta(ge=-100, le=100)]
QueueKey = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


class RunCreate(msgspec.Struct, frozen=True):
    """A run to be made (`langgraph_sdk` `runs.create`, `runs.stream` and `runs.wait`)."""

    assistant_id: str
    input: msgspec.Raw = NULL
    command: "CommandBody | None" = None
    config: "ConfigBody | None" = None
    context: JsonObject | None = None
    metadata: JsonObject | None = None
    checkpoint: "CheckpointBody | None" = None
    checkpoint_id: str | None = None
    checkpoint_during: bool | None = None
    durability: Literal["sync", "async", "exit"] | None = None
    interrupt_before: Literal["*"] | list[str] | None = None
    interrupt_after: Literal["*"] | list[str] | None = None
    stream_mode: StreamMode | list[StreamMode] | None = None
    stream_subgraphs: bool | None = None
    stream_resumable: bool | None = None
    feedback_keys: list[str] | None = None
    webhook: str | None = None
    multitask_strategy: lifecycle.Strategy | None = None
    if_not_exists: Literal["create", "reject"] | None = None
    on_disconnect: Literal["cancel", "continue"] | None = None
    on_completion: Literal["delete", "keep", "complete", "continue"] | None = None
    after_seconds: float | None = None
    run_id: str | None = None
    if_thread_status: lifecycle.ThreadStatus | list[lifecycle.ThreadStatus] | None = None
    if_waiting: Literal["continue", "reject", "resume"] | None = None
    queued_on_interrupt: Literal["cancel", "keep"] | None = None
    superseded_input: Literal["keep", "drop"] | None = None
    dangling_tool_calls: Literal["answer", "keep"] | None = None
    run_timeout: Annotated[float, msgspec.Meta(gt=0)] | None = None
    priority: Priority | None = None
    fairness_key: QueueKey | None = None
    concurrency_key: QueueKey | None = None
    langsmith_tracer: JsonObject | None = None
    strict_resume: bool | None = None


class QueueingBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a run's turn comes, as `metadata.turnkeeper` says it: the SDKs send no fields they do not know."""

    priority: Priority | None = None
    fairness_key: QueueKey | None = None
    concurrency_key: QueueKey | None = None


class CommandBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a run does before its graph goes on (`langgraph_sdk.schema.Command`)."""

    update: JsonObject | list[tuple[str, Any]] | None = None
    resume: Any = None
    goto: "str | SendBody | list[str | SendBody] | None" = None


class SendBody(msgspec.Struct, frozen=True):
    """A node to run next, with an input of its own (`langgraph_sdk.schema.Send`)."""

    node: str
    input: msgspec.Raw = NULL


class ConfigBody(msgspec.Struct, frozen=True):
    """`langgraph_sdk.schema.Config`, and what else of LangChain's `RunnableConfig` JSON can say."""

    tags: list[str] | None = None
    recursion_limit: int | None = None
    configurable: JsonObject | None = None
    metadata: JsonObject | None = None
    run_name: str | None = None
    max_concurrency: int | None = None


class CheckpointBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """The address of a checkpoint (`langgraph_sdk.schema.Checkpoint`)."""

    thread_id: str | None = None
    checkpoint_ns: str | None = None
    checkpoint_id: str | None = None
    checkpoint_map: JsonObject | None = None


class RunsCancel(msgspec.Struct, frozen=True):
    """Which runs to cancel: named ones of a thread, or all with a status."""

    thread_id: str | None = None
    run_ids: list[str] | None = None
    status: Literal["pending", "running", "all"] | None = None


class ThreadCreate(msgspec.Struct, frozen=True):
    """A thread to be made."""

    thread_id: str | None = None
    metadata: JsonObject | None = None
    if_exists: Literal["raise", "do_nothing"] | None = None
    ttl: "TtlBody | None" = None
    supersteps: "list[Superstep] | None" = None


class TtlBody(msgspec.Struct, frozen=True):
    """How long a thread is kept, in minutes."""

    ttl: float | None = None
    strategy: Literal["delete", "keep_latest"] | None = None


class Superstep(msgspec.Struct, frozen=True):
    """Updates that are applied together, when a thread is made with a past."""

    updates: "list[SuperstepUpdate]"


class SuperstepUpdate(msgspec.Struct, frozen=True):
    """One update of a superstep, as if `as_node` had made it."""

    as_node: str
    values: Any = None
    command: CommandBody | None = None


class ThreadPatch(msgspec.Struct, frozen=True):
    """Changes to a thread."""

    metadata: JsonObject | None = None
    ttl: TtlBody | None = None


class Search(msgspec.Struct, frozen=True):
    """Which page of what is found."""

    limit: Limit | None = None
    offset: Offset | None = None
    sort_order: Literal["asc", "desc"] | None = None

    def rows(self, sort_by: str) -> Select:
        """The rows to select, in the order of `sort_by`: the newest or greatest ten, unless it says otherwise."""
        return Select(self.limit or 10, self.offset or 0, sort_by, self.sort_order != "asc")


ThreadField = Literal[
    "thread_id", "created_at", "updated_at", "state_updated_at", "metadata", "config", "status", "values",
    "interrupts", "error",
]  # fmt: skip


class ThreadSearch(Search, frozen=True):
    """Which threads, in what order."""

    metadata: JsonObject | None = None
    values: JsonObject | None = None
    ids: list[str] | None = None
    status: lifecycle.ThreadStatus | None = None
    sort_by: Literal["thread_id", "status", "created_at", "updated_at", "state_updated_at"] | None = None
    select: list[ThreadField] | None = None
    extract: dict[str, str] | None = None


class AssistantCreate(msgspec.Struct, frozen=True):
    """An assistant to be made."""

    graph_id: str
    assistant_id: str | None = None
    config: JsonObject | None = None
    context: JsonObject | None = None
    metadata: JsonObject | None = None
    name: str | None = None
    description: str | None = None
    if_exists: Literal["raise", "do_nothing"] | None = None


class AssistantPatch(msgspec.Struct, frozen=True):
    """Changes to an assistant."""

    graph_id: str | None = None
    config: JsonObject | None = None
    context: JsonObject | None = None
    metadata: JsonObject | None = None
    name: str | None = None
    description: str | msgspec.UnsetType | None = msgspec.UNSET


AssistantField = Literal[
    "assistant_id", "graph_id", "name", "description", "config", "context", "metadata", "version", "created_at",
    "updated_at",
]  # fmt: skip


class AssistantSearch(Search, frozen=True):
    """Which assistants, in what order."""

    metadata: JsonObject | None = None
    graph_id: str | None = None
    name: str | None = None
    sort_by: Literal["assistant_id", "graph_id", "name", "created_at", "updated_at"] | None = None
    select: list[AssistantField] | None = None


class AssistantVersions(msgspec.Struct, frozen=True):
    """Which versions of an assistant."""

    metadata: JsonObject | None = None
    limit: Limit | None = None
    offset: Offset | None = None


class AssistantLatest(msgspec.Struct, frozen=True):
    """The version an assistant is to be again."""

    version: Annotated[int, msgspec.Meta(ge=1, le=BIGGEST)]


class StateEdit(msgspec.Struct, frozen=True):
    """An edit of a thread's state."""

    values: Any = None
    as_node: str | None = None
    checkpoint: CheckpointBody | None = None
    checkpoint_id: str | None = None


class StateAt(msgspec.Struct, frozen=True):
    """Which state to read."""

    checkpoint: CheckpointBody
    subgraphs: bool | None = None
    select: list[str] | None = None


class HistoryQuery(msgspec.Struct, frozen=True):
    """Which part of a thread's history."""

    limit: Limit | None = None
    before: "str | BeforeBody | None" = None
    metadata: JsonObject | None = None
    checkpoint: CheckpointBody | None = None
    select: list[str] | None = None


class BeforeBody(msgspec.Struct, frozen=True):
    """A checkpoint in either of the shapes the SDKs send: its address, or a config that holds it."""

    checkpoint_id: str | None = None
    checkpoint_ns: str | None = None
    configurable: JsonObject | None = None


def checked_config(config: JsonObject) -> JsonObject:
    """`config` as it is, once it is known that runs can use it. Raises `Invalid`."""
    try:
        msgspec.convert({"config": config}, _Configured)
    except msgspec.ValidationError as error:
        raise Invalid(str(error)) from None
    return config


class _Configured(msgspec.Struct, frozen=True):
    config: ConfigBody


def queueing(body: RunCreate) -> Queueing:
    """When the run's turn comes, by its own fields or else by its metadata. Raises `Invalid`."""
    try:
        marked = msgspec.convert({"metadata": body.metadata or {}}, _Marked).metadata.turnkeeper
    except msgspec.ValidationError as error:
        names = f": allowed are {', '.join(_QUEUEING)}" if "unknown field" in str(error) else ""
        raise Invalid(str(error) + names) from None
    said = [marked or QueueingBody(), body]
    given = {name: value for each in said for name in _QUEUEING if (value := getattr(each, name)) is not None}
    return Queueing(**given)


_QUEUEING = QueueingBody.__struct_fields__


class _Marks(msgspec.Struct, frozen=True):
    turnkeeper: QueueingBody | None = None


class _Marked(msgspec.Struct, frozen=True):
    metadata: _Marks


def exclusive(config: ConfigBody | None, context: JsonObject | None) -> None:
    """`context` replaces `config.configurable`; both at once would leave open which counts. Raises `Impossible`."""
    if context and config is not None and config.configurable:
        raise Impossible("Cannot specify both configurable and context. Prefer setting context alone.")
