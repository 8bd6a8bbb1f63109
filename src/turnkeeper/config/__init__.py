"""`langgraph.json` + environment + command line → one frozen `Settings`. Nothing heavy is imported here."""

from turnkeeper.config.load import load_settings
from turnkeeper.config.settings import GraphSpec, Settings

__all__ = ["GraphSpec", "Settings", "load_settings"]
