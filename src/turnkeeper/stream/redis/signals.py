"""Signals by way of Redis."""

from turnkeeper.stream.broadcast import BroadcastSignals


class RedisSignals(BroadcastSignals):
    """Implements `contracts.Signals` on a `Bus`."""
