"""The user's graphs: their modules imported, their names resolved, every failure told in the words of the file."""

import ast
import difflib
import hashlib
import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.graph import StateGraph
from langgraph.pregel import Pregel
from langgraph.store.base import BaseStore
from langgraph_sdk.runtime import AccessContext

from turnkeeper.config import GraphSpec, Settings
from turnkeeper.errors import ConfigError, NotFound
from turnkeeper.graphs.factories import Graph, Source, Unusable, Use, prepare


class Graphs:
    """What the server knows of the user's graphs."""

    def __init__(
        self, specs: Iterable[GraphSpec], sources: Mapping[str, Source], failed: Mapping[str, ConfigError]
    ) -> None:
        self._sources = dict(sources)
        self._descriptions = {spec.graph_id: spec.description for spec in specs}
        self.failed: Mapping[str, ConfigError] = MappingProxyType(dict(failed))

    @classmethod
    def load(cls, settings: Settings) -> "Graphs":
        """Import every graph; a broken one is recorded in `failed`, not raised."""
        _extend_path(settings)
        sources: dict[str, Source] = {}
        failed: dict[str, ConfigError] = {}
        for spec in settings.graphs:
            try:
                sources[spec.graph_id] = _Loading(spec, settings).source()
            except ConfigError as error:
                failed[spec.graph_id] = error
        return cls(settings.graphs, sources, failed)

    @property
    def ids(self) -> tuple[str, ...]:
        """The graphs that loaded, in the order of the file."""
        return tuple(self._sources)

    def description(self, graph_id: str) -> str | None:
        """What `langgraph.json` says the graph is for."""
        return self._descriptions.get(graph_id)

    @asynccontextmanager
    async def open(
        self,
        graph_id: str,
        *,
        config: RunnableConfig,
        access: AccessContext,
        store: BaseStore | None,
        context: Any = None,
        user: Any = None,
    ) -> AsyncGenerator[Graph]:
        """The graph for one use; what a factory set up is torn down when the block ends."""
        use = Use(config=config, access=access, store=store, context=context, user=user)
        async with self._source(graph_id).open(use) as graph:
            yield graph

    def _source(self, graph_id: str) -> Source:
        if graph_id in self._sources:
            return self._sources[graph_id]
        if graph_id in self.failed:
            raise NotFound(f"Graph '{graph_id}' did not load: {self.failed[graph_id].cause}")
        raise NotFound(f"Graph '{graph_id}' not found. Expected one of: {sorted(self._sources)}")


class _Loading:
    """One entry of `graphs` on its way from a path to a graph."""

    def __init__(self, spec: GraphSpec, settings: Settings) -> None:
        self._spec = spec
        self._settings = settings

    def source(self) -> Source:
        module = self._module()
        if not hasattr(module, self._spec.name):
            raise self._no_such_name(module)
        try:
            return prepare(self._spec.graph_id, getattr(module, self._spec.name))
        except Unusable as error:
            names = _graph_names(module)
            raise self._card(
                f"`{self._spec.name}` in {self._spec.source}: {error}", nearest=_listed(names), fix=error.fix
            ) from error

    def _module(self) -> ModuleType:
        file = (self._settings.root / self._spec.source).resolve() if self._spec.is_file else None
        if file and not file.is_file():
            raise self._no_such_file(file)
        try:
            return import_file(file, self._settings.root) if file else importlib.import_module(self._spec.source)
        except (Exception, SystemExit) as error:
            raise self._import_failed(error, file) from error

    def _card(self, cause: str, *, nearest: str | None = None, fix: str) -> ConfigError:
        return ConfigError(
            f"graph '{self._spec.graph_id}' did not load",
            where=self._spec.where(self._settings.config_path.name),
            cause=cause,
            nearest=nearest,
            fix=fix,
        )

    def _set(self, source: str, name: str) -> str:
        return f'set "{self._spec.graph_id}": "{source}:{name}"'

    def _no_such_file(self, file: Path) -> ConfigError:
        cause = f"{self._spec.source} does not exist"
        beside = {entry.name: _defined_names(entry) for entry in sorted(file.parent.glob("*.py"))}
        close = difflib.get_close_matches(file.name, beside, n=1)
        close = close or [name for name, defined in beside.items() if self._spec.name in defined]
        if not close:
            return self._card(cause, fix=f"create {self._spec.source}, or name the file that has the graph")
        written = self._spec.source.removesuffix(file.name) + close[0]
        has_it = self._spec.name in beside[close[0]]
        return self._card(
            cause,
            nearest=written + (f" (has `{self._spec.name}`)" if has_it else ""),
            fix=self._set(written, self._spec.name if has_it else "NAME_OF_THE_GRAPH"),
        )

    def _no_such_name(self, module: ModuleType) -> ConfigError:
        graphs = _graph_names(module)
        close = difflib.get_close_matches(self._spec.name, graphs, n=1) or graphs[:1]
        close = close or difflib.get_close_matches(self._spec.name, vars(module), n=1)
        return self._card(
            f"{self._spec.source} has no `{self._spec.name}`",
            nearest=_listed(close + [name for name in graphs if name not in close]),
            fix=self._set(self._spec.source, close[0]) if close else f"define `{self._spec.name}` there",
        )

    def _import_failed(self, error: BaseException, file: Path | None) -> ConfigError:
        place = _user_place(error, self._settings)
        said = traceback.format_exception_only(error)[-1].strip()
        fix = f"mend {place}" if place else f"see the traceback: turnkeeper validate -v -c {self._settings.config_path}"
        if isinstance(error, ModuleNotFoundError) and error.name:
            fix = self._how_to_find(error.name.partition(".")[0], file)
        return self._card(said + (f"   at {place}" if place else ""), fix=fix)

    def _how_to_find(self, package: str, file: Path | None) -> str:
        """The folder to add to `dependencies` if the package lies about, else how to install it."""
        root = self._settings.root
        folders = [root / "src", *([file.parent] if file else []), *(each / "src" for each in root.glob("*/"))]
        for folder in folders:
            if (folder / package).is_dir() or (folder / f"{package}.py").is_file():
                return f'add "./{folder.resolve().relative_to(root.resolve()).as_posix()}" to "dependencies"'
        return f"install the package that has `{package}` for {sys.executable}"


def import_file(file: Path, root: Path) -> ModuleType:
    """Import a Python file under the name other modules import it by, so that its classes exist only once.

    Where no such name exists (the folder is not on `sys.path`, the name is taken by another module) it gets one that
    depends only on its place under `root`: what was saved under that name can be read after a restart.
    """
    for name in _importable_names(file):
        if _origin(name) == file:
            return importlib.import_module(name)
    folder = _relative(file.parent, root)
    package = f"turnkeeper_graphs_{hashlib.sha256(folder.encode()).hexdigest()[:12]}"
    if package not in sys.modules:
        _execute(package, file.parent / "__init__.py", is_package=True)
    if file.stem == "__init__":
        return sys.modules[package]
    name = package + "." + re.sub(r"\W", "_", file.stem)
    return sys.modules.get(name) or _execute(name, file)


def _extend_path(settings: Settings) -> None:
    for folder in reversed([settings.root, *settings.dependencies]):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    importlib.invalidate_caches()


def _importable_names(file: Path) -> Iterator[str]:
    """Dotted names the file may have: within its regular package first, then from the nearest folder on `sys.path`."""
    known = {Path(entry or ".").resolve() for entry in sys.path}
    folders = [folder for folder in file.parents if folder in known]
    regular = next((folder for folder in file.parents if not (folder / "__init__.py").exists()), None)
    for folder in sorted(folders, key=lambda folder: folder != regular):
        parts = file.relative_to(folder).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if parts and not any("." in part for part in parts):
            yield ".".join(parts)


def _origin(name: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(name)
    except (ModuleNotFoundError, ValueError):
        return None
    return Path(spec.origin).resolve() if spec and spec.origin else None


def _execute(name: str, file: Path, *, is_package: bool = False) -> ModuleType:
    """Run a file as the module `name`, which is in `sys.modules` before: dataclasses and pickle look there."""
    folders = [str(file.parent)] if is_package else None
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=folders)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python file", name=name, path=str(file))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if not file.exists():
        return module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root.resolve()).as_posix() if path.is_relative_to(root.resolve()) else path.as_posix()


def _user_place(error: BaseException, settings: Settings) -> str | None:
    """`file:line` of the user's own code nearest to where it went wrong."""
    places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        places.append((error.filename, error.lineno))
    folders = [folder.resolve() for folder in (settings.root, *settings.dependencies)]
    for name, line in reversed(places):
        file = Path(name).resolve()
        if "site-packages" not in file.parts and any(file.is_relative_to(folder) for folder in folders):
            return f"{_relative(file, settings.root)}:{line}"
    return None


def _graph_names(module: ModuleType) -> list[str]:
    return [name for name, value in vars(module).items() if isinstance(value, Pregel | StateGraph)]


def _defined_names(file: Path) -> set[str]:
    """Names a file defines at its top level, found without running it."""
    try:
        body = ast.parse(file.read_bytes()).body
    except (SyntaxError, ValueError, OSError):
        return set()
    defined = {node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    targets = [target for node in body if isinstance(node, ast.Assign) for target in node.targets]
    targets += [node.target for node in body if isinstance(node, ast.AnnAssign)]
    return defined | {target.id for target in targets if isinstance(target, ast.Name)}


def _listed(names: list[str]) -> str | None:
    return ", ".join(f"`{name}`" for name in names[:5]) or None
