"""What the server was told to do: immutable, typed, with every default in one place."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphSpec:
    """One entry of `graphs`: where a graph is to be found."""

    graph_id: str
    path: str
    """As written in the file: `./agent.py:graph` or `package.module:graph`."""
    description: str | None = None
    line: int = 1
    """Where the entry stands in `langgraph.json`."""

    @property
    def source(self) -> str:
        """The file or module, without the name of the graph in it."""
        return self.path.rpartition(":")[0]

    @property
    def name(self) -> str:
        """The variable or function in the module that is the graph."""
        return self.path.rpartition(":")[2]

    @property
    def is_file(self) -> bool:
        """A path to a file, as against the dotted name of an installed module."""
        return self.source.endswith(".py") or "/" in self.source or "\\" in self.source

    def where(self, config_name: str) -> str:
        """The entry as one finds it: `langgraph.json:3   "agent": "./agent.py:graph"`."""
        return f"{config_name}:{self.line}   {json.dumps(self.graph_id)}: {json.dumps(self.path)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreIndex:
    """What of the store's items is found by its meaning (`store.index`)."""

    embed: str
    """`provider:model`, or where a function is that makes vectors of texts: `./embed.py:embed`."""
    dims: int
    fields: tuple[str, ...]
    """Paths of what is embedded; `$` is the whole value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreTtl:
    """How long the store's items live that are put without saying so (`store.ttl`)."""

    minutes: float | None
    refresh_on_read: bool
    """Whether a read prolongs an item's life."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the server needs to know, decided once at the start."""

    config_path: Path
    root: Path
    """The folder of `langgraph.json`; graph files and local dependencies are relative to it."""
    graphs: tuple[GraphSpec, ...]
    dependencies: tuple[Path, ...] = ()
    """Local folders to import from. Package names in the file are for an installer and left out."""
    store_index: StoreIndex | None = None
    store_ttl: StoreTtl | None = None
    host: str = "127.0.0.1"
    port: int = 2024
    db: str = ".turnkeeper/turnkeeper.db"
    """The SQLite file of a server that is alone."""
    postgres_uri: str | None = None
    """The database of servers that are several, instead of `db`."""
    postgres_connections: int = 10
    """Connections to PostgreSQL at once, in one process."""
    redis_uri: str | None = None
    """What servers that are several tell each other goes through here, or else through PostgreSQL."""
    role: Literal["all", "api", "worker"] = "all"
    """Whether this process answers requests, executes runs, or both."""
    lease: float = 10.0
    """Seconds without a sign of life after which a worker's runs are another's to take up."""
    jobs: int = 100
    """Runs at once in one worker. Runs mostly wait for a model, so this is no number of cores."""
    cancel_grace: float = 5.0
    """Seconds a node that ignores its cancellation is waited for."""
    drain_timeout: float = 2.0
    """Seconds the runs get to end by themselves when the server stops; the rest is taken up at the next start."""
    run_timeout: float | None = None
    """Seconds a run may take, unless it says otherwise itself; `None`: as long as it likes."""
    max_attempts: int = 3
    """How often a run is taken up again after the server went down with it."""
    max_queued_per_thread: int = 1000
    """Runs that may wait on one thread; more are refused."""
    concurrency_limit: int | None = None
    """Runs of one concurrency key that are executed at once, over all servers; `None`: as many as there are."""
    concurrency_limits: Mapping[str, int] = field(default_factory=dict[str, int])
    """The same for single keys."""
    stream_ttl: float = 3600.0
    """Seconds the events of resumable runs, and of those the event protocol started, can be replayed."""
    queued_on_interrupt: Literal["cancel", "keep"] = "cancel"
    """What becomes of waiting runs when an interrupt or a rollback arrives."""
    dangling_tool_calls: Literal["answer", "keep"] = "answer"
    """What becomes of tool calls an interrupted run left open when the next input comes: answered by us, or kept."""
    superseded_input: Literal["keep", "drop"] = "keep"
    """Whether the input of a run that was superseded before it got into the state is put there all the same."""
    max_body: int = 8 * 1024 * 1024
    default_recursion_limit: int = 10007
    warnings: tuple[str, ...] = ()
