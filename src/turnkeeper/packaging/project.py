"""What `langgraph.json` says of the image: its base, what is installed in it and what is copied."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from turnkeeper.config import load_settings
from turnkeeper.config.document import Document
from turnkeeper.errors import ConfigError

PYTHON = "3.11"
DISTROS = {"debian": "slim", "bookworm": "slim-bookworm"}
TOOLS = ("pip", "setuptools", "wheel")
OF_THE_REFERENCE = "langchain/"
"""Where the images of the reference server are: none of them can run this one."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A local dependency."""

    path: Path
    extras: str = ""
    """`[extra]`, as written after the folder."""

    @property
    def is_package(self) -> bool:
        """Whether it can be installed; if not, it is imported from where it lies."""
        return (self.path / "pyproject.toml").is_file() or (self.path / "setup.py").is_file()

    @property
    def requirements(self) -> Path | None:
        """What is installed for it if it is no package, which would say that itself."""
        file = self.path / "requirements.txt"
        return file if file.is_file() and not self.is_package else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A project as far as its image is concerned."""

    config: Path
    context: Path
    """The folder that holds the project and all its local dependencies."""
    base_image: str
    lines: tuple[str, ...]
    """Lines of the user's for the Dockerfile."""
    packages: tuple[str, ...]
    """What is installed from an index, as pip is told."""
    folders: tuple[Folder, ...]
    pip_config: Path | None
    env_file: Path | None
    removed_tools: tuple[str, ...]
    """Tools the running server has no use for."""
    warnings: tuple[str, ...]

    @property
    def root(self) -> Path:
        """The folder of `langgraph.json`."""
        return self.config.parent

    def place(self, path: Path) -> str:
        """Where something of the project lies, seen from the context."""
        return Path(os.path.relpath(path, self.context)).as_posix()


def read_project(config_path: Path, *, base_image: str | None = None) -> Project:
    """Read the file as a server would, and what only an image needs. Raises `ConfigError`."""
    warnings, local = _as_a_server(config_path)
    document = Document(config_path.parent.resolve() / config_path.name)
    root = document.path.parent
    written = cast("list[str]", document.data.get("dependencies", []))
    on_disk = [entry for entry in written if entry.startswith((".", "/"))]
    folders = [Folder(path, "".join(entry.partition("[")[1:])) for entry, path in zip(on_disk, local, strict=True)]
    env = document.data.get("env")
    return Project(
        config=document.path,
        context=Path(os.path.commonpath([root, *local])),
        base_image=base_image or _base_image(document, warnings),
        lines=_lines(document),
        packages=tuple(entry for entry in written if entry not in on_disk),
        folders=tuple(folders),
        pip_config=_pip_config(document),
        env_file=(root / env).resolve() if isinstance(env, str) and (root / env).is_file() else None,
        removed_tools=_removed_tools(document),
        warnings=(*warnings, *_without_effect(document)),
    )


def _as_a_server(config_path: Path) -> tuple[list[str], tuple[Path, ...]]:
    """Warnings and local dependencies. The `env` of the file is for the container, not for us."""
    environ = dict(os.environ)
    try:
        settings = load_settings(config_path, db=":memory:", role="all")
    finally:
        os.environ.clear()
        os.environ.update(environ)
    return list(settings.warnings), settings.dependencies


def _base_image(document: Document, warnings: list[str]) -> str:
    fitting = f"python:{_python(document)}-{_distro(document)}"
    given = document.data.get("base_image")
    if given is None:
        return fitting
    if not isinstance(given, str) or not given:
        raise _refusal(document, "base_image", "the name of an image", f'write "base_image": "{fitting}"')
    if given.startswith(OF_THE_REFERENCE):
        where = f"{document.path.name}:{document.line_of('base_image')}"
        warnings.append(f"{where} {given} is an image of the reference server; {fitting} is built on instead")
        return fitting
    return given


def _python(document: Document) -> str:
    given = document.data.get("python_version", PYTHON)
    minor = re.fullmatch(r"3\.(\d{1,3})", given) if isinstance(given, str) else None
    if minor is None or int(minor[1]) < int(PYTHON.partition(".")[2]):
        raise _refusal(document, "python_version", f'a string like "{PYTHON}", {PYTHON} or newer')
    return minor[0]


def _distro(document: Document) -> str:
    given = document.data.get("image_distro", "debian")
    if given not in DISTROS:
        allowed = " or ".join(DISTROS)
        raise _refusal(document, "image_distro", allowed, f'{allowed}; or name an image with Python: "base_image"')
    return DISTROS[given]


def _lines(document: Document) -> tuple[str, ...]:
    return tuple(_strings(document, "dockerfile_lines", document.data.get("dockerfile_lines", []), "of strings"))


def _pip_config(document: Document) -> Path | None:
    given = document.data.get("pip_config_file")
    if given is None:
        return None
    if not isinstance(given, str) or not (document.path.parent / given).is_file():
        raise _refusal(document, "pip_config_file", f"the path of a file, from {document.path.name}")
    return (document.path.parent / given).resolve()


def _removed_tools(document: Document) -> tuple[str, ...]:
    kept = document.data.get("keep_pkg_tools", [])
    if isinstance(kept, bool):
        return () if kept else TOOLS
    kept = _strings(document, "keep_pkg_tools", kept, f"of some of {', '.join(TOOLS)}; or true", among=TOOLS)
    return tuple(tool for tool in TOOLS if tool not in kept)


def _strings(document: Document, key: str, given: Any, of: str, *, among: tuple[str, ...] = ()) -> list[str]:
    entries = cast("list[object]", given) if isinstance(given, list) else [None]
    if not all(isinstance(entry, str) and (not among or entry in among) for entry in entries):
        raise _refusal(document, key, f"an array {of}")
    return cast("list[str]", entries)


def _without_effect(document: Document) -> list[str]:
    """Warnings of keys that would change an image of the reference server. Raises if that cannot be done without."""
    data = document.data
    if data.get("source"):
        raise ConfigError(
            '"source" is not supported yet',
            where=document.where("source"),
            cause="what a lock file pins would not be what is installed",
            fix='write "dependencies": ["."], which installs what pyproject.toml asks for',
        )
    told = [key for key in ("node_version", "api_version") if key in data]
    told += ["pip_installer"] if data.get("pip_installer") == "uv" else []
    return [f'{document.path.name}:{document.line_of(key)} "{key}" has no effect on the image' for key in told]


def _refusal(document: Document, key: str, allowed: str, fix: str | None = None) -> ConfigError:
    shown = json.dumps(document.data[key])
    return ConfigError(
        f'"{key}" cannot be {shown}',
        where=document.where(key),
        cause=f"it takes {allowed}",
        fix=fix or f"give {allowed}",
    )
