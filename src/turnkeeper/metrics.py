"""What the server counts. `GET /metrics` shows it in the format of Prometheus."""

from prometheus_client import CollectorRegistry, Counter, generate_latest

REGISTRY = CollectorRegistry()

FENCED_WRITES = Counter(
    "turnkeeper_fenced_writes",
    "Writes refused because their attempt no longer owned its run.",
    registry=REGISTRY,
)
LEFT_BEHIND = Counter(
    "turnkeeper_runs_left_behind",
    "Runs whose code did not stop within the grace period.",
    registry=REGISTRY,
)
ENDED = Counter(
    "turnkeeper_runs_ended",
    "Runs that came to an end, by how.",
    ["status"],
    registry=REGISTRY,
)


def exposition() -> bytes:
    """All metrics as text."""
    return generate_latest(REGISTRY)
