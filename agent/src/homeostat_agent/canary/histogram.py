"""The form of a latency distribution: counts in buckets whose bounds grow by one ratio, empty ones left out.

Shared by the agent, which counts, and the hub, which judges. A quantile read from it is off by at most the ratio.
"""

from __future__ import annotations

from math import floor, log

RATIO = 1.05
MIN_S = 1e-6
"""What took less counts as this: no clock of ours tells shorter times apart."""

MAX_S = 1e5

_LOG_RATIO = log(RATIO)


def index_of(seconds: float) -> int:
    """Return the bucket of a duration: the i-th reaches from ``RATIO ** i`` seconds to ``RATIO ** (i + 1)``."""
    return floor(log(min(max(seconds, MIN_S), MAX_S)) / _LOG_RATIO)


def bound(index: int) -> float:
    """Return where this bucket begins, in seconds, and the one before it ends."""
    return float(RATIO**index)


def index_at(edge: float) -> int:
    """Return the bucket that begins at this bound: the inverse of `bound`."""
    return round(log(edge) / _LOG_RATIO)
