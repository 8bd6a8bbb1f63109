"""Storage on one SQLite file."""
