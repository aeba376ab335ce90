"""Statistics of rare failures that stay valid when they are looked at after every request.

Everything depends on totals only: k failures among n units. The one inequality behind it is Chernoff's
bound for a binomial, in its Kullback-Leibler form: P(X <= k) <= exp(-n KL(k/n || p)) for k/n <= p. It
holds for every n, no table or approximation is needed, and for k = 0 it is exact.
"""

import math
from functools import lru_cache

ALTERNATIVES = 16
"""Rates between the tolerated one and 1 that the mixture bets on, with equal weight."""


def divergence(a: float, b: float) -> float:
    """Return KL(a || b) of two Bernoulli distributions, in nats; infinite where b cannot produce a."""
    total = 0.0
    for x, y in ((a, b), (1 - a, 1 - b)):
        if x > 0:
            total += x * math.log(x / y) if y > 0 else math.inf
    return max(total, 0.0)


@lru_cache(maxsize=512)
def upper_bound(failures: int, units: int, *, alpha: float) -> float:
    """Return a rate that the true one exceeds with probability at most `alpha`.

    The Chernoff bound, inverted: the largest p with n KL(k/n || p) <= ln(1/alpha). Never below the exact
    (Clopper-Pearson) bound, equal to it for k = 0, and 1 where nothing is known.
    """
    if units == 0 or failures >= units:
        return 1.0
    rate, budget = failures / units, math.log(1 / alpha) / units
    low, high = rate, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if divergence(rate, middle) <= budget else (low, middle)
    return high


def e_value(failures: int, units: int, *, tolerated: float) -> float:
    """Return the evidence against "each unit fails with a chance of at most `tolerated`".

    A mixture of likelihood ratios over fixed higher rates. While the hypothesis holds it is a
    non-negative supermartingale that begins at 1, so by Ville's inequality it ever reaches 1/alpha with
    probability at most alpha, however often it is looked at (Ramdas et al., 2023, "Game-theoretic
    statistics and safe anytime-valid inference").
    """
    if not 0 < tolerated < 1 or units == 0:
        return 1.0
    logs = []
    for step in range(1, ALTERNATIVES + 1):
        # Evenly spaced in log odds from the tolerated rate up to far above it.
        odds = math.exp(step * 0.5) * tolerated / (1 - tolerated)
        bet = odds / (1 + odds)
        gain = failures * math.log(bet / tolerated)
        loss = (units - failures) * (math.log1p(-bet) - math.log1p(-tolerated))
        logs.append(gain + loss - math.log(ALTERNATIVES))
    peak = max(logs)
    # Capped where a float ends; nobody needs more evidence than that.
    return math.exp(min(peak + math.log(sum(math.exp(log - peak) for log in logs)), 700.0))


def chance_of_so_few(before: int, units_before: int, after: int, units_after: int) -> float:
    """Return a bound on the chance of at most `after` occurrences, were they as frequent as before.

    Given their sum, the occurrences after are binomial with the share of units that lies after (exact for
    Poisson counts, and it takes into account how little may be known of the time before). Equal to the
    chance itself for none after; 1 where nothing can be said.
    """
    total, units = before + after, units_before + units_after
    if before == 0 or units_before == 0 or units_after == 0:
        return 1.0
    share = units_after / units
    return 1.0 if after / total >= share else math.exp(-total * divergence(after / total, share))
