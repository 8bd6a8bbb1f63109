"""`turnkeeper db`: what is done to a database while no server runs on it."""

import sys
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click

from turnkeeper.cli.screen import Screen, verbose_option
from turnkeeper.errors import ConfigError

if TYPE_CHECKING:  # importing the storage imports langgraph
    from turnkeeper.storage.copying.copy import Copied

SQLITE = "sqlite:"
POSTGRES = ("postgres://", "postgresql://")
VARIABLES = ["TURNKEEPER_POSTGRES_URI", "DATABASE_URI", "POSTGRES_URI"]
PAUSE = 0.1
"""Seconds between two lines of progress."""


@click.group
def db() -> None:
    """Move and upgrade databases."""


@db.command
@click.option("--from", "source", required=True, metavar="sqlite:PATH", help="The file of a stopped server.")
@click.option("--to", "target", required=True, envvar=VARIABLES, metavar="URI", help="An empty PostgreSQL database.")
@verbose_option
@click.pass_obj
def copy(screen: Screen, *, source: str, target: str) -> None:
    """Copy everything from a SQLite file to PostgreSQL.

    The file is only read, after an upgrade if an older version wrote it. Broken off, the copy leaves nothing behind:
    run it again. The address may also be in DATABASE_URI, where no list of processes shows its password.
    """
    if not source.startswith(SQLITE) or not source.removeprefix(SQLITE):
        raise _unusable("--from", "sqlite:PATH")
    _check_postgres(target)
    from turnkeeper.storage.copying.copy import copy as copy_all

    progress = _Progress(screen)
    begun = time.monotonic()
    copied = copy_all(source.removeprefix(SQLITE), target, progress.tell)
    _conclude(screen, copied, time.monotonic() - begun)


@db.command
@click.option("--to", "target", required=True, envvar=VARIABLES, metavar="URI", help="A PostgreSQL database.")
@verbose_option
@click.pass_obj
def migrate(screen: Screen, *, target: str) -> None:
    """Bring a PostgreSQL database to the schema of this version, as a server does when it starts."""
    _check_postgres(target)
    from turnkeeper.storage.postgres.database import Database

    database = Database(target, size=1)
    database.open()
    database.close()
    screen.line("the database is up to date")


def _check_postgres(uri: str) -> None:
    if not uri.startswith(POSTGRES):
        raise _unusable("--to", "postgresql://user:password@host/database")
    if find_spec("psycopg") is None:
        raise ConfigError("postgres cannot be used: psycopg is not installed", fix="pip install 'turnkeeper[postgres]'")


def _unusable(option: str, form: str) -> ConfigError:
    """What was given is not shown: it may hold a password."""
    return ConfigError(f"{option} does not name a database this can use", fix=f"give it as {form}")


class _Progress:
    """One line per table, kept up to date; nothing where nobody watches."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._watched = sys.stdout.isatty()
        self._table = ""
        self._begun = self._heard = self._shown = time.monotonic()

    def tell(self, table: str, done: int, total: int) -> None:
        """So many rows of a table are copied."""
        now = time.monotonic()
        if table != self._table:
            self._table, self._begun = table, self._heard
        self._heard = now
        if not self._watched or (done < total and now - self._shown < PAUSE):
            return
        self._shown = now
        rate = done / max(now - self._begun, 0.001)
        line = f"\r  {table:<20} {done:>12,} of {total:<12,} {rate:>9,.0f} rows/s"
        click.echo(line, nl=done == total, color=self._screen.color)


def _conclude(screen: Screen, copied: "Copied", seconds: float) -> None:
    if copied.before is not None:
        screen.line(f"this file was copied there on {copied.before:%Y-%m-%d %H:%M} already: nothing to do")
        return
    rate = copied.rows / max(seconds, 0.001)
    screen.line(f"copied {copied.rows:,} rows in {seconds:.1f} s ({rate:,.0f} rows/s), and counted them")
    if copied.resumed:
        screen.line(f"runs under way when their server died, which will be taken up again: {copied.resumed}")
    screen.line("next: turnkeeper serve --postgres-uri ...")
