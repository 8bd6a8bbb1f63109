"""Benchmarks of the server against the smallest server that could run the same graphs."""
