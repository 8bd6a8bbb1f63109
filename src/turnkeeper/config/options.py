"""Our own settings: the command line wins over the environment, that over `"turnkeeper"` in the file."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from turnkeeper.config.document import Document, json_type, nearest
from turnkeeper.errors import ConfigError

SECTION = "turnkeeper"


@dataclass(frozen=True, slots=True)
class Option:
    """One setting of ours: how its values look and which environment variables may give it."""

    kind: type[str] | type[int] | type[float] | type[dict[str, int]]
    allowed: str
    variables: tuple[str, ...]
    least: float = 0
    choices: tuple[str, ...] = ()
    schemes: tuple[str, ...] = ()
    """For addresses, which may hold a password: how they begin."""


OPTIONS: dict[str, Option] = {
    "cancel_grace": Option(float, "a number of seconds, 0 or more", ("TURNKEEPER_CANCEL_GRACE",)),
    "max_body": Option(int, "a whole number of bytes, 1024 or more", ("TURNKEEPER_MAX_BODY",), least=1024),
    "jobs": Option(int, "a whole number, 1 or more", ("TURNKEEPER_JOBS", "N_JOBS_PER_WORKER"), least=1),
    "drain_timeout": Option(float, "a number of seconds, 0 or more", ("TURNKEEPER_DRAIN_TIMEOUT",)),
    "run_timeout": Option(float, "a number of seconds above 0", ("TURNKEEPER_RUN_TIMEOUT",), least=0.001),
    "max_attempts": Option(int, "a whole number, 1 or more", ("TURNKEEPER_MAX_ATTEMPTS",), least=1),
    "max_queued_per_thread": Option(int, "a whole number, 1 or more", ("TURNKEEPER_MAX_QUEUED_PER_THREAD",), least=1),
    "concurrency_limit": Option(int, "a whole number, 1 or more", ("TURNKEEPER_CONCURRENCY_LIMIT",), least=1),
    "concurrency_limits": Option(dict, "an object of keys and whole numbers, 1 or more", (), least=1),
    "stream_ttl": Option(float, "a number of seconds, 0 or more", ("TURNKEEPER_STREAM_TTL",)),
    "queued_on_interrupt": Option(
        str, "cancel or keep", ("TURNKEEPER_QUEUED_ON_INTERRUPT",), choices=("cancel", "keep")
    ),
    "dangling_tool_calls": Option(
        str, "answer or keep", ("TURNKEEPER_DANGLING_TOOL_CALLS",), choices=("answer", "keep")
    ),
    "superseded_input": Option(str, "keep or drop", ("TURNKEEPER_SUPERSEDED_INPUT",), choices=("keep", "drop")),
    "db": Option(str, "a path, or :memory:", ("TURNKEEPER_DB",)),
    "postgres_uri": Option(
        str,
        "an address like postgresql://user:password@host/database",
        ("TURNKEEPER_POSTGRES_URI", "DATABASE_URI", "POSTGRES_URI"),
        schemes=("postgresql://", "postgres://"),
    ),
    "postgres_connections": Option(int, "a whole number, 2 or more", ("TURNKEEPER_POSTGRES_CONNECTIONS",), least=2),
    "redis_uri": Option(
        str,
        "an address like redis://host:6379",
        ("TURNKEEPER_REDIS_URI", "REDIS_URI"),
        schemes=("redis://", "rediss://", "unix://"),
    ),
    "role": Option(str, "all, api or worker", ("TURNKEEPER_ROLE",), choices=("all", "api", "worker")),
    "lease": Option(float, "a number of seconds, 1 or more", ("TURNKEEPER_LEASE",), least=1),
}


def read_options(document: Document, environ: Mapping[str, str]) -> dict[str, Any]:
    """Our settings as the file and the environment give them, checked."""
    return _from_file(document) | _from_environment(environ)


def _from_file(document: Document) -> dict[str, Any]:
    section = document.data.get(SECTION, {})
    if not isinstance(section, dict):
        raise ConfigError(
            f'"{SECTION}" is {json_type(section)}, not an object',
            where=document.where(SECTION),
            fix=f'write "{SECTION}": {{"jobs": 100}}; keys: {", ".join(OPTIONS)}',
        )
    values = cast("dict[str, Any]", section)
    for key, value in values.items():
        _check_key(document, key)
        if not _fits(OPTIONS[key], value):
            raise _wrong(key, json.dumps(_shown(OPTIONS[key], value)), document.where(SECTION, key))
    if "db" in values and values["db"] != ":memory:" and "://" not in values["db"]:
        # A path in the file is meant from the file, wherever the server is started.
        values = values | {"db": str(document.path.parent / values["db"])}
    return values


def _check_key(document: Document, key: str) -> None:
    if key not in OPTIONS:
        close = nearest(key, OPTIONS)
        raise ConfigError(
            f'unknown key "{key}" under "{SECTION}"',
            where=document.where(SECTION, key),
            cause=f"the keys are {', '.join(OPTIONS)}",
            nearest=f'"{close}"' if close else None,
            fix=f'write "{close}", or remove it' if close else "remove it",
        )


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for key, option in OPTIONS.items():
        variable = next((name for name in option.variables if environ.get(name)), None)
        if variable is not None:
            given[key] = _from_text(key, option, variable, environ[variable])
    return given


def _from_text(key: str, option: Option, variable: str, text: str) -> Any:
    try:
        value = cast("Callable[[str], Any]", option.kind)(text)
    except ValueError:
        value = None
    if not _fits(option, value):
        shown = _shown(option, text)
        raise _wrong(key, repr(shown), f"environment   {variable}={shown}")
    return value


def _fits(option: Option, value: object) -> bool:
    if option.kind is str:
        return (
            isinstance(value, str)
            and value != ""
            and (not option.choices or value in option.choices)
            and (not option.schemes or value.startswith(option.schemes))
        )
    if option.kind is dict:
        named = cast("dict[str, object]", value) if isinstance(value, dict) else {"": None}
        return all(key and _is_number(option, each) for key, each in named.items())
    return _is_number(option, value)


def _is_number(option: Option, value: object) -> bool:
    numbers = (int, float) if option.kind is float else (int,)
    return isinstance(value, numbers) and not isinstance(value, bool) and value >= option.least


def _shown(option: Option, value: Any) -> Any:
    """A wrong value as it may be shown: of an address nothing that could be a password."""
    return value.partition(":")[0] + ":..." if option.schemes and isinstance(value, str) else value


def _wrong(key: str, shown: str, where: str) -> ConfigError:
    allowed = OPTIONS[key].allowed
    return ConfigError(f'"{key}" cannot be {shown}', where=where, cause=f"it takes {allowed}", fix=f"give {allowed}")
