"""Latencies as the agent counts them: sparse, between bounds that grow by one ratio.

The form is `homeostat_agent.canary.histogram`'s. A shift by `s` buckets is a factor of `RATIO ** s`, so two
distributions can be compared at a tolerated ratio without the single latencies.
"""

import math
from collections.abc import Iterable, Mapping

from homeostat_agent.canary.histogram import RATIO, bucket_of, lower_bound_s


def buckets_of(seconds: Iterable[float]) -> dict[int, int]:
    """Count latencies by bucket."""
    counts: dict[int, int] = {}
    for one in seconds:
        bucket = bucket_of(one)
        counts[bucket] = counts.get(bucket, 0) + 1
    return counts


def buckets_within(ratio: float) -> float:
    """Return how many buckets a ratio spans; a fraction is left to the caller to round to the safe side."""
    return math.log(ratio) / math.log(RATIO)


def quantile_s(counts: Mapping[int, int], at: float) -> float:
    """Return a latency near which this part of the units lies below; 0 where there are none."""
    wanted, below = at * sum(counts.values()), 0
    for bucket in sorted(counts):
        below += counts[bucket]
        if below >= wanted:
            return lower_bound_s(bucket) * math.sqrt(RATIO)
    return 0.0
