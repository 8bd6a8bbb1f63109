"""A machine whose clock is wrong: by the seconds that the file `CLOCK` says, whenever it is asked."""

import os
import time
from pathlib import Path

from turnkeeper.storage.postgres.clock import SharedClock

real, real_ns = time.time, time.time_ns


def wrong() -> float:
    """Seconds since the epoch, as this machine believes."""
    return real() + float(Path(os.environ["CLOCK"]).read_text())


def wrong_ns() -> int:
    """The same in nanoseconds."""
    return real_ns() + int(float(Path(os.environ["CLOCK"]).read_text()) * 1e9)


if "CLOCK" in os.environ:
    time.time, time.time_ns = wrong, wrong_ns
    defaults = SharedClock.__init__.__defaults__ or ()  # bound when the class was made
    SharedClock.__init__.__defaults__ = tuple(wrong if each is real else each for each in defaults)
