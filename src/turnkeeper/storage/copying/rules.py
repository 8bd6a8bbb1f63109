"""Which table of the one database goes where in the other.

Columns that both know are copied, whatever they are. One that only one of them knows needs a word here: a copy that
leaves something behind unseen does not start.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from turnkeeper.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Rule:
    """What becomes of a table of the SQLite file."""

    source: str
    target: str | None = None
    """The table that takes its rows; `None` where `why` says where its content goes."""
    why: str = ""
    left: Mapping[str, str] = field(default_factory=dict[str, str])
    """Columns only SQLite has, and why nothing is lost."""
    made: Mapping[str, str] = field(default_factory=dict[str, str])
    """Columns only PostgreSQL has, and what they are made of."""
    unset: Mapping[str, str] = field(default_factory=dict[str, str])
    """Columns only PostgreSQL has that are not copied, and why."""

    def filled(self, source: Iterable[str], target: Iterable[str]) -> list[str]:
        """The columns of the target that are copied. Raises `ConfigError` on a column without a rule."""
        ours, theirs = set(source), list(target)
        unknown = [
            *(f"{self.source}.{name} of the file" for name in ours - {*theirs} - self.left.keys()),
            *(
                f"{self.target}.{name} of the database"
                for name in {*theirs} - ours - self.made.keys() - self.unset.keys()
            ),
        ]
        if unknown:
            raise without_rule(unknown)
        return [name for name in theirs if name not in self.unset]


RULES = (
    Rule("assistants", "assistants"),
    Rule("assistant_versions", "assistant_versions"),
    Rule("threads", "threads"),
    Rule("crons", "crons"),
    Rule("concurrency_limits", "concurrency_limits"),
    Rule("runs", "runs", unset={"worker_id": "nobody executes them", "lease_until": "nobody executes them"}),
    Rule("ready", "ready"),
    Rule("idempotency_keys", "idempotency_keys"),
    Rule("journal", "journal"),
    Rule(
        "checkpoints",
        "checkpoints",
        left={
            "seq": "checkpoints go by their ids",
            "versions": "is in checkpoint",
            "inline": "is in checkpoint",
            "body": "is in checkpoint",
        },
        made={"checkpoint": "made of body and versions"},
    ),
    Rule(
        "checkpoint_channels",
        "checkpoint_blobs",
        left={"value": "is in blob", "born": "tells what may be shared: not here", "high": "is about elements"},
        made={"blob": "value, or what a list is made of"},
    ),
    Rule("checkpoint_elements", why="a list is stored whole in checkpoint_blobs.blob"),
    Rule("checkpoint_writes", "task_writes", left={"value": "is in blob"}, made={"blob": "value"}),
    Rule(
        "items",
        "store",
        left={"seq": "items go by when they were updated", "namespace": "is in prefix"},
        made={"prefix": "namespace"},
    ),
    Rule("events", "events"),
)
"""In an order in which no row refers to one that is not there yet."""


def check(tables: Iterable[str]) -> None:
    """Raise `ConfigError` on a table of the file without a rule."""
    known = {rule.source for rule in RULES}
    if unknown := [f"{table} of the file" for table in tables if table not in known]:
        raise without_rule(unknown)


def without_rule(unknown: Iterable[str]) -> ConfigError:
    """The refusal to leave something behind."""
    return ConfigError(
        "something would be lost on the way",
        cause=f"no rule says what becomes of {', '.join(sorted(unknown))}",
        fix="please report it: every table and column should have one",
    )
