"""Which rate of failures is tolerated after a change, by what was seen before it."""

from homeostat.rollout.arms import Count
from homeostat.rollout.sequential import upper_bound

LEAST_TOLERATED = 0.005
"""Failures per unit that are never called worse, also where there were none before."""

LEAST_FAILURES = 3
"""Fewer failures than this are never called worse."""

UNKNOWN_TOLERATED = 0.5
"""What is tolerated where nothing at all was seen before the change."""


def tolerated_rate(before: Count, *, max_rise: float, alpha: float) -> float:
    """Return a rate that a harmless change exceeds with probability at most `alpha`."""
    if before.units == 0:
        return UNKNOWN_TOLERATED
    risen = (1 + max_rise) * before.rate
    return min(max(upper_bound(before.failures, before.units, alpha=alpha), risen, LEAST_TOLERATED), 1.0)
