"""What the server counts. `GET /metrics` shows it in the format of Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

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

PENDING = Gauge(
    "turnkeeper_runs_pending",
    "Threads with a run that may start, by what it waits for. Of all servers, whichever is asked.",
    ["waiting_for"],
    registry=REGISTRY,
)

RUNNING = Gauge(
    "turnkeeper_runs_running",
    "Runs under way. Of all servers, whichever is asked.",
    registry=REGISTRY,
)


def exposition() -> bytes:
    """All metrics as text."""
    return generate_latest(REGISTRY)
