"""Signals by way of PostgreSQL."""

from turnkeeper.stream.broadcast import BroadcastSignals


class PostgresSignals(BroadcastSignals):
    """Implements `contracts.Signals` on a `Bus`."""
