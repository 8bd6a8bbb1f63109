"""Event log and signals of many processes, by way of Redis: extra `turnkeeper[redis]`, Redis 6.2 or newer, no cluster.

Redis is a hint, never the truth: whatever of it is lost, paused or flushed costs time, and streams that break off.
"""

from turnkeeper.stream.redis.bus import Bus
from turnkeeper.stream.redis.log import RedisEventLog
from turnkeeper.stream.redis.signals import RedisSignals

__all__ = ["Bus", "RedisEventLog", "RedisSignals"]
