"""Moves everything from one SQLite file to a PostgreSQL database, as SQL rows."""
