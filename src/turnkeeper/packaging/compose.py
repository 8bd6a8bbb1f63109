"""The compose file of a project: PostgreSQL, Redis, a migration, and the server split into API and workers."""

import os
import re
from pathlib import Path
from typing import Any

import yaml

from turnkeeper.packaging.dockerfile import PIP_CONFIG, PORT
from turnkeeper.packaging.project import Project

POSTGRES = "postgres:17"
REDIS = "redis:7.4"
DATABASE = "postgresql://turnkeeper@postgres:5432/turnkeeper"
PASSWORD = "${POSTGRES_PASSWORD:-turnkeeper}"  # noqa: S105  compose asks its environment; nobody outside reaches it
DRAIN_TIMEOUT = 20
STOP = "45s"
"""Above what a server takes to stop at the longest."""

Service = dict[str, Any]


def render_compose(
    project: Project, *, folder: Path, dockerfile: Path, port: int, image: str | None = None, own_database: bool = True
) -> str:
    """The text of a compose file that lies in `folder`, with the API on `port` of this machine alone.

    `image` is run if one is named, else one is built by `dockerfile`. Without a database of its own, `DATABASE_URI` in
    the environment of compose has to say where one is.
    """
    name = compose_name(project)
    server = _server(project, folder, dockerfile, image or f"{name}:local", build=image is None)
    server["environment"] = _environment(own_database=own_database)
    services = {
        **({"postgres": _postgres()} if own_database else {}),
        "redis": _redis(),
        "migrate": _migrate(server, own_database=own_database),
        "api": _role("api", server) | {"ports": [f"127.0.0.1:{port}:{PORT}"]},
        "worker": _role("worker", server),
    }
    document: dict[str, Any] = {"name": name, "services": services}
    if own_database:
        document["volumes"] = {"postgres": {}}
    if project.pip_config is not None and image is None:
        document["secrets"] = {PIP_CONFIG: {"file": _seen_from(folder, project.pip_config)}}
    return yaml.dump(document, Dumper=_Plain, sort_keys=False, width=120)


def compose_name(project: Project) -> str:
    """What compose calls the project: its folder's name, in the letters it allows."""
    return re.sub(r"[^a-z0-9_-]+", "-", project.root.name.lower()).lstrip("-_") or "project"


class _Plain(yaml.SafeDumper):
    """Writes what is repeated once more instead of referring to it."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  yaml's call
        return True


def _server(project: Project, folder: Path, dockerfile: Path, image: str, *, build: bool) -> Service:
    how: Service = {
        "context": _seen_from(folder, project.context),
        "dockerfile": _seen_from(project.context, dockerfile),
    }
    if project.pip_config is not None:
        how["secrets"] = [PIP_CONFIG]
    service: Service = {"image": image, "init": True, **({"build": how} if build else {})}
    if project.env_file is not None:
        service["env_file"] = [_seen_from(folder, project.env_file)]
    return service


def _environment(*, own_database: bool) -> dict[str, str]:
    own = {"DATABASE_URI": DATABASE, "PGPASSWORD": PASSWORD}
    database = own if own_database else {"DATABASE_URI": "${DATABASE_URI}"}
    return {**database, "REDIS_URI": "redis://redis:6379", "TURNKEEPER_DRAIN_TIMEOUT": str(DRAIN_TIMEOUT)}


def _role(role: str, server: Service) -> Service:
    after = {
        "migrate": {"condition": "service_completed_successfully"},
        "redis": {"condition": "service_healthy"},
    }
    environment = {**server["environment"], "TURNKEEPER_ROLE": role}
    how = {"depends_on": after, "stop_grace_period": STOP, "restart": "unless-stopped"}
    return {**server, "environment": environment, **how}


def _migrate(server: Service, *, own_database: bool) -> Service:
    after = {"depends_on": {"postgres": {"condition": "service_healthy"}}} if own_database else {}
    return {**server, "command": ["db", "migrate"], "healthcheck": {"disable": True}, **after}


def _postgres() -> Service:
    return {
        "image": POSTGRES,
        "environment": {"POSTGRES_USER": "turnkeeper", "POSTGRES_DB": "turnkeeper", "POSTGRES_PASSWORD": PASSWORD},
        "volumes": ["postgres:/var/lib/postgresql/data"],
        "healthcheck": _healthy("pg_isready", "--username=turnkeeper", "--dbname=turnkeeper"),
        "restart": "unless-stopped",
    }


def _redis() -> Service:
    return {
        "image": REDIS,
        "command": ["redis-server", "--save", "", "--appendonly", "no"],
        "healthcheck": _healthy("redis-cli", "ping"),
        "restart": "unless-stopped",
    }


def _healthy(*command: str) -> Service:
    return {"test": ["CMD", *command], "interval": "2s", "timeout": "3s", "retries": 30}


def _seen_from(folder: Path, path: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()
