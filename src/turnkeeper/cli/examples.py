"""Where the example agents lie: in the installed package, or in the repository it is worked on."""

from pathlib import Path

import turnkeeper
from turnkeeper.errors import ConfigError


def example(name: str) -> Path:
    """The `langgraph.json` of an example."""
    package = Path(turnkeeper.__file__).parent
    for folder in (package / "examples", package.parents[1] / "examples"):
        config = folder / name / "langgraph.json"
        if config.is_file():
            return config
    raise ConfigError(f"the example '{name}' is not installed", fix="reinstall turnkeeper")
