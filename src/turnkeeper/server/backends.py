"""The only place that knows which storage, event log and signals there are to plug in."""

from typing import Any, NamedTuple, Protocol

from langgraph.store.base import TTLConfig

from turnkeeper.config import Settings
from turnkeeper.contracts import EventLog, Signals, Storage
from turnkeeper.errors import ConfigError
from turnkeeper.graphs.embeddings import load_embeddings
from turnkeeper.types import Limits


class ServedLog(EventLog, Protocol):
    """An event log with a beginning and an end."""

    async def start(self) -> None:
        """Begin to deliver on the running loop."""
        ...

    async def stop(self) -> None:
        """Tell what waits, and let go of everything."""
        ...

    def close(self) -> None:
        """The server stops: end every stream."""
        ...


class ServedSignals(Signals, Protocol):
    """Signals that a worker of this process can listen to."""

    def connect(self, worker: Signals) -> None:
        """Name who listens. On the API's loop, once the event log has started."""
        ...


class Backend(NamedTuple):
    """What is plugged in."""

    storage: Storage
    events: ServedLog
    signals: ServedSignals

    @staticmethod
    def of(settings: Settings) -> "Backend":
        """What the settings ask for. Raises `ConfigError`."""
        if settings.postgres_uri is None:
            return _alone(settings)
        try:
            return _shared(settings, settings.postgres_uri)
        except ImportError as error:
            extra = "redis" if error.name == "redis" else "postgres"
            raise ConfigError(
                f"{extra} cannot be used: {error.name} is not installed",
                fix=f"pip install 'turnkeeper[{extra}]'",
            ) from None


def _alone(settings: Settings) -> Backend:
    """Everything in this process, on one file."""
    from turnkeeper.storage.sqlite.storage import SqliteStorage
    from turnkeeper.stream.local import LocalEventLog
    from turnkeeper.stream.signals import LocalSignals

    storage = SqliteStorage(settings.db, limits=_limits(settings), ttl=_ttl(settings))
    return Backend(storage, LocalEventLog(storage.events), LocalSignals())


def _shared(settings: Settings, uri: str) -> Backend:
    """PostgreSQL, and Redis or PostgreSQL for what is told between processes."""
    from turnkeeper.storage.postgres.storage import PostgresStorage

    storage = PostgresStorage(
        uri,
        connections=settings.postgres_connections,
        lease=settings.lease,
        limits=_limits(settings),
        index=_index(settings),
        ttl=_ttl(settings),
    )
    if settings.redis_uri is not None:
        return _through_redis(storage, settings.redis_uri)
    return _through_postgres(storage, uri)


def _through_redis(storage: Storage, uri: str) -> Backend:
    from turnkeeper.stream.redis.bus import Bus
    from turnkeeper.stream.redis.log import RedisEventLog
    from turnkeeper.stream.redis.signals import RedisSignals

    try:
        bus = Bus(uri)
    except ValueError as error:
        raise ConfigError("redis_uri names no Redis", cause=str(error), fix="write redis://host:6379") from None
    return Backend(storage, RedisEventLog(storage.events, bus), RedisSignals(bus))


def _through_postgres(storage: Storage, uri: str) -> Backend:
    from turnkeeper.stream.postgres.bus import Bus
    from turnkeeper.stream.postgres.log import PostgresEventLog
    from turnkeeper.stream.postgres.signals import PostgresSignals

    bus = Bus(uri)
    return Backend(storage, PostgresEventLog(storage.events, bus), PostgresSignals(bus))


def _limits(settings: Settings) -> Limits:
    return Limits(settings.concurrency_limit, dict(settings.concurrency_limits))


def _ttl(settings: Settings) -> TTLConfig | None:
    ttl = settings.store_ttl
    return None if ttl is None else {"default_ttl": ttl.minutes, "refresh_on_read": ttl.refresh_on_read}


def _index(settings: Settings) -> Any:
    index = settings.store_index
    if index is None:
        return None
    return {"dims": index.dims, "embed": load_embeddings(settings), "fields": list(index.fields)}
