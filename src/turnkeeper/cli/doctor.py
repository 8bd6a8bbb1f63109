"""`turnkeeper doctor`: is a server well? Imports next to nothing, as containers ask every few seconds."""

import json

import click

from turnkeeper.cli.screen import Screen, verbose_option
from turnkeeper.errors import ConfigError

PATIENCE = 3.0
"""Seconds a healthy server answers within."""


@click.group
def doctor() -> None:
    """Look for what is wrong."""


@doctor.command
@click.option("--url", default="http://127.0.0.1:2024", show_default=True, help="Where the server is.")
@verbose_option
@click.pass_obj
def health(screen: Screen, url: str) -> None:
    """Ask a server whether it is there: ends with 0 if so, else with 1."""
    cause = _ailment(url)
    if cause is not None:
        fix = "start it with `turnkeeper serve`, or give its address: --url"
        raise ConfigError(f"no healthy server at {url}", cause=cause, fix=fix)
    screen.line(f"{click.style('ok', fg='green')}   {url}")


def _ailment(url: str) -> str | None:
    """What is wrong with the server, if anything is. Asked without a proxy, whatever the environment names."""
    from http.client import HTTPConnection, HTTPException, HTTPSConnection

    scheme, host, port, path = _parts(url)
    connection = (HTTPSConnection if scheme == "https" else HTTPConnection)(host, port, timeout=PATIENCE)
    try:
        connection.request("GET", f"{path}/ok")
        answer = connection.getresponse()
        body = answer.read()
    except TimeoutError:
        return f"no answer within {PATIENCE:g} seconds"
    except (OSError, HTTPException) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        connection.close()
    return None if answer.status == 200 and _says_ok(body) else f"what answers there is another: {answer.status} to /ok"


def _parts(url: str) -> tuple[str, str, int | None, str]:
    """Scheme, host, port and path."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        if parts.scheme in {"http", "https"} and parts.hostname:
            return parts.scheme, parts.hostname, parts.port, parts.path.rstrip("/")
    except ValueError:
        pass
    raise click.BadParameter("give it like http://127.0.0.1:2024", param_hint="--url")


def _says_ok(body: bytes) -> bool:
    try:
        return json.loads(body) == {"ok": True}
    except ValueError:
        return False
