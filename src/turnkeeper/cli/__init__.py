"""The command line. Every command imports what it needs when it runs, so `--help` answers at once."""

import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

import click

from turnkeeper import __version__
from turnkeeper.cli.build import build
from turnkeeper.cli.db import db
from turnkeeper.cli.demo import demo
from turnkeeper.cli.dev import dev
from turnkeeper.cli.dockerfile import dockerfile
from turnkeeper.cli.doctor import doctor
from turnkeeper.cli.screen import Screen, color_option, verbose_option
from turnkeeper.cli.serve import GraphsFailed, serve
from turnkeeper.cli.stopping import Stopped
from turnkeeper.cli.up import up
from turnkeeper.cli.validate import validate
from turnkeeper.cli.version import version
from turnkeeper.errors import ConfigError

INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="turnkeeper %(version)s")
@verbose_option
@color_option
def cli() -> None:
    """Serve LangGraph agents, and keep the turns of every thread in order."""


for command in (dev, serve, demo, db, build, dockerfile, up, doctor, validate, version):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code: 0 done, 1 failed, 2 wrong usage, 130 Ctrl-C."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; its exit code."""
    screen = Screen(color=False if os.environ.get("NO_COLOR") else None)
    try:
        code = cli.main(args=arguments, prog_name="turnkeeper", standalone_mode=False, obj=screen)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except Stopped:
        return 0
    except GraphsFailed as failed:
        screen.cards(failed.errors)
        return 1
    except ConfigError as error:
        screen.cards([error])
        return 1
    except Exception as error:  # noqa: BLE001  the last place to make one readable screen of it
        screen.cards([_unexpected(error)])
        return 1
    return code if isinstance(code, int) else 0


def _unexpected(error: Exception) -> ConfigError:
    last = traceback.extract_tb(error.__traceback__)[-1]
    card = ConfigError(
        f"{type(error).__name__}: {error}",
        cause=f"not foreseen, raised at {last.filename}:{last.lineno}",
        fix="please report it with its traceback",
    )
    card.__cause__ = error
    return card
