"""Event logs and wake-ups."""
