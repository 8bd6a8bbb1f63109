"""A graph that hands over to the graph around it (`Command(graph=Command.PARENT)`), which runs at the client."""

from typing import Any, cast

from langgraph.errors import ParentCommand
from langgraph.types import Command, Send


def handed_over(error: ParentCommand) -> dict[str, Any]:
    """What the graph at the client is to do, as `RemoteGraph` takes it. Raises `error` if it is meant for another."""
    command = cast("Command[Any]", error.args[0])
    if command.graph:  # empty: the graph around this one
        raise error
    goto = cast("list[Any]", [command.goto] if isinstance(command.goto, Send | str) else list(command.goto))
    return {
        "graph": Command.PARENT,
        "update": command.update,
        "resume": command.resume,
        "goto": [{"node": to.node, "input": to.arg} if isinstance(to, Send) else to for to in goto],
    }
