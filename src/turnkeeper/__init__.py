"""Turnkeeper: a self-hosted server for LangGraph agents that keeps the turns of a thread in order."""

__version__ = "0.1.0"
