"""Event log and signals of many processes, by way of PostgreSQL alone: LISTEN and NOTIFY (14 or newer).

Every process has one connection that listens and one that tells. LISTEN belongs to a connection: a pooler in between
has to keep sessions together. PgBouncer in transaction or statement mode does not, so name the database itself here.

All is told on one channel. A channel per thread would not spare the database anything, as it wakes every connection
that listens to anything, but each listener would cost a round trip, and a notification a look through ten thousand
names. An idle listener costs a row in `stream_readers` and nothing else.
"""

from turnkeeper.stream.postgres.bus import Bus
from turnkeeper.stream.postgres.log import PostgresEventLog
from turnkeeper.stream.postgres.signals import PostgresSignals

__all__ = ["Bus", "PostgresEventLog", "PostgresSignals"]
