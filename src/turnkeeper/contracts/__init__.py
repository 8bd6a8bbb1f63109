"""What the server needs of its parts: a database, wake-ups and event logs. One verb per method."""

from turnkeeper.contracts.events import RUN_DONE, STATE_CHANGED, EventLog, EventStore, Feed, Frame, Subscription, Told
from turnkeeper.contracts.signals import Signals
from turnkeeper.contracts.storage import AssistantStore, CronStore, Leases, RunStore, Storage, ThreadStore

__all__ = [
    "RUN_DONE",
    "STATE_CHANGED",
    "AssistantStore",
    "CronStore",
    "EventLog",
    "EventStore",
    "Feed",
    "Frame",
    "Leases",
    "RunStore",
    "Signals",
    "Storage",
    "Subscription",
    "ThreadStore",
    "Told",
]
