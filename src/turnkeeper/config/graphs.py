"""The `graphs` of `langgraph.json`: ids and import paths, checked for form only; nothing is imported."""

import json
from typing import Any, cast

from turnkeeper.config.document import Document, json_type
from turnkeeper.config.settings import GraphSpec
from turnkeeper.errors import ConfigError

EXAMPLE = 'write "graphs": {"agent": "./agent.py:graph"}'
SCRIPTS = (".ts", ".tsx", ".mts", ".cts", ".js", ".jsx", ".mjs", ".cjs")


def read_graphs(document: Document) -> tuple[GraphSpec, ...]:
    """Every entry of `graphs`, in the order of the file."""
    graphs = document.data.get("graphs")
    if not isinstance(graphs, dict) or not graphs:
        raise ConfigError(
            f"{document.path.name} names no graphs",
            where=document.where("graphs") if "graphs" in document.data else document.path.name,
            cause=_why_none(document),
            fix=EXAMPLE,
        )
    return tuple(_spec(document, graph_id, entry) for graph_id, entry in cast("dict[str, Any]", graphs).items())


def _why_none(document: Document) -> str:
    if "graphs" not in document.data:
        return 'the key "graphs" is missing'
    graphs: object = document.data["graphs"]
    return '"graphs" is empty' if graphs == {} else f'"graphs" is {json_type(graphs)}, not an object'


def _spec(document: Document, graph_id: str, entry: object) -> GraphSpec:
    where = f"{document.path.name}:{document.line_of('graphs', graph_id)}   {json.dumps(graph_id)}: {json.dumps(entry)}"
    fields = cast("dict[str, Any]", entry) if isinstance(entry, dict) else {"path": entry}
    path, description = fields.get("path"), fields.get("description")
    if not isinstance(path, str):
        raise ConfigError(
            f"graph '{graph_id}' has no path",
            where=where,
            cause=f'"path" is {json_type(path)}, not a string' if "path" in fields else '"path" is missing',
            fix=f'write "{graph_id}": "./agent.py:graph"',
        )
    if not isinstance(description, str | None):
        raise ConfigError(
            f"graph '{graph_id}' has no usable description",
            where=where,
            cause=f'"description" is {json_type(description)}',
            fix="give a string",
        )
    _check_path(graph_id, path, where)
    line = document.line_of("graphs", graph_id)
    return GraphSpec(graph_id=graph_id, path=path, description=description, line=line)


def _check_path(graph_id: str, path: str, where: str) -> None:
    source, colon, name = path.rpartition(":")
    if not colon and path.endswith(".py"):
        cause = "it names a file, but not the graph in it"
    elif not colon or not source:
        cause = "it is neither ./file.py:name nor package.module:name"
    elif source.endswith(SCRIPTS):
        cause = "JavaScript and TypeScript graphs cannot be loaded: this server runs Python"
    elif not name.isidentifier():
        cause = f"'{name}' cannot be a name in a Python module"
    else:
        return
    raise ConfigError(
        f"graph '{graph_id}' has a path that cannot be understood",
        where=where,
        cause=cause,
        fix=f'write "{graph_id}": "./agent.py:graph" or "{graph_id}": "package.module:graph"',
    )
