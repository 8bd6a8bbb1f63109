"""Items of the store that are found by their meaning, in a PostgreSQL that has pgvector."""

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.conformance.postgres_kit import Postgres
from turnkeeper.config import load_settings
from turnkeeper.graphs.embeddings import load_embeddings
from turnkeeper.graphs.loader import Graphs
from turnkeeper.storage.postgres.storage import PostgresStorage

pytestmark = pytest.mark.anyio

EMBED = """
async def embed(texts):
    return [[float(text.count("cat")), float(text.count("car")), 1.0] for text in texts]

graph = None
"""


@pytest.fixture
def database(postgres: Postgres) -> Generator[str]:
    """A database of its own: an index changes the tables of the store."""
    with psycopg.connect(postgres.uri, autocommit=True) as connection:
        connection.execute("create database meaning")
        yield postgres.uri.replace("/postgres?", "/meaning?")
        connection.execute("drop database meaning with (force)")


def storage(uri: str, folder: Path) -> PostgresStorage:
    (folder / "embed.py").write_text(EMBED)
    config = folder / "langgraph.json"
    config.write_text(
        '{"graphs": {"a": "./embed.py:graph"}, "store": {"index": {"embed": "./embed.py:embed", "dims": 3}}}'
    )
    settings = load_settings(config, postgres_uri=uri)
    Graphs.load(settings)
    index: Any = {"dims": 3, "embed": load_embeddings(settings), "fields": ["text"]}
    return PostgresStorage(uri, index=index)


def keys(found: Sequence[object]) -> list[str]:
    return [getattr(item, "key", "") for item in found]


async def test_what_a_graph_remembers_is_found_by_its_meaning(database: str, tmp_path: Path) -> None:
    opened = storage(database, tmp_path)
    opened.open()
    try:
        await opened.items.aput(("notes",), "pet", {"text": "a cat and a cat"})
        await opened.items.aput(("notes",), "way", {"text": "a car"})
        found = await opened.items.asearch(("notes",), query="which cat?", limit=2)
        assert keys(found) == ["pet", "way"]
        assert found[0].score is not None
        assert found[1].score is not None
        assert found[0].score > found[1].score
    finally:
        opened.close()

    again = storage(database, tmp_path)
    again.open()
    assert keys(await again.items.asearch(("notes",), query="car", limit=1)) == ["way"]
    again.close()
