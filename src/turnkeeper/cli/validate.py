"""`turnkeeper validate`: read the file and import every graph, as a server would."""

from pathlib import Path

import click

from turnkeeper.cli.options import config_option, read_settings
from turnkeeper.cli.screen import Screen, verbose_option


@click.command
@config_option
@verbose_option
@click.pass_obj
def validate(screen: Screen, config: Path) -> int:
    """Check langgraph.json and that its graphs load."""
    settings = read_settings(screen, config)
    from turnkeeper.graphs.loader import Graphs

    graphs = Graphs.load(settings)
    width = max(len(spec.graph_id) for spec in settings.graphs)
    for spec in settings.graphs:
        state = click.style("failed", fg="red") if spec.graph_id in graphs.failed else click.style("ok    ", fg="green")
        screen.line(f"  {spec.graph_id:<{width}}   {state}   {spec.path}")
    screen.cards(graphs.failed.values())
    return 1 if graphs.failed else 0
