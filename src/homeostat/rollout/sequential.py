"""Statistics of rare failures that stay valid when they are looked at after every request.

Everything depends on totals only: k failures among n units. What is looked at once rests on the exact
binomial distribution; what is asked again and again, on a supermartingale or on Chernoff's bound, in its
Kullback-Leibler form: P(X <= k) <= exp(-n KL(k/n || p)) for k/n <= p, which is exact for k = 0.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

_MOST_TERMS = 20_000

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

    The exact bound of Clopper and Pearson (1934): the largest rate at which so few failures have a
    chance of `alpha`; 1 where nothing is known.
    """
    if units == 0 or failures >= units:
        return 1.0
    low, high = failures / units, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if chance_of_at_most(failures, units, rate=middle) > alpha else (low, middle)
    return high


def chance_of_at_most(failures: int, units: int, *, rate: float) -> float:
    """Return the exact chance of so few failures among the units, each of which fails with this rate.

    The binomial sum as an incomplete beta function, I(1 - rate; units - failures, failures + 1), by its
    continued fraction (DLMF 8.17.22). Where that would take too long, Chernoff's bound, which is never below.
    """
    if failures >= units or rate <= 0:
        return 1.0
    if rate >= 1:
        return 0.0
    a, b, x = float(units - failures), failures + 1.0, 1 - rate
    # The fraction converges quickly on one side of the mean; on the other, the rest to 1 is what it gives.
    if x < (a + 1) / (a + b + 2):
        part = _beta_fraction(a, b, x)
        chance = None if part is None else _beta_front(a, b, x) * part / a
    else:
        part = _beta_fraction(b, a, 1 - x)
        chance = None if part is None else 1 - _beta_front(a, b, x) * part / b
    if chance is None:
        seen = failures / units
        return 1.0 if seen >= rate else math.exp(-units * divergence(seen, rate))
    return min(max(chance, 0.0), 1.0)


def _beta_front(a: float, b: float, x: float) -> float:
    return math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))


def _beta_fraction(a: float, b: float, x: float) -> float | None:
    """Evaluate the continued fraction by Lentz's method; None when it does not settle."""
    tiny = 1e-300
    c, d = 1.0, 1 / ((1 - (a + b) * x / (a + 1)) or tiny)
    total = d
    for m in range(1, _MOST_TERMS):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / ((1 + term * d) or tiny)
            c = (1 + term / c) or tiny
            total *= c * d
        if abs(c * d - 1) < 1e-13:
            return total
    return None


def e_value(failures: int, units: int, *, tolerated: float, spacing: float = 0.5) -> float:
    """Return the evidence against "each unit fails with a chance of at most `tolerated`".

    A mixture of likelihood ratios over fixed higher rates, `spacing` apart in log odds: the smaller, the smaller a rise
    is confirmed in the end, and the later a great one. While the hypothesis holds it is a
    non-negative supermartingale that begins at 1, so by Ville's inequality it ever reaches 1/alpha with
    probability at most alpha, however often it is looked at (Ramdas et al., 2023, "Game-theoretic
    statistics and safe anytime-valid inference").
    """
    if not 0 < tolerated < 1 or units == 0:
        return 1.0
    logs = []
    for step in range(1, ALTERNATIVES + 1):
        # Evenly spaced in log odds from the tolerated rate up to far above it.
        odds = math.exp(step * spacing) * tolerated / (1 - tolerated)
        bet = odds / (1 + odds)
        gain = failures * math.log(bet / tolerated)
        loss = (units - failures) * (math.log1p(-bet) - math.log1p(-tolerated))
        logs.append(gain + loss - math.log(ALTERNATIVES))
    # Capped where a float ends; nobody needs more evidence than that.
    return math.exp(min(log_sum(logs), 700.0))


def log_sum(logs: Sequence[float]) -> float:
    """Return the logarithm of a sum whose terms are given by theirs."""
    peak = max(logs)
    return peak + math.log(sum(math.exp(log - peak) for log in logs))


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
