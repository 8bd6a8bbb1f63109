"""Request bodies of crons, and what a cron keeps of one to ask for its runs: the same fields as a run's own body."""

from typing import Any, Literal

import msgspec

from turnkeeper.errors import Invalid
from turnkeeper.services.requests import ConfigBody, JsonObject, RunCreate, Search
from turnkeeper.types import NULL, Cron


class CronCreate(RunCreate, frozen=True, kw_only=True):
    """A cron to be made (`langgraph_sdk` `crons.create` and `crons.create_for_thread`)."""

    schedule: str
    timezone: str | None = None
    end_time: str | None = None
    enabled: bool | None = None
    on_run_completed: Literal["delete", "keep"] | None = None


class CronPatch(RunCreate, frozen=True, kw_only=True):
    """Changes to a cron. What may be taken away can be `null`."""

    assistant_id: str = ""
    schedule: str | None = None
    timezone: str | msgspec.UnsetType | None = msgspec.UNSET
    end_time: str | msgspec.UnsetType | None = msgspec.UNSET
    enabled: bool | None = None
    on_run_completed: Literal["delete", "keep"] | None = None


CronField = Literal[
    "cron_id", "assistant_id", "thread_id", "user_id", "schedule", "timezone", "end_time", "next_run_date", "enabled",
    "on_run_completed", "metadata", "payload", "created_at", "updated_at", "now",
]  # fmt: skip


class CronSearch(Search, frozen=True):
    """Which crons, in what order."""

    assistant_id: str | None = None
    thread_id: str | None = None
    enabled: bool | None = None
    metadata: JsonObject | None = None
    sort_by: (
        Literal["cron_id", "assistant_id", "thread_id", "next_run_date", "end_time", "created_at", "updated_at"] | None
    ) = None
    select: list[CronField] | None = None


ONCE = (
    "run_id", "checkpoint", "checkpoint_id", "after_seconds", "if_not_exists", "on_disconnect", "on_completion",
)  # fmt: skip
"""Fields of a run's body that say something of one run only, or of the one who waits for it."""

KEPT = tuple(name for name in RunCreate.__struct_fields__ if name not in (*ONCE, "assistant_id"))


def payload(cron_id: str, assistant_id: str, body: RunCreate, before: msgspec.Raw | None = None) -> msgspec.Raw:
    """What a cron asks of its runs: what the body says, over what it asked `before`. Raises `Invalid`."""
    if wrong := [name for name in ONCE if getattr(body, name) is not None]:
        raise Invalid(f"{wrong[0]}: not allowed for a cron, whose runs are many; allowed are {', '.join(KEPT)}")
    said: dict[str, Any] = {"assistant_id": assistant_id, **_fields(before)}
    said |= {name: value for name in KEPT if (value := getattr(body, name)) is not None and value != NULL}
    if body.config is not None or before is None:
        said["config"] = _marked(body.config or ConfigBody(), cron_id)
    return msgspec.Raw(msgspec.json.encode(said))


def run_body(cron: Cron) -> RunCreate:
    """The body of a cron's next run."""
    body = msgspec.json.decode(cron.payload, type=RunCreate)
    return msgspec.structs.replace(body, config=_unmarked(body.config), on_completion=cron.on_run_completed)


def _fields(before: msgspec.Raw | None) -> dict[str, msgspec.Raw]:
    return {} if before is None else msgspec.json.decode(before, type=dict[str, msgspec.Raw])


def _marked(config: ConfigBody, cron_id: str) -> JsonObject:
    """The config as clients see it: with the cron's id."""
    said = {name: value for name, value in msgspec.structs.asdict(config).items() if value is not None}
    return {**said, "configurable": {**(config.configurable or {}), "cron_id": cron_id}}


def _unmarked(config: ConfigBody | None) -> ConfigBody | None:
    """Without the cron's id, which runs have in any case: beside a `context` no `configurable` may be given."""
    if config is None or config.configurable is None:
        return config
    said = {name: value for name, value in config.configurable.items() if name != "cron_id"}
    return msgspec.structs.replace(config, configurable=said or None)
