"""Assistants: graphs with a configuration of their own."""

import uuid
from typing import Any

import msgspec

from turnkeeper.codec import raw, text
from turnkeeper.contracts import Storage
from turnkeeper.errors import Impossible, Invalid, NotFound
from turnkeeper.graphs.loader import Graphs
from turnkeeper.services.requests import (
    AssistantCreate,
    AssistantPatch,
    AssistantSearch,
    AssistantVersions,
    checked_config,
)
from turnkeeper.types import EMPTY, Assistant, AssistantVersion, Page, system_assistant_id, uuid7


class AssistantService:
    """What the HTTP handlers ask of assistants."""

    def __init__(self, storage: Storage, graphs: Graphs) -> None:
        self._storage = storage
        self._graphs = graphs

    async def ensure_system(self) -> None:
        """Every graph has an assistant from the start, under a well-known id."""
        for graph_id in (*self._graphs.ids, *self._graphs.failed):
            assistant = Assistant(
                assistant_id=system_assistant_id(graph_id),
                graph_id=graph_id,
                name=graph_id,
                description=self._graphs.description(graph_id),
                config=EMPTY,
                context=EMPTY,
                metadata=raw({"created_by": "system"}),
                version=1,
                created_at="",
                updated_at="",
            )
            await self._storage.assistants.create(assistant, exist_ok=True)

    def resolve(self, name: str) -> str:
        """The id of the assistant a client names by id or by graph. Raises `Invalid`."""
        if name in self._graphs.ids or name in self._graphs.failed:
            return system_assistant_id(name)
        try:
            return str(uuid.UUID(name))
        except ValueError:
            graphs = ", ".join(self._graphs.ids)
            raise Invalid(
                f"Invalid assistant: '{name}'. Must be either:\n- A valid assistant UUID, or\n"
                f"- One of the registered graphs: {graphs}"
            ) from None

    async def create(self, body: AssistantCreate) -> Assistant:
        """Make an assistant. Raises `NotFound` for an unknown graph, `Conflict` when the id is taken."""
        self._known(body.graph_id)
        config, context = _mirrored(body.config or {}, body.context or {})
        assistant = Assistant(
            assistant_id=body.assistant_id or uuid7(),
            graph_id=body.graph_id,
            name=body.name or "Untitled",
            description=body.description,
            config=raw(config),
            context=raw(context),
            metadata=raw(body.metadata or {}),
            version=1,
            created_at="",
            updated_at="",
        )
        return await self._storage.assistants.create(assistant, exist_ok=body.if_exists == "do_nothing")

    async def get(self, assistant_id: str) -> Assistant:
        """One assistant. Raises `NotFound`."""
        return await self._storage.assistants.get(assistant_id)

    async def update(self, assistant_id: str, body: AssistantPatch) -> Assistant:
        """A new version. A patch that names nothing changes nothing and makes none. Raises `NotFound`."""
        changes: dict[str, Any] = {}
        if body.graph_id is not None:
            self._known(body.graph_id)
            changes["graph_id"] = body.graph_id
        if body.config is not None or body.context is not None:
            config, context = _mirrored(body.config or {}, body.context or {})
            changes |= {"config": text(config), "context": text(context)}
        if body.metadata is not None:
            changes["metadata"] = body.metadata
        if body.name is not None:
            changes["name"] = body.name
        if body.description is not msgspec.UNSET:
            changes["description"] = body.description
        if not changes:
            return await self.get(assistant_id)
        return await self._storage.assistants.update(assistant_id, changes)

    async def versions(self, assistant_id: str, body: AssistantVersions) -> list[AssistantVersion]:
        """What the assistant was, newest version first. Raises `NotFound`."""
        metadata = None if body.metadata is None else text(body.metadata)
        return await self._storage.assistants.versions(
            assistant_id, metadata=metadata, limit=body.limit or 10, offset=body.offset or 0
        )

    async def restore(self, assistant_id: str, version: int) -> Assistant:
        """Make the assistant what it was at a version. Raises `NotFound`."""
        return await self._storage.assistants.restore(assistant_id, version)

    async def delete(self, assistant_id: str) -> None:
        """Remove an assistant. Raises `NotFound`."""
        await self._storage.assistants.delete(assistant_id)

    async def threads(self, assistant_id: str) -> list[str]:
        """The threads whose metadata name the assistant."""
        return await self._storage.assistants.threads(assistant_id)

    async def search(self, body: AssistantSearch) -> Page:
        """Assistants that match."""
        return await self._storage.assistants.search(_filters(body), body.rows(body.sort_by or "created_at"))

    async def count(self, body: AssistantSearch) -> int:
        """How many assistants match."""
        return await self._storage.assistants.count(_filters(body))

    def _known(self, graph_id: str) -> None:
        if graph_id not in self._graphs.ids:
            raise NotFound(f"Graph '{graph_id}' not found. Expected one of: {sorted(self._graphs.ids)}")


def _filters(body: AssistantSearch) -> dict[str, Any]:
    metadata = None if body.metadata is None else text(body.metadata)
    return {"graph_id": body.graph_id, "name": body.name, "metadata": metadata}


def _mirrored(config: dict[str, Any], context: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """`context` and `config.configurable` are two names for one thing; only one may be given.

    Raises `Impossible` when both are, `Invalid` when no run could use the config.
    """
    configurable: dict[str, Any] = checked_config(config).get("configurable") or {}
    if configurable and context and configurable != context:
        raise Impossible("Cannot specify both configurable and context. Prefer setting context alone.")
    said = context or configurable
    return ({**config, "configurable": said} if said else config), said
