"""What the process takes of the machine."""

from __future__ import annotations

import os
import sys
import time
from typing import Optional


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
