"""Latencies as sparse counts between bounds that grow by one ratio: small on the wire, and exact at every bound.

Bucket `i` counts what took at least `RATIO ** i` and less than `RATIO ** (i + 1)` seconds. A shift by `s` buckets is
a factor of `RATIO ** s`, so two distributions can be compared at a tolerated ratio without the single latencies.
"""

import math
from collections.abc import Iterable, Mapping

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


def buckets_of(seconds: Iterable[float]) -> dict[int, int]:
    """Count latencies by bucket."""
    counts: dict[int, int] = {}
    for one in seconds:
        bucket = bucket_of(one)
        counts[bucket] = counts.get(bucket, 0) + 1
    return counts


def buckets_within(ratio: float) -> float:
    """Return how many buckets a ratio spans; a fraction is left to the caller to round to the safe side."""
    return math.log(ratio) / _LOG_RATIO


def quantile_s(counts: Mapping[int, int], at: float) -> float:
    """Return a latency near which this part of the units lies below; 0 where there are none."""
    wanted, below = at * sum(counts.values()), 0
    for bucket in sorted(counts):
        below += counts[bucket]
        if below >= wanted:
            return lower_bound_s(bucket) * math.sqrt(RATIO)
    return 0.0
