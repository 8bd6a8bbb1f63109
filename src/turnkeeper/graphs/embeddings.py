"""What makes vectors of texts, for a store that is searched by meaning."""

import asyncio
import importlib
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from langchain_core.embeddings import Embeddings
from langgraph.store.base import ensure_embeddings

from turnkeeper.config import Settings
from turnkeeper.errors import ConfigError
from turnkeeper.graphs.loader import import_file

Vectors = list[list[float]]


def load_embeddings(settings: Settings) -> Embeddings | None:
    """What `store.index.embed` names; the graphs were loaded before. Raises `ConfigError`."""
    if settings.store_index is None:
        return None
    source, _, name = settings.store_index.embed.rpartition(":")
    try:
        if source.endswith(".py"):
            return _usable(getattr(import_file((settings.root / source).resolve(), settings.root), name))
        if "." in source:
            return _usable(getattr(importlib.import_module(source), name))
        return ensure_embeddings(settings.store_index.embed)
    except (Exception, SystemExit) as error:
        raise ConfigError(
            "what embeds the store's items did not load",
            where=f'{settings.config_path.name}   "store": {{"index": {{"embed": "{settings.store_index.embed}"}}}}',
            cause=f"{type(error).__name__}: {error}",
            fix="name a function ./file.py:embed, or provider:model of an installed package",
        ) from error


def _usable(found: Any) -> Embeddings:
    """Stores embed on threads of their own, where a coroutine has to be run to its end."""
    if inspect.iscoroutinefunction(found):
        make = cast("Callable[[Sequence[str]], Awaitable[Vectors]]", found)

        async def made(texts: Sequence[str]) -> Vectors:
            return await make(texts)

        return ensure_embeddings(lambda texts: asyncio.run(made(texts)))
    return ensure_embeddings(found)
