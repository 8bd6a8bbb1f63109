"""Event log and signals of many processes, by way of Redis: extra `turnkeeper[redis]`, Redis 6.2 or newer, no cluster.

Redis is a hint, never the truth: whatever of it is lost, paused or flushed costs time, and streams that break off.
"""
