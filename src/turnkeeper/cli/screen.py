"""What the command line prints: plain lines, cards for errors; colours only where a person reads them."""

import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from turnkeeper.errors import ConfigError

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(slots=True)
class Screen:
    """Where the commands print. `color=None` means: if it is a terminal."""

    color: bool | None = None
    verbose: bool = False

    def line(self, text: str = "") -> None:
        """A line of output."""
        click.echo(text, color=self.color)

    def warning(self, text: str) -> None:
        """A line that nobody should miss."""
        click.echo(f"{click.style('warning:', fg='yellow')} {text}", err=True, color=self.color)

    def cards(self, errors: Iterable[ConfigError]) -> None:
        """One card per error; with `-v` the traceback follows."""
        for error in errors:
            click.echo(card(error, details=not self.verbose), err=True, color=self.color)
            if self.verbose:
                click.echo("".join(traceback.format_exception(error.__cause__ or error)), err=True)


def card(error: ConfigError, *, details: bool = False) -> str:
    """What is wrong, where, why and how to mend it, on a few lines."""
    lines = [f"{click.style('error:', fg='red', bold=True)} {error.problem}"]
    if error.where:
        lines.append(f"  {click.style(error.where, dim=True)}")
    if error.cause or error.nearest:
        nearest = f"        nearest: {error.nearest}" if error.nearest else ""
        lines.append(f"  {click.style('cause', bold=True)}  {error.cause or 'no such name'}{nearest}")
    if error.fix:
        more = "        details: add -v" if details and error.__cause__ else ""
        lines.append(f"  {click.style('fix', bold=True)}    {error.fix}{more}")
    return "\n".join(lines)


def verbose_option(command: Command) -> Command:
    """`-v`, before or after the name of the command."""
    return _flag("-v", "--verbose", set_to=("verbose", True), help="Show tracebacks of errors.")(command)


def color_option(command: Command) -> Command:
    """`--no-color`."""
    return _flag("--no-color", set_to=("color", False), help="Plain output, as with NO_COLOR set.")(command)


def _flag(*names: str, set_to: tuple[str, bool], help: str) -> Callable[[Command], Command]:  # noqa: A002  click's word
    def apply(context: click.Context, _parameter: click.Parameter, given: bool) -> None:  # noqa: FBT001  click's call
        if given:
            setattr(context.ensure_object(Screen), *set_to)

    return click.option(*names, is_flag=True, expose_value=False, callback=apply, help=help)
