"""How a process that starts waits for a database that is only just starting, or starting again.

A wrong name or password is an error at once; a server that does not answer, or says that it is not ready, may come.
"""

import time
from collections.abc import Callable

import psycopg
import structlog
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import PGconn, Ping

from turnkeeper.errors import ConfigError, Unavailable

log = structlog.get_logger()

PATIENCE = 10.0
"""Seconds to wait for the database to be ready."""

RETRY_AFTER = 0.2
ANSWER = 2
"""Seconds to wait for the answer to the question whether it is."""


def patiently(uri: str, begin: Callable[[], None], patience: float = PATIENCE) -> None:
    """Do what begins with a database, all over when the connection fails, for up to `patience` seconds.

    Raises `ConfigError` when the database refuses, or has not been there in time.
    """
    until = time.monotonic() + patience
    refused = waiting = False
    while True:
        try:
            return begin()
        except (psycopg.OperationalError, Unavailable) as error:
            refused, before = _answers(uri), refused
            if (refused and before) or time.monotonic() >= until:
                raise _unusable(uri, error) from error
            if not waiting:
                log.warning("waiting for the database", why=first_line(error))
            waiting = True
        except psycopg.Error as error:
            raise _unusable(uri, error) from error
        time.sleep(RETRY_AFTER)


def first_line(error: Exception) -> str:
    """What went wrong, in a line."""
    return str(error).strip().partition("\n")[0]


def _answers(uri: str) -> bool:
    """Whether the database is ready to be connected to. If so, what failed twice is not going to change."""
    return PGconn.ping(make_conninfo(uri, connect_timeout=ANSWER).encode()) in (Ping.OK, Ping.NO_ATTEMPT)


def _unusable(uri: str, error: Exception) -> ConfigError:
    return ConfigError(
        f"the database {_told(uri)} cannot be used",
        cause=first_line(error),
        fix="check that it runs, and that its address and password are right",
    )


def _told(uri: str) -> str:
    """The address without the password."""
    try:
        parts = conninfo_to_dict(uri)
    except psycopg.Error:
        return "PostgreSQL"
    return f"{parts.get('dbname', '')} on {parts.get('host', 'this machine')}".strip()
