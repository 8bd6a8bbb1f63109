"""CPU and memory of a process tree, and how busy the machine is besides (Linux only)."""

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PARENT, _REAPED, _RSS = 1, slice(13, 15), 21  # fields of /proc/PID/stat, counted after the name


def _stat(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text[text.rindex(")") + 2 :].split()


def tree(root: int) -> dict[int, list[str]]:
    """The stat fields of a process and all its descendants, by pid."""
    every = {int(entry.name): _stat(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
    found: dict[int, list[str]] = {}
    todo = [root]
    while todo:
        pid = todo.pop()
        if fields := every.get(pid):
            found[pid] = fields
            todo += [child for child, stat in every.items() if stat and int(stat[_PARENT]) == pid]
    return found


def cpu_seconds(root: int) -> float:
    """CPU seconds used so far by the tree, with the children it has already waited for."""
    return sum(_own_cpu(pid) + sum(map(int, fields[_REAPED])) / _TICK for pid, fields in tree(root).items())


def _own_cpu(pid: int) -> float:
    # The clock id of another process (clock_getcpuclockid): /proc rounds to 10 ms, too coarse for short runs.
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def rss_mb(root: int) -> float:
    """Resident memory of the tree in MB."""
    return sum(int(fields[_RSS]) for fields in tree(root).values()) * _PAGE / 1e6


def _machine() -> tuple[float, float]:
    with Path("/proc/stat").open() as file:
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + softirq) / _TICK, steal / _TICK


def cpu_by_kind(pids: Mapping[str, Iterable[int]]) -> dict[str, float]:
    """CPU seconds used so far by trees of processes, by what they are."""
    return {kind: sum(map(cpu_seconds, roots)) for kind, roots in pids.items()}


@dataclass(frozen=True)
class Usage:
    """What a stretch of load cost, and how quiet the machine was meanwhile."""

    wall_s: float
    server_cpu_s: float
    client_cpu_s: float
    others_cores: float
    steal_cores: float


class Meter:
    """Measures from its creation to ``stop()``."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._machine = _machine()
        self._server = cpu_seconds(pid)
        self._client = time.process_time()
        self._wall = time.perf_counter()

    def stop(self) -> Usage:
        """The usage since creation."""
        wall = time.perf_counter() - self._wall
        client = time.process_time() - self._client
        server = cpu_seconds(self._pid) - self._server
        busy, steal = (now - then for now, then in zip(_machine(), self._machine, strict=True))
        return Usage(
            wall_s=round(wall, 4),
            server_cpu_s=round(server, 4),
            client_cpu_s=round(client, 4),
            others_cores=round(max(0.0, busy - server - client) / wall, 3),
            steal_cores=round(steal / wall, 3),
        )
