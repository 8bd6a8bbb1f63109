"""What tests of the copy need around it."""

from collections.abc import Generator
from contextlib import contextmanager
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from turnkeeper.types import uuid7


@contextmanager
def new_database(uri: str) -> Generator[str]:
    """A database in which nothing is, on a server that is reached by `uri`; how it is reached."""
    name = f"copy_{uuid7().replace('-', '')}"
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        yield urlsplit(uri)._replace(path=f"/{name}").geturl()
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
