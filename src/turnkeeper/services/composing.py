"""A run's metadata and arguments, put together from its request, its assistant and its thread."""

from typing import Any

import msgspec

from turnkeeper.codec import decode, raw
from turnkeeper.services.requests import CheckpointBody, CommandBody, ConfigBody, RunCreate
from turnkeeper.types import Assistant, Compose, Composed

DEFAULT_MODES = ["values"]

ADDRESS = ("thread_id", "checkpoint_ns", "checkpoint_id", "checkpoint_map")
"""Keys of `configurable` that say where the run goes on; that comes from the path and from `checkpoint`."""


def composer(
    body: RunCreate,
    run_id: str,
    thread_id: str,
    fixed: dict[str, Any],
    *,
    recursion_limit: int,
    cron_id: str | None = None,
) -> Compose:
    """The function that storage calls once it holds the run's assistant and thread.

    `fixed` are arguments the server decides; `recursion_limit` is what a run gets that names none.
    """
    cron = {} if cron_id is None else {"cron_id": cron_id}

    def compose(assistant: Assistant, thread_metadata: dict[str, Any], *, answers: bool) -> Composed:
        belongs = {"graph_id": assistant.graph_id, "assistant_id": assistant.assistant_id}
        config, context = _configuration(body, assistant, recursion_limit)
        config["configurable"] |= {"run_id": run_id, "thread_id": thread_id, **belongs, **cron}
        metadata = {"created_by": "system", **thread_metadata, **belongs, **(body.metadata or {}), **cron}
        arguments = _arguments(body, config, context) | fixed
        if answers:
            arguments |= _answer(body)
        return Composed(metadata=raw(metadata), kwargs=msgspec.Raw(msgspec.json.encode(arguments)))

    return compose


def continues(body: RunCreate) -> bool:
    """Whether a `RemoteGraph` sent the run, as a node of a graph that goes on after an interrupt.

    It sends its input again then, and has no word for the answer; but it does pass on the config it was given.
    """
    return bool(_configurable(body).get("__pregel_resuming"))


def _answer(body: RunCreate) -> dict[str, Any]:
    """What a run does that finds its thread waiting for a human, and is to be the answer."""
    if not continues(body):
        return {"input": None, "command": CommandBody(resume=body.input)}
    answers = _configurable(body).get("__pregel_resume_map")
    command = CommandBody(resume=answers) if answers and isinstance(answers, dict) else None
    return {"input": None, "command": command, "strict_resume": False}  # some may answer other nodes' interrupts


def _configurable(body: RunCreate) -> dict[str, Any]:
    return (body.config and body.config.configurable) or {}


def _configuration(
    body: RunCreate, assistant: Assistant, recursion_limit: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The request's config and context over the assistant's. Each of `context` and `configurable` mirrors the other."""
    given = _said(msgspec.to_builtins(body.config or ConfigBody()))
    stored = _said(decode(assistant.config))
    said = body.context or given.get("configurable") or {}
    config = {
        "recursion_limit": recursion_limit,
        **stored,
        **given,
        "configurable": _usable({**stored.get("configurable", {}), **said}),
    }
    return config, _usable({**decode(assistant.context), **said})


def _said(config: dict[str, Any]) -> dict[str, Any]:
    """What a config says of what runs can use."""
    return {key: value for key, value in config.items() if value is not None and key in ConfigBody.__struct_fields__}


def _usable(configurable: dict[str, Any]) -> dict[str, Any]:
    """Without the keys that are LangGraph's own business: a client's would break the run."""
    return {key: value for key, value in configurable.items() if key not in ADDRESS and not key.startswith("__pregel_")}


def _arguments(body: RunCreate, config: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    """The run's `kwargs`: what the worker executes and what clients see of it."""
    modes = body.stream_mode or DEFAULT_MODES
    return {
        "input": body.input,
        "command": _command(body.command),
        "config": config,
        "context": context,
        "stream_mode": list(dict.fromkeys([modes] if isinstance(modes, str) else modes)),
        "interrupt_before": body.interrupt_before,
        "interrupt_after": body.interrupt_after,
        "webhook": body.webhook,
        "feedback_keys": body.feedback_keys,
        "subgraphs": bool(body.stream_subgraphs),
        "resumable": bool(body.stream_resumable),
        "checkpoint": _checkpoint(body),
        "durability": _durability(body),
        "run_timeout": body.run_timeout,
        "strict_resume": body.strict_resume is not False,
    }


def _command(given: CommandBody | None) -> CommandBody | None:
    """LangGraph fails on a command that says nothing."""
    if given is None or not (given.update or given.goto or given.resume is not None):
        return None
    return given


def _checkpoint(body: RunCreate) -> dict[str, Any] | None:
    """Where to go on from, if not from the newest state."""
    given: dict[str, Any] = msgspec.to_builtins(body.checkpoint or CheckpointBody())
    given.pop("thread_id", None)
    checkpoint_id = body.checkpoint_id or given.get("checkpoint_id") or _configurable(body).get("checkpoint_id")
    if not isinstance(checkpoint_id, str) or not checkpoint_id:
        return None
    return {"checkpoint_ns": "", **given, "checkpoint_id": checkpoint_id}


def _durability(body: RunCreate) -> str:
    """`checkpoint_during` is the older spelling of `durability`."""
    if body.durability is not None:
        return body.durability
    return "exit" if body.checkpoint_during is False else "async"
