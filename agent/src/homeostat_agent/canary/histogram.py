"""The form of a latency distribution: counts between bounds that grow by one ratio, empty buckets left out.

Bucket `i` counts what took at least `RATIO ** i` and less than `RATIO ** (i + 1)` seconds. Shared by the agent,
which counts, and the hub, which judges (`homeostat.model.latency`).
"""

from __future__ import annotations

import math

RATIO = 1.05
_LOG_RATIO = math.log(RATIO)

LEAST_BUCKET = -284
"""What took less than a microsecond is counted here."""

MOST_BUCKET = 233
"""What took longer than a day is counted here."""


def bucket_of(seconds: float) -> int:
    """Return the bucket of one latency; zero and less are in the least one, infinity in the last."""
    if seconds <= 0:
        return LEAST_BUCKET
    if math.isinf(seconds):
        return MOST_BUCKET
    return min(max(math.floor(math.log(seconds) / _LOG_RATIO), LEAST_BUCKET), MOST_BUCKET)


def lower_bound_s(bucket: int) -> float:
    """Return from how many seconds on a latency is in this bucket, or in a later one."""
    return math.exp(bucket * _LOG_RATIO)


def bucket_at(bound_s: float) -> int:
    """Return the bucket that begins at this bound: the inverse of `lower_bound_s`."""
    return round(math.log(bound_s) / _LOG_RATIO)
