"""Storage on PostgreSQL, for any number of servers and workers. Needs the extra `turnkeeper[postgres]`."""
