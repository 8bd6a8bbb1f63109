"""PostgreSQL as what processes tell each other by, and what may happen to it."""

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from turnkeeper.storage.postgres import migrations

SERVER = Path(__file__).with_name("postgres_on_call.py")


def forget_told(uri: str) -> str:
    """Bring a database to the newest schema, with nothing told yet; the same `uri`."""
    with psycopg.connect(uri, autocommit=True) as connection:
        migrations.migrate(connection)
        connection.execute("truncate events, stream_told, stream_readers, stream_processes, stream_life")
    return uri


class PostgresServer:
    """A PostgreSQL server of our own that comes and goes. It ends with the tests, also if they are killed."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.uri = self._said()

    def start(self) -> None:
        self._do("start")

    def stop(self, how: str = "fast") -> None:
        """`fast` as it is stopped by who administers it, `immediate` as if it crashed."""
        self._do(how)

    def ask(self, statement: str, **parameters: Any) -> list[Any]:
        with psycopg.connect(self.uri, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), parameters)
            return [row[0] for row in cursor] if cursor.description else []

    def cut(self, purpose: str) -> int:
        """End the connections for a purpose; how many."""
        gone = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = %(name)s"
        return len(self.ask(gone, name=f"turnkeeper-{purpose}"))

    def pids(self, purpose: str) -> list[int]:
        """The server's processes behind the connections for a purpose."""
        return self.ask(
            "select pid from pg_stat_activity where application_name = %(name)s", name=f"turnkeeper-{purpose}"
        )

    def _do(self, what: str) -> None:
        assert self._process.stdin is not None
        print(what, file=self._process.stdin, flush=True)
        assert self._said() == what

    def _said(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@contextmanager
def on_call() -> Generator[PostgresServer]:
    """A server that is running."""
    with subprocess.Popen(
        [sys.executable, str(SERVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        server = PostgresServer(process)
        forget_told(server.uri)
        yield server
        process.communicate()
