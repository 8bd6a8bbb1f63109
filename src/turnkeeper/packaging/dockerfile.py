"""The Dockerfile of a project, and what must not get into its image."""

import json
import shlex
from pathlib import Path

from turnkeeper import __version__
from turnkeeper.packaging.project import Project

SERVER = f"turnkeeper[postgres,redis]=={__version__}"
"""Named in every command that resolves dependencies, so that none of them may break what the server needs."""

PORT = 8000
USER = "10001:10001"
INSTALL = "pip install --no-cache-dir --root-user-action ignore"
PIP_CONFIG = "pip_config"
"""The name under which a build is handed the user's `pip.conf`, which never becomes part of the image."""

IGNORED = (
    "**/.git", "**/.venv", "**/venv", "**/node_modules", "**/__pycache__", "**/*.pyc",
    "**/.turnkeeper", "**/.langgraph_api", "**/.env", "**/.env.*",
)  # fmt: skip

HEALTH = ["turnkeeper", "doctor", "health", "--url", f"http://127.0.0.1:{PORT}"]


def render_dockerfile(project: Project) -> str:
    """The Dockerfile. Requirements are installed before the code is copied: most changes are of code."""
    blocks = [
        [f"# Made by turnkeeper {__version__} of {project.config.name}: change that file, and make this one again."],
        [f"FROM {project.base_image}", "USER root", *project.lines],
        _requirements(project),
        _code(project),
        _tools(project),
        _running(project),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def render_ignore(project: Project) -> str:
    """What is not handed to Docker: what the project's `.dockerignore` names, and what belongs into no image."""
    own = project.context / ".dockerignore"
    names = own.read_text(encoding="utf-8").splitlines() if own.is_file() else []
    secret = [path for path in (project.pip_config, project.env_file) if path is not None]
    inside = [project.place(path) for path in secret if path.is_relative_to(project.context)]
    return "\n".join([*names, *IGNORED, *inside]) + "\n"


def _requirements(project: Project) -> list[str]:
    lists = [_place(project, folder.requirements) for folder in project.folders if folder.requirements is not None]
    lines: list[str] = []
    for source, target in lists:
        lines.append(f"COPY {json.dumps([source, target])}")
        lines.append(_install(project, "--requirement", target))
    return [*lines, _install(project, SERVER, *project.packages)]


def _code(project: Project) -> list[str]:
    inside = [path for path in (folder.path for folder in project.folders) if not path.is_relative_to(project.root)]
    copies = [_place(project, path) for path in dict.fromkeys([project.root, *inside])]
    lines = [f"COPY {json.dumps([source, target + '/'])}" for source, target in copies]
    packages = [f"{_place(project, folder.path)[1]}{folder.extras}" for folder in project.folders if folder.is_package]
    if packages:
        lines.append(_install(project, SERVER, *(word for each in packages for word in ("--editable", each))))
    return lines


def _tools(project: Project) -> list[str]:
    return [f"RUN pip uninstall --yes {' '.join(project.removed_tools)}"] if project.removed_tools else []


def _running(project: Project) -> list[str]:
    command = ["serve", "--host", "0.0.0.0", "--port", str(PORT), "--config", project.config.name]  # noqa: S104  the container's own
    return [
        f"RUN mkdir -p /data && chown {USER} /data",
        "ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/data TURNKEEPER_DB=/data/turnkeeper.db",
        f"WORKDIR {_place(project, project.root)[1]}",
        f"EXPOSE {PORT}",
        f"USER {USER}",
        f"HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD {json.dumps(HEALTH)}",
        'ENTRYPOINT ["turnkeeper"]',
        f"CMD {json.dumps(command)}",
    ]


def _install(project: Project, *arguments: str) -> str:
    secret = f"--mount=type=secret,id={PIP_CONFIG},target=/etc/pip.conf,required=true " if project.pip_config else ""
    return f"RUN {secret}{INSTALL} {shlex.join(arguments)}"


def _place(project: Project, path: Path) -> tuple[str, str]:
    """Where something lies, seen from the context, and in the image."""
    source = project.place(path)
    return source, "/app" if source == "." else f"/app/{source}"
