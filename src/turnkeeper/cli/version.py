"""`turnkeeper version`: what a report of a problem needs to name."""

import click

from turnkeeper import __version__
from turnkeeper.cli.screen import Screen

PACKAGES = ("langgraph", "langgraph-checkpoint", "langgraph-sdk")


@click.command
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def version(screen: Screen, *, as_json: bool) -> None:
    """Versions of turnkeeper and of what it builds on."""
    import json
    import platform
    from importlib.metadata import version as installed

    versions = {"turnkeeper": __version__, **{name: installed(name) for name in PACKAGES}}
    versions["python"] = platform.python_version()
    if as_json:
        screen.line(json.dumps(versions))
    else:
        screen.line("\n".join(f"{name:<21} {number}" for name, number in versions.items()))
