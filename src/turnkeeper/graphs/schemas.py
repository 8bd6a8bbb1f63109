"""What there is to know of a graph without running it: its drawing, and the JSON schemas of what goes in and out."""

from collections.abc import Callable, Iterator
from typing import Any, NotRequired, Required, TypeAlias, cast, get_args, get_origin, get_type_hints
from weakref import WeakKeyDictionary

from langgraph.pregel import Pregel
from langgraph.pregel.protocol import PregelProtocol
from pydantic import TypeAdapter
from typing_extensions import TypedDict

from turnkeeper.graphs.factories import Graph

AnyGraph: TypeAlias = PregelProtocol[Any, Any, Any, Any]
Schema = dict[str, Any]
Schemas = dict[str, Schema | None]

NAMES = ("input_schema", "output_schema", "state_schema", "config_schema", "context_schema")

_known: WeakKeyDictionary[AnyGraph, Schemas] = WeakKeyDictionary()
"""Schemas of messages take a quarter of a second to make. A graph that lives as long as its module keeps its own."""


async def drawing(graph: Graph, *, xray: bool | int) -> dict[str, Any]:
    """Nodes and edges; with `xray` subgraphs are drawn out, down to as many levels if it is a number."""
    return (await graph.aget_graph(xray=xray)).to_json()


def schemas(graph: AnyGraph) -> Schemas:
    """The JSON schemas of a graph's input, output, state and configuration; `None` where there is none."""
    if graph not in _known:
        _known[graph] = _schemas(graph)
    return _known[graph]


def subgraph_schemas(graph: Graph, namespace: str | None, *, recurse: bool) -> dict[str, Schemas]:
    """The schemas of the subgraphs by namespace (`parent|child`): of all, or only of the one at `namespace`."""
    found = cast("Iterator[tuple[str, AnyGraph]]", graph.get_subgraphs(namespace=namespace, recurse=recurse))
    return {name: schemas(child) for name, child in found}


def _schemas(graph: AnyGraph) -> Schemas:
    """`context` and `config.configurable` are two names for one thing, so their schemas are the same."""
    if not isinstance(graph, Pregel):  # a graph of another server, which has its schemas
        return dict.fromkeys(NAMES)
    kinds = getattr(graph, "builder", None)
    context = _first(graph.get_context_jsonschema, lambda: _by_field(graph.context_schema))
    return {
        "input_schema": _first(graph.get_input_jsonschema, lambda: _by_field(getattr(kinds, "input_schema", None))),
        "output_schema": _first(graph.get_output_jsonschema, lambda: _by_field(getattr(kinds, "output_schema", None))),
        "state_schema": _first(lambda: _state(graph)),
        "config_schema": context,
        "context_schema": context,
    }


def _first(*ways: Callable[[], Schema | None]) -> Schema | None:
    """What the first way gives that works; types may be such that JSON Schema has no word for them."""
    for way in ways:
        try:
            return way()
        except Exception:  # noqa: BLE001, S112 - the user's types, in the hands of pydantic: anything may happen
            continue
    return None


def _state(graph: Graph) -> Schema:
    """Everything the values of a state may hold."""
    shown = graph.stream_channels_asis
    if isinstance(shown, str):
        return TypeAdapter(_type_of(graph, shown)).json_schema()
    return _of_fields(graph.get_name("State"), {name: _type_of(graph, name) for name in shown}, required=frozenset())


def _type_of(graph: Graph, channel: str) -> Any:
    return getattr(cast("object", graph.channels[channel]), "ValueType", Any)


def _by_field(kind: Any) -> Schema:
    """The schema of a class that pydantic refuses as a whole, such as `typing.TypedDict` before Python 3.12."""
    hints = get_type_hints(kind, include_extras=True)
    fields = {name: get_args(hint)[0] if get_origin(hint) in _MARKS else hint for name, hint in hints.items()}
    return _of_fields(kind.__name__, fields, required=getattr(kind, "__required_keys__", frozenset[str]()))


_MARKS = (Required, NotRequired)
"""What `__required_keys__` says, too."""


def _of_fields(name: str, fields: dict[str, Any], *, required: frozenset[str]) -> Schema:
    """The schema of an object with these fields; those that JSON Schema has no word for may hold anything."""

    def whole(fields: dict[str, Any]) -> Schema:
        marked = {key: Required[kind] if key in required else NotRequired[kind] for key, kind in fields.items()}
        return TypeAdapter(_typed_dict(name, marked)).json_schema()

    try:
        return whole(fields)
    except Exception:  # noqa: BLE001 - as in `_first`
        return whole({key: kind if _describable(kind) else Any for key, kind in fields.items()})


def _typed_dict(name: str, fields: dict[str, Any]) -> Any:
    return cast("Any", TypedDict)(name, fields)


def _describable(kind: Any) -> bool:
    return _first(lambda: TypeAdapter(kind).json_schema()) is not None
