"""Every kind of graph a `langgraph.json` may name can be opened; one that cannot is told where and why."""

import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.memory import InMemoryStore
from structlog.testing import capture_logs

from turnkeeper.config import GraphSpec, Settings
from turnkeeper.errors import ConfigError, NotFound
from turnkeeper.graphs.factories import Graph
from turnkeeper.graphs.loader import Graphs

Project = Callable[..., Graphs]

GRAPH = """
from typing import Any, TypedDict
from langgraph.config import get_store
from langgraph.graph import StateGraph

class State(TypedDict, total=False):
    said: str
    store: str

def speak(state: State) -> State:
    return {"said": "hello", "store": type(get_store()).__name__}

builder = StateGraph(State).add_node(speak).set_entry_point("speak")
"""
RECORD = "seen = []\n"


@pytest.fixture(autouse=True)
def _own_imports() -> Iterator[None]:
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        file = getattr(sys.modules[name], "__file__", None)
        if file is None or "site-packages" not in file:
            del sys.modules[name]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Write files, name graphs as `langgraph.json` does, load them."""

    def load(files: dict[str, str], dependencies: tuple[str, ...] = (), **graphs: str) -> Graphs:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        return Graphs.load(
            Settings(
                config_path=tmp_path / "langgraph.json",
                root=tmp_path,
                graphs=tuple(GraphSpec(graph_id=name, path=path, line=3) for name, path in graphs.items()),
                dependencies=tuple(tmp_path / folder for folder in dependencies),
            )
        )

    return load


async def run(graphs: Graphs, graph_id: str = "agent", store: Any = None, **config: Any) -> dict[str, Any]:
    """Open for a run and run to the end."""
    full = cast("Any", {"configurable": {"thread_id": "t"} | config})
    async with graphs.open(graph_id, config=full, access="threads.create_run", store=store) as graph:
        return await graph.ainvoke({}, full)


async def opened(graphs: Graphs, **given: Any) -> Graph:
    """Open and close again; the graph is looked at, not run."""
    use: dict[str, Any] = {"config": {"configurable": {}}, "access": "threads.read", "store": None}
    async with graphs.open("agent", **(use | given)) as graph:
        return graph


# --- what may be named ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "definition",
    [
        "graph = builder.compile()",
        "graph = builder",
        "def graph(): return builder",
        "def graph(config): return builder.compile()",
        "async def graph(config): return builder",
        "class Maker:\n    async def __call__(self, config): return builder\ngraph = Maker()",
        "import functools\ndef made(model, config): return builder\ngraph = functools.partial(made, 'm')",
        "import contextlib\n@contextlib.asynccontextmanager\nasync def graph(config): yield builder",
        "import contextlib\n@contextlib.contextmanager\ndef graph(): yield builder.compile()",
        "async def graph(config): yield builder",
        "def graph(): yield builder",
        "class graph:\n    async def __aenter__(self): return builder\n    async def __aexit__(self, *exc): pass",
        "import contextlib\ndef graph(): return contextlib.nullcontext(builder)",
        "async def graph(config, *, runtime, model='gpt', **more): return builder",
    ],
)
async def test_it_can_be_served(project: Project, definition: str) -> None:
    graphs = project({"agent.py": GRAPH + definition}, agent="./agent.py:graph")

    assert dict(graphs.failed) == {}
    assert (await run(graphs))["said"] == "hello"


async def test_a_functional_entrypoint_can_be_served(project: Project) -> None:
    text = "from langgraph.func import entrypoint\n@entrypoint()\ndef graph(given): return {'said': 'hello'}"

    assert await run(project({"agent.py": text}, agent="./agent.py:graph")) == {"said": "hello"}


async def test_an_installed_module_can_be_named(project: Project) -> None:
    graphs = project({"src/my_package/deep.py": GRAPH}, ("src",), agent="my_package.deep:builder")

    assert (await run(graphs))["said"] == "hello"


async def test_what_a_factory_set_up_is_torn_down_after_use(project: Project) -> None:
    text = """
    import contextlib
    @contextlib.asynccontextmanager
    async def graph(config):
        seen.append("up")
        try:
            yield builder
        finally:
            seen.append("down")
    """
    graphs = project({"agent.py": RECORD + GRAPH + textwrap.dedent(text)}, agent="./agent.py:graph")
    seen = sys.modules["agent"].seen

    async with graphs.open("agent", config={}, access="threads.create_run", store=None):
        assert seen == ["up"]
    with pytest.raises(ZeroDivisionError):
        async with graphs.open("agent", config={}, access="threads.create_run", store=None):
            raise ZeroDivisionError

    assert seen == ["up", "down", "up", "down"]


# --- what a factory is given ------------------------------------------------------------------------------------------

LATE = """from __future__ import annotations
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from langgraph_sdk.runtime import ServerRuntime
"""
TYPES = "from langchain_core.runnables import RunnableConfig\nfrom langgraph_sdk.runtime import ServerRuntime\n"


@pytest.mark.parametrize(
    ("head", "parameters", "expected"),
    [
        ("", "", []),
        ("", "config", ["config"]),
        ("", "anything", ["config"]),
        ("", "anything=None", ["config"]),
        ("", "model='gpt'", ["model"]),
        ("", "anything, /", ["config"]),
        ("", "runtime", ["runtime"]),
        (TYPES, "c: RunnableConfig", ["config"]),
        (TYPES, "r: ServerRuntime", ["runtime"]),
        (TYPES, "r: ServerRuntime[Ctx]", ["runtime"]),
        (TYPES, "r: 'ServerRuntime[Ctx]'", ["runtime"]),
        (TYPES, "config: ServerRuntime", ["runtime"]),
        (TYPES, "c: RunnableConfig | None, r: ServerRuntime", ["config", "runtime"]),
        (TYPES, "r: ServerRuntime, c: 'RunnableConfig'", ["runtime", "config"]),
        (TYPES + "from typing import Annotated\n", "c: Annotated[RunnableConfig, 1], *, n=1", ["config", "n"]),
        (
            LATE,
            "r: ServerRuntime[Missing]",
            ["runtime"],
        ),
    ],
)
async def test_a_factory_is_given_what_it_asks_for(
    project: Project, head: str, parameters: str, expected: list[str]
) -> None:
    text = f"""{head}
import dataclasses
{RECORD}{GRAPH}
@dataclasses.dataclass
class Ctx:
    name: str

def graph({parameters}):
    seen.append(locals())
    return builder
"""
    graphs = project({"agent.py": text}, agent="./agent.py:graph")
    assert dict(graphs.failed) == {}
    await opened(graphs, config={"tags": ["mine"]})

    (given,) = sys.modules["agent"].seen

    def kind(value: Any) -> str:
        return "config" if value == {"tags": ["mine"]} else "runtime"

    assert [name if name in ("model", "n") else kind(value) for name, value in given.items()] == expected


RUNTIME_FACTORY = f"""{TYPES}
import dataclasses
{RECORD}{GRAPH}
@dataclasses.dataclass
class Ctx:
    name: str

def graph(runtime: ServerRuntime[Ctx]):
    seen.append(runtime)
    return builder
"""


async def test_a_run_gives_its_factory_an_execution_runtime_with_the_typed_context(project: Project) -> None:
    graphs = project({"agent.py": RUNTIME_FACTORY}, agent="./agent.py:graph")
    store, user = InMemoryStore(), object()

    await opened(graphs, access="threads.create_run", context={"name": "ada"}, store=store, user=user)

    (runtime,) = sys.modules["agent"].seen
    assert runtime.execution_runtime.context.name == "ada"
    assert (runtime.access_context, runtime.store, runtime.user) == ("threads.create_run", store, user)


@pytest.mark.parametrize("access", ["threads.read", "threads.update", "assistants.read"])
async def test_looking_at_a_graph_is_no_execution(project: Project, access: Any) -> None:
    graphs = project({"agent.py": RUNTIME_FACTORY}, agent="./agent.py:graph")

    await opened(graphs, access=access)

    (runtime,) = sys.modules["agent"].seen
    assert (runtime.execution_runtime, runtime.access_context) == (None, access)


async def test_a_factory_cannot_change_the_config_of_the_run(project: Project) -> None:
    text = GRAPH + "def graph(config):\n    config['configurable']['x'] = 1; config['tags'] = []\n    return builder"
    config: Any = {"configurable": {"thread_id": "t"}}

    await opened(project({"agent.py": text}, agent="./agent.py:graph"), config=config)

    assert config == {"configurable": {"thread_id": "t"}}


# --- the server's store and checkpoints -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "definition", ["graph = builder.compile(store=OtherStore())", "def graph(): return builder.compile()"]
)
async def test_nodes_see_the_servers_store(project: Project, definition: str) -> None:
    other = "\nfrom langgraph.store.memory import InMemoryStore\nclass OtherStore(InMemoryStore): pass\n"
    graphs = project({"agent.py": GRAPH + other + definition}, agent="./agent.py:graph")

    assert (await run(graphs, store=InMemoryStore()))["store"] == "InMemoryStore"


async def test_a_graph_that_is_no_factory_is_made_once(project: Project) -> None:
    graphs = project({"agent.py": GRAPH}, agent="./agent.py:builder")
    store = InMemoryStore()

    assert await opened(graphs, store=store) is await opened(graphs, store=store)


@pytest.mark.parametrize("checkpointer", ["InMemorySaver()", "True", "False", "None"])
@pytest.mark.parametrize("definition", ["graph = {0}", "def graph(): return {0}"])
async def test_state_is_kept_by_the_server_whatever_the_graph_was_compiled_with(
    project: Project, checkpointer: str, definition: str
) -> None:
    head = GRAPH + "\nfrom langgraph.checkpoint.memory import InMemorySaver\n"
    text = head + definition.format(f"builder.compile(checkpointer={checkpointer})")
    graphs = project({"agent.py": text}, agent="./agent.py:graph")
    saver = InMemorySaver()

    with capture_logs() as logs:
        await run(graphs, store=InMemoryStore(), __pregel_checkpointer=saver)
        await run(graphs, store=InMemoryStore(), __pregel_checkpointer=saver)

    assert saver.get({"configurable": {"thread_id": "t"}}) is not None
    if definition.startswith("def"):
        assert len(logs) == (checkpointer == "InMemorySaver()")


async def test_a_checkpointer_of_ones_own_is_said_to_be_unused(project: Project) -> None:
    text = GRAPH + "from langgraph.checkpoint.memory import InMemorySaver\ng = builder.compile(InMemorySaver())"

    with capture_logs() as logs:
        project({"agent.py": text}, agent="./agent.py:g")

    assert [(entry["graph_id"], entry["checkpointer"]) for entry in logs] == [("agent", "InMemorySaver")]


# --- modules ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "dependencies", "module"),
    [
        ("agent.py", (), "agent"),
        ("src/agent.py", (), "src.agent"),
        ("src/agent.py", ("src",), "agent"),
        ("src/my/agent.py", ("src",), "my.agent"),
        ("my-agent/graph.py", (), "my-agent.graph"),
    ],
)
def test_a_file_is_imported_under_the_name_other_modules_use(
    project: Project, file: str, dependencies: tuple[str, ...], module: str
) -> None:
    files = {file: GRAPH} | ({"src/my/__init__.py": ""} if "/my/" in file else {})

    graphs = project(files, dependencies, agent=f"./{file}:builder")

    assert graphs.ids == ("agent",)
    assert sys.modules[module].builder is not None


@pytest.mark.parametrize("file", ["agent.v2.py", "json.py", "a.b/graph.py"])
async def test_a_file_with_no_importable_name_gets_a_stable_one(project: Project, file: str) -> None:
    sibling = str(Path(file).parent / "tone.py")
    text = GRAPH + "from .tone import TONE\nimport dataclasses\n@dataclasses.dataclass\nclass C:\n    x: 'int'\n"

    graphs = project({file: text, sibling: "TONE = 1"}, agent=f"./{file}:builder")

    assert dict(graphs.failed) == {}
    (module,) = [
        name for name in sys.modules if name.startswith("turnkeeper_graphs_") and hasattr(sys.modules[name], "C")
    ]
    assert sys.modules[module].C.__module__ == module


def test_relative_and_sibling_imports_work(project: Project) -> None:
    files = {
        "tools.py": "A = 1",
        "pack/__init__.py": "",
        "pack/nodes.py": "B = 2",
        "pack/agent.py": "from tools import A\nfrom .nodes import B\nfrom pack.nodes import B\n" + GRAPH,
    }

    assert dict(project(files, agent="./pack/agent.py:builder").failed) == {}


def test_a_file_with_two_graphs_is_imported_once(project: Project) -> None:
    files = {"agent.py": "import builtins\nbuiltins.times = getattr(builtins, 'times', 0) + 1\n" + GRAPH}
    try:
        graphs = project(files, a="./agent.py:builder", b="agent:builder")
        assert (graphs.ids, __builtins__["times"]) == (("a", "b"), 1)
    finally:
        __builtins__.pop("times", None)


# --- what fails -------------------------------------------------------------------------------------------------------


def failure(graphs: Graphs) -> ConfigError:
    """The card of the graph `agent`."""
    error = graphs.failed["agent"]
    assert error.problem == "graph 'agent' did not load"
    assert error.where is not None
    assert error.where.startswith('langgraph.json:3   "agent": "')
    return error


def test_a_missing_file_names_its_neighbour_and_the_line_to_write(project: Project) -> None:
    error = failure(project({"graph.py": "graph = 1"}, agent="./grph.py:graph"))

    assert error.cause == "./grph.py does not exist"
    assert error.nearest == "./graph.py (has `graph`)"
    assert error.fix == 'set "agent": "./graph.py:graph"'


def test_a_missing_name_lists_the_graphs_there_are(project: Project) -> None:
    error = failure(project({"agent.py": GRAPH + "other = builder.compile()"}, agent="./agent.py:bilder"))

    assert error.cause == "./agent.py has no `bilder`"
    assert error.nearest == "`builder`, `other`"
    assert error.fix == 'set "agent": "./agent.py:builder"'


def test_an_exception_on_import_shows_the_users_own_line(project: Project) -> None:
    files = {"agent.py": "import json\n\njson.loads('{')\n"}

    error = failure(project(files, agent="./agent.py:graph"))

    assert error.cause is not None
    assert error.cause.startswith("json.decoder.JSONDecodeError: ")
    assert error.cause.endswith("at agent.py:3")
    assert isinstance(error.__cause__, ValueError)


def test_a_syntax_error_shows_its_line(project: Project) -> None:
    error = failure(project({"agent.py": "x = 1\ndef graph(:\n"}, agent="./agent.py:graph"))

    assert error.fix == "mend agent.py:2"


def test_a_module_that_exits_does_not_take_the_server_with_it(project: Project) -> None:
    error = failure(project({"agent.py": "import sys\nsys.exit('no key')"}, agent="./agent.py:graph"))

    assert error.cause == "SystemExit: no key   at agent.py:2"


@pytest.mark.parametrize(
    ("files", "fix"),
    [
        ({"src/tools/a.py": ""}, 'add "./src" to "dependencies"'),
        ({"app/tools.py": ""}, 'add "./app" to "dependencies"'),
        ({}, f"install the package that has `tools` for {sys.executable}"),
    ],
)
def test_a_module_that_is_not_found_says_where_it_could_come_from(
    project: Project, files: dict[str, str], fix: str
) -> None:
    error = failure(project({"app/agent.py": "import tools"} | files, agent="./app/agent.py:graph"))

    assert error.fix == fix


@pytest.mark.parametrize(
    ("definition", "cause"),
    [
        ("graph = 3", "`graph` in ./agent.py: it is a `int`, not a graph"),
        ("graph = State", "`graph` in ./agent.py: it is the class `State`, not a graph"),
        (
            "def graph(model, config): ...",
            "`graph` in ./agent.py: its function wants `model`, which the server does not have",
        ),
    ],
)
def test_what_is_no_graph_is_refused_at_the_start(project: Project, definition: str, cause: str) -> None:
    error = failure(project({"agent.py": GRAPH + definition}, agent="./agent.py:graph"))

    assert (error.cause, error.nearest) == (cause, "`builder`")


def test_a_graph_that_does_not_compile_is_refused_at_the_start(project: Project) -> None:
    error = failure(project({"agent.py": GRAPH + "builder.add_edge('speak', 'nowhere')"}, agent="./agent.py:builder"))

    assert error.cause is not None
    assert "nowhere" in error.cause


async def test_a_factory_that_makes_no_graph_says_so_when_used(project: Project) -> None:
    graphs = project({"agent.py": "def graph(): return {}"}, agent="./agent.py:graph")

    with pytest.raises(ConfigError, match="the function of graph 'agent' made a `dict`, not a graph"):
        await opened(graphs)


async def test_one_broken_graph_leaves_the_others(project: Project) -> None:
    graphs = project({"agent.py": GRAPH, "bad.py": "1/0"}, bad="./bad.py:g", good="./agent.py:builder")

    assert (graphs.ids, list(graphs.failed)) == (("good",), ["bad"])
    with pytest.raises(NotFound, match=r"Graph 'bad' did not load: ZeroDivisionError"):
        await run(graphs, "bad")
    with pytest.raises(NotFound, match=r"Graph 'zzz' not found. Expected one of: \['good'\]"):
        await run(graphs, "zzz")


def test_loading_costs_no_more_than_langgraph_itself(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(
        "from langgraph.graph import StateGraph\ngraph = StateGraph(dict).add_node(len).set_entry_point('len')\n"
    )
    code = f"""
import time
first = time.process_time()
import langgraph.graph, langgraph.pregel
start = time.process_time()
from pathlib import Path
from turnkeeper.config import GraphSpec, Settings
from turnkeeper.graphs.loader import Graphs
root = Path({str(tmp_path)!r})
spec = GraphSpec(graph_id="a", path="./agent.py:graph")
assert Graphs.load(Settings(config_path=root / "l.json", root=root, graphs=(spec,))).ids == ("a",)
print(start - first, time.process_time() - start)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    langgraph, ours = map(float, said.split())
    assert ours < langgraph / 4, "a graph of a line takes a noticeable part of the start"
