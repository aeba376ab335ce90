"""What the process takes of the machine."""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple, Optional
else:
    from homeostat_agent.record import NamedTuple

_CLOCK_WAS_SET_NS = 50_000_000  # more than reading one clock after the other explains


class Moment(NamedTuple):
    """A moment on the clock on the wall, and on the one that nobody sets."""

    unix_ns: int
    monotonic_ns: int

    @classmethod
    def now(cls) -> Moment:
        return cls(time.time_ns(), time.monotonic_ns())

    def start_of_interval(self, start: Moment) -> int:
        """Return when, on the wall, the interval that ends now began: it is as long as it was, whatever was set."""
        length_ns = self.monotonic_ns - start.monotonic_ns
        was_set = abs(self.unix_ns - start.unix_ns - length_ns) > _CLOCK_WAS_SET_NS
        return self.unix_ns - length_ns if was_set else start.unix_ns


class ProcessMeter:
    """CPU since the last reading, and memory now."""

    def __init__(self) -> None:
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        self._cpu_s = time.process_time()
        self._wall_s = time.monotonic()

    def take_cpu(self) -> Optional[float]:
        """Return user and system time of all threads since the last call, as a share of one core (2.0: two cores)."""
        cpu_s, wall_s = time.process_time(), time.monotonic()
        used, passed = cpu_s - self._cpu_s, wall_s - self._wall_s
        self._cpu_s, self._wall_s = cpu_s, wall_s
        return used / passed if passed > 0 else None


def memory_bytes() -> Optional[int]:
    """Return the resident memory. Where there is no ``/proc`` it is the greatest so far, or None."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        pass
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
