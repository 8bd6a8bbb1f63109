"""Runs are claimed and executed here."""
