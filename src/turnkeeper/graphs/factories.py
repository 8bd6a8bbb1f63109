"""What a name in `langgraph.json` may stand for: a graph, a builder, or a function that makes one per use."""

import copy
import inspect
import re
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, is_dataclass
from typing import Any, Literal, Protocol, TypeAlias, cast, get_args, get_origin

import structlog
from langchain_core.runnables import RunnableConfig
from langgraph.graph import StateGraph
from langgraph.pregel import Pregel
from langgraph.store.base import BaseStore
from langgraph_sdk.runtime import (
    AccessContext,
    ServerRuntime,
    _ExecutionRuntime,  # pyright: ignore[reportPrivateUsage]  the SDK has no public way to make one
    _ReadRuntime,  # pyright: ignore[reportPrivateUsage]
)
from pydantic import BaseModel

from turnkeeper.errors import ConfigError

Graph: TypeAlias = Pregel[Any, Any, Any, Any]
Role = Literal["config", "runtime"]

_log = structlog.stdlib.get_logger(__name__)
_CONFIG_NAME = re.compile(r"\bRunnableConfig\b")
_RUNTIME_NAME = re.compile(r"\b(ServerRuntime|_ExecutionRuntime|_ReadRuntime)\b")
_RUNTIMES = (ServerRuntime, _ExecutionRuntime, _ReadRuntime)
_REQUIRED = inspect.Parameter.empty
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class Unusable(Exception):
    """A value that is no graph and makes none; `fix` says what would be one."""

    def __init__(self, cause: str, fix: str) -> None:
        super().__init__(cause)
        self.fix = fix


@dataclass(frozen=True, slots=True)
class Use:
    """What a graph is opened for and with; a factory may ask for any of it."""

    config: RunnableConfig
    access: AccessContext
    store: BaseStore | None
    context: Any
    user: Any


class Source(Protocol):
    """Anything graphs come from."""

    def open(self, use: Use) -> AbstractAsyncContextManager[Graph]:
        """The graph, for as long as the block lasts."""
        ...


def prepare(graph_id: str, value: object) -> Source:
    """Make a source of what the user's module holds; raises `Unusable` if it cannot be one."""
    if isinstance(value, Pregel | StateGraph):
        return FixedGraph(graph_id, _compiled_now(cast("Any", value)))
    makes_context = isinstance(value, type) and (hasattr(value, "__aenter__") or hasattr(value, "__enter__"))
    if callable(value) and (makes_context or not isinstance(value, type)):
        return Factory(graph_id, value)
    raise Unusable(
        f"it is {_shown(value)}, not a graph",
        "name a StateGraph, a compiled graph, or a function that returns one",
    )


class FixedGraph:
    """A graph made once, when its module was imported."""

    def __init__(self, graph_id: str, graph: Graph) -> None:
        self._graph = _without_saver(graph, _SaverWarning(graph_id))

    @asynccontextmanager
    async def open(self, use: Use) -> AsyncGenerator[Graph]:
        """The graph, seeing the server's store. The copy is kept: it is the same store every time."""
        if use.store is not None and self._graph.store is not use.store:
            self._graph = _changed(self._graph, store=use.store)
        yield self._graph


class Factory:
    """A function of the user's that makes the graph, called at every use."""

    def __init__(self, graph_id: str, function: Callable[..., Any]) -> None:
        self._graph_id = graph_id
        self._signature = _signature(function)
        self._roles = _roles(self._signature)
        self._context_type = _context_type(self._signature, self._roles)
        self._function = _as_context_manager(function)
        self._saver_warning = _SaverWarning(graph_id)

    @asynccontextmanager
    async def open(self, use: Use) -> AsyncGenerator[Graph]:
        """Call the function; if it gave a context manager, leave it when the block ends."""
        made = self._call(use)
        if inspect.isawaitable(made):
            made = await made
        if hasattr(made, "__aenter__"):
            async with cast("AbstractAsyncContextManager[object]", made) as value:
                yield self._graph(value, use)
        elif hasattr(made, "__enter__"):
            with cast("AbstractContextManager[object]", made) as value:
                yield self._graph(value, use)
        else:
            yield self._graph(made, use)

    def _call(self, use: Use) -> object:
        given = {"config": lambda: _own_copy(use.config), "runtime": lambda: _runtime(use, self._context_type)}
        arguments = OrderedDict((name, given[role]()) for name, role in self._roles.items())
        bound = inspect.BoundArguments(self._signature, arguments)
        return self._function(*bound.args, **bound.kwargs)

    def _graph(self, value: object, use: Use) -> Graph:
        if not isinstance(value, Pregel | StateGraph):
            fix = "return a StateGraph or a compiled graph"
            raise ConfigError(f"the function of graph '{self._graph_id}' made {_shown(value)}, not a graph", fix=fix)
        graph = _without_saver(_compiled(cast("Any", value)), self._saver_warning)
        return graph if use.store is None or graph.store is use.store else _changed(graph, store=use.store)


class _SaverWarning:
    """Says once per graph that its own checkpointer is not used."""

    def __init__(self, graph_id: str) -> None:
        self._graph_id = graph_id
        self._said = False

    def __call__(self, saver: object) -> None:
        if not self._said and not isinstance(saver, bool):
            self._said = True
            text = "checkpointer ignored: the server brings its own; compile the graph without one"
            _log.warning(text, graph_id=self._graph_id, checkpointer=type(saver).__name__)


def _compiled(value: Graph | StateGraph[Any, Any, Any, Any]) -> Graph:
    return value if isinstance(value, Pregel) else value.compile()


def _compiled_now(value: Graph | StateGraph[Any, Any, Any, Any]) -> Graph:
    try:
        return _compiled(value)
    except Exception as error:
        cause = f"it does not compile: {type(error).__name__}: {error}"
        raise Unusable(cause, "mend the edges, nodes or types of the graph") from error


def _without_saver(graph: Graph, warn: _SaverWarning) -> Graph:
    """The graph with no word of its own on checkpoints: `False` would refuse the server's, `True` has no root."""
    if graph.checkpointer is None:
        return graph
    warn(cast("object", graph.checkpointer))
    return _changed(graph, checkpointer=None)


def _changed(graph: Graph, **attributes: Any) -> Graph:
    # Not `graph.copy(update=…)`, which rebuilds the graph and forgets the types it may deserialise.
    twin = copy.copy(graph)
    for name, value in attributes.items():
        setattr(twin, name, value)
    return twin


def _as_context_manager(function: Callable[..., Any]) -> Callable[..., Any]:
    """An undecorated generator function can only mean the context manager it would be when decorated."""
    if inspect.isasyncgenfunction(function):
        return asynccontextmanager(cast("Callable[..., AsyncGenerator[Any]]", function))
    if inspect.isgeneratorfunction(function):
        return contextmanager(cast("Callable[..., Generator[Any]]", function))
    return function


def _own_copy(config: RunnableConfig) -> RunnableConfig:
    """What a factory changes in its config must not reach the run."""
    twin = config.copy()
    if "configurable" in config:
        twin["configurable"] = dict(config["configurable"])
    return twin


def _runtime(use: Use, context_type: object) -> object:
    store = cast("BaseStore", use.store)
    if use.access != "threads.create_run":
        return cast("object", _ReadRuntime(access_context=use.access, user=use.user, store=store))
    context = _as_context(use.context, context_type)
    return _ExecutionRuntime(access_context=use.access, user=use.user, store=store, context=context)


def _as_context(context: Any, context_type: object) -> Any:
    """JSON as the `Ctx` of `ServerRuntime[Ctx]`, when that is a class made from keywords."""
    takes_keywords = isinstance(context_type, type) and (
        issubclass(context_type, BaseModel) or is_dataclass(cast("object", context_type))
    )
    return cast("Any", context_type)(**context) if takes_keywords and isinstance(context, dict) else context


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(function, eval_str=True)
    except Exception:  # noqa: BLE001  evaluating an annotation runs the user's text: names may be missing at run time
        try:
            return inspect.signature(function)
        except (TypeError, ValueError):
            return inspect.Signature()


def _roles(signature: inspect.Signature) -> dict[str, Role]:
    """Parameter name → what to pass; a parameter with a default that means nothing to us keeps its default."""
    parameters = [given for given in signature.parameters.values() if given.kind not in _VARIADIC]
    roles: dict[str, Role] = {parameter.name: role for parameter in parameters if (role := _role(parameter))}
    if len(parameters) == 1 and not roles and _may_be_config(parameters[0]):
        roles[parameters[0].name] = "config"
    unknown = [given.name for given in parameters if given.default is _REQUIRED and given.name not in roles]
    if unknown:
        raise Unusable(
            f"its function wants {', '.join(f'`{name}`' for name in unknown)}, which the server does not have",
            "take nothing, `config: RunnableConfig`, `runtime: ServerRuntime`, or both",
        )
    return roles


def _may_be_config(only: inspect.Parameter) -> bool:
    return only.kind in _POSITIONAL and only.default in (_REQUIRED, None)


def _role(parameter: inspect.Parameter) -> Role | None:
    """An annotation that says what it is wins over the name."""
    if _mentions(parameter.annotation, (RunnableConfig,), _CONFIG_NAME):
        return "config"
    if _mentions(parameter.annotation, _RUNTIMES, _RUNTIME_NAME):
        return "runtime"
    return parameter.name if parameter.name in ("config", "runtime") else None


def _mentions(annotation: object, types: tuple[object, ...], name: re.Pattern[str]) -> bool:
    """Whether an annotation is one of `types`, bare, subscribed, or within a union or `Annotated`."""
    if isinstance(annotation, str):
        return bool(name.search(annotation))
    if any(annotation is wanted or get_origin(annotation) is wanted for wanted in types):
        return True
    return any(_mentions(part, types, name) for part in get_args(annotation))


def _context_type(signature: inspect.Signature, roles: Mapping[str, Role]) -> object:
    """`Ctx` of a parameter annotated `ServerRuntime[Ctx]`."""
    taken = [signature.parameters[name].annotation for name, role in roles.items() if role == "runtime"]
    return next((get_args(annotation)[0] for annotation in taken if get_origin(annotation) in _RUNTIMES), None)


def _shown(value: object) -> str:
    return f"the class `{value.__name__}`" if isinstance(value, type) else f"a `{type(value).__name__}`"
