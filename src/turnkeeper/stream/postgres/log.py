"""The event log by way of PostgreSQL: what is told is in a table, and notifications say that there is news."""

from turnkeeper.contracts import EventStore
from turnkeeper.stream.postgres.bus import Bus
from turnkeeper.stream.shared import SharedEventLog


class PostgresEventLog(SharedEventLog):
    """Implements `contracts.EventLog`."""

    def __init__(self, store: EventStore, bus: Bus) -> None:
        super().__init__(store, bus)
