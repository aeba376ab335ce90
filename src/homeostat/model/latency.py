"""Latencies as sparse counts between bounds that grow by one ratio: small on the wire, and exact at every bound.

Bucket `i` counts what took at least `RATIO ** i` and less than `RATIO ** (i + 1)` seconds. A shift by `s` buckets is
a factor of `RATIO ** s`, so two distributions can be compared at a tolerated ratio without the single latencies.
The agent counts by the same buckets.
"""

import math
from collections.abc import Iterable, Mapping

from homeostat_agent.canary.histogram import LEAST_BUCKET, MOST_BUCKET, RATIO, bucket_of, lower_bound_s

__all__ = [
    "LEAST_BUCKET",
    "MOST_BUCKET",
    "RATIO",
    "bucket_of",
    "buckets_of",
    "buckets_within",
    "lower_bound_s",
    "quantile_s",
]

_LOG_RATIO = math.log(RATIO)


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
