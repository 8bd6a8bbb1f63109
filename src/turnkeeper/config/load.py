"""Read `langgraph.json` unchanged, its environment and its graphs; say what is wrong in the words of the file."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from turnkeeper.config.document import Document, json_type, nearest, nearest_file
from turnkeeper.config.dotenv import parse_dotenv
from turnkeeper.config.graphs import read_graphs
from turnkeeper.config.options import SECTION, read_options
from turnkeeper.config.settings import Settings
from turnkeeper.config.store import read_store
from turnkeeper.errors import ConfigError

BUILD_KEYS = (
    "python_version", "node_version", "api_version", "base_image", "image_distro", "pip_config_file", "pip_installer",
    "source", "dockerfile_lines", "keep_pkg_tools", "disable_persistence", "_INTERNAL_docker_tag", "$schema",
)  # fmt: skip
"""Keys of the official file that concern building an image: nothing for a server to do."""

UNAPPLIED_KEYS = ("encryption", "priority", "http", "checkpointer", "webhooks", "ui", "ui_config")
"""Keys of the official file that change how a server behaves and that this one does not act on yet."""

KNOWN_KEYS = ("graphs", "dependencies", "env", "auth", "store", SECTION, *BUILD_KEYS, *UNAPPLIED_KEYS)


def load_settings(config_path: str | Path, **overrides: Any) -> Settings:
    """Read the file and the environment; `overrides` (the command line) win, `None` among them means not given.

    Sets the file's `env` in `os.environ`, where nothing is set yet under that name.
    """
    document = Document(Path(config_path).absolute())
    root = document.path.parent
    _refuse_auth(document)
    warnings = _key_warnings(document) + _apply_env(document)
    values: dict[str, Any] = {
        "config_path": document.path,
        "root": root,
        "graphs": read_graphs(document),
        "dependencies": _local_dependencies(document),
        "warnings": tuple(warnings),
    }
    given = {key: value for key, value in overrides.items() if value is not None}
    values |= read_store(document)
    values |= read_options(document, os.environ)
    if "db" in given:  # said on the command line: an address in the environment is meant for others
        values |= {"postgres_uri": None, "redis_uri": None}
    return _consistent(Settings(**values | given))


def _consistent(settings: Settings) -> Settings:
    """Refuse what one SQLite file cannot do."""
    if settings.postgres_uri is None and (settings.role != "all" or settings.redis_uri is not None):
        wanted = "redis_uri" if settings.role == "all" else f'role "{settings.role}"'
        raise ConfigError(
            f"{wanted} is for several processes, and there is no database they could share",
            cause="a SQLite file belongs to one process",
            fix="give --postgres-uri too",
        )
    if settings.postgres_uri is None and settings.store_index is not None:
        warning = '"index" of "store" has no effect on a SQLite file: searches by meaning need PostgreSQL with pgvector'
        return replace(settings, warnings=(*settings.warnings, warning))
    return settings


def _refuse_auth(document: Document) -> None:
    """To serve without the authentication that was asked for would let everybody in."""
    if document.data.get("auth"):
        raise ConfigError(
            '"auth" is not supported yet',
            where=document.where("auth"),
            cause="without it every caller would get in",
            fix='remove "auth", and let only trusted callers reach the server',
        )


def _key_warnings(document: Document) -> list[str]:
    warnings: list[str] = []
    for key in document.data:
        place = f"{document.path.name}:{document.line_of(key)}"
        if key in UNAPPLIED_KEYS:
            warnings.append(f'{place} "{key}" is not supported yet and has no effect')
        elif key not in KNOWN_KEYS:
            close = nearest(key, KNOWN_KEYS)
            warnings.append(f'{place} unknown key "{key}"' + (f', did you mean "{close}"?' if close else ""))
    return warnings


def _apply_env(document: Document) -> list[str]:
    env = document.data.get("env", {})
    if isinstance(env, str):
        file = document.path.parent / env
        if not file.is_file():
            return [f'{document.path.name}:{document.line_of("env")} "env": {env} does not exist']
        env = parse_dotenv(file.read_text(encoding="utf-8-sig"))
    if not isinstance(env, dict):
        raise ConfigError(
            f'"env" is {json_type(env)}',
            where=document.where("env"),
            cause="it is the path of a .env file, or an object of names and values",
            fix='write "env": "./.env" or "env": {"NAME": "value"}',
        )
    for name, value in cast("dict[str, Any]", env).items():
        if not isinstance(value, str | int | float):
            raise ConfigError(
                f'"{name}" in "env" is {json_type(cast("object", value))}',
                where=document.where("env", name),
                fix="give a string",
            )
        os.environ.setdefault(name, value if isinstance(value, str) else str(value))
    return []


def _local_dependencies(document: Document) -> tuple[Path, ...]:
    """The folders among `dependencies`; the rest are names of packages, for whoever installs them."""
    listed = document.data.get("dependencies", [])
    if not isinstance(listed, list) or not all(isinstance(entry, str) for entry in cast("list[object]", listed)):
        raise ConfigError(
            '"dependencies" is not an array of strings',
            where=document.where("dependencies"),
            fix='write "dependencies": ["."]',
        )
    local = [entry.partition("[")[0] for entry in cast("list[str]", listed) if entry.startswith((".", "/"))]
    return tuple(_folder(document, entry) for entry in local)


def _folder(document: Document, entry: str) -> Path:
    folder = (document.path.parent / entry).resolve()
    if not folder.exists():
        other = nearest_file(folder)
        raise ConfigError(
            f'dependency "{entry}" does not exist',
            where=document.where("dependencies"),
            cause=f"there is no folder {entry} beside {document.path.name}",
            nearest=f"./{other.name}" if other and other.is_dir() else None,
            fix="name a folder that exists, or remove it",
        )
    return folder
