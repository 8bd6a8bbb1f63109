"""Everything the servers keep, in one PostgreSQL database."""

from langgraph.store.base import TTLConfig
from langgraph.store.postgres.base import PostgresIndexConfig

from turnkeeper.storage.postgres import slots
from turnkeeper.storage.postgres.assistants import PostgresAssistants
from turnkeeper.storage.postgres.checkpoint_puts import Owner
from turnkeeper.storage.postgres.checkpoints import Saver
from turnkeeper.storage.postgres.clock import SharedClock
from turnkeeper.storage.postgres.crons import PostgresCrons
from turnkeeper.storage.postgres.database import Database, in_transaction
from turnkeeper.storage.postgres.deferred import Deferrals
from turnkeeper.storage.postgres.edits import Edit
from turnkeeper.storage.postgres.events import PostgresEvents
from turnkeeper.storage.postgres.items import Items
from turnkeeper.storage.postgres.leases import LEASE, Lease, PostgresLeases
from turnkeeper.storage.postgres.retention import Retention
from turnkeeper.storage.postgres.runs import PostgresRuns
from turnkeeper.storage.postgres.threads import PostgresThreads
from turnkeeper.types import NO_LIMITS, Claimed, Clock, Limits


class PostgresStorage:
    """Implements `contracts.Storage`."""

    def __init__(
        self,
        uri: str,
        clock: Clock | None = None,
        *,
        connections: int = 8,
        lease: float = LEASE,
        limits: Limits = NO_LIMITS,
        index: PostgresIndexConfig | None = None,
        ttl: TTLConfig | None = None,
    ) -> None:
        """`uri` as libpq takes it; `connections` is the most this process opens; `lease`: its worker's, seconds.

        `clock` is for tests: all servers on one database go by its time. `index` and `ttl` are the store's.
        """
        self.clock: Clock = clock or SharedClock()
        clock, mine = self.clock, Lease(seconds=lease)
        self._database = Database(uri, connections)
        self._saver = Saver(self._database)
        self._deferrals = Deferrals(self._database)
        self.runs = PostgresRuns(self._database, clock, mine, self._deferrals)
        self.leases = PostgresLeases(self._database, clock, mine)
        self.threads = PostgresThreads(self._database, clock)
        self.assistants = PostgresAssistants(self._database, clock)
        self.crons = PostgresCrons(self._database, clock, mine)
        self.items = Items(self._database, index=index, ttl=ttl)
        self.events = PostgresEvents(self._database)
        self._retention = Retention(self._database)
        self._limits = limits

    def run_checkpointer(self, claimed: Claimed, *, deferred: bool, author: str | None = None) -> Saver:
        """See the contract."""
        owner = Owner(claimed.run_id, claimed.attempt)
        puts = self._deferrals.begin(owner) if deferred else self._deferrals.of(owner)
        fresh = deferred and claimed.fresh
        return self._saver.for_run(author or claimed.run_id, owner, puts, deferred=deferred, fresh=fresh)

    def thread_checkpointer(self, thread_id: str) -> Saver:
        """See the contract."""
        return Saver(self._database, edit=Edit(thread_id))

    async def purge(self, now: float) -> int:
        """See the contract."""
        return await self._retention.purge(now) + await self.items.sweep(now)

    def open(self) -> None:
        """See the contract."""
        self._database.open(self._begin)

    def _begin(self) -> None:
        self._database.call(in_transaction(lambda connection: slots.limit(connection, self._limits)))
        if isinstance(self.clock, SharedClock):
            self._database.call(self.clock.adjust)
        self.items.open()

    def close(self) -> None:
        """See the contract."""
        self.events.close()
        self._deferrals.close()
        self._database.close()
