"""How many runs a worker may execute at once. Counted under a lock: places are reserved from several threads."""

import threading


class Places:
    """The places of one worker. Closed, it has none to give."""

    def __init__(self, count: int) -> None:
        self._all = self._free = count
        self._open = False
        self._lock = threading.Lock()

    @property
    def are_open(self) -> bool:
        """Whether runs may still be started."""
        return self._open

    def open(self) -> None:
        """Begin to give places."""
        self._open = True

    def close(self) -> None:
        """Give no more places."""
        self._open = False

    @property
    def are_free(self) -> bool:
        """Whether nobody has a place."""
        with self._lock:
            return self._free == self._all

    def take(self, wanted: int) -> int:
        """Take up to `wanted` places; returns how many it got."""
        with self._lock:
            taken = min(wanted, self._free) if self._open else 0
            self._free -= taken
        return taken

    def give_back(self, count: int) -> bool:
        """Give places back; returns whether none was free before."""
        with self._lock:
            was_full = self._free == 0
            self._free += count
        return was_full
