"""The statistics behind the judge, checked against exact sums."""

import math

import pytest

from homeostat.model.settings import ObservationSettings
from homeostat.rollout import sequential
from homeostat.rollout.arms import Count
from homeostat.rollout.sequential import chance_of_at_most, chance_of_so_few, divergence, e_value, upper_bound
from homeostat.rollout.tolerance import tolerated_rate


def binomial(k: int, n: int, p: float) -> float:
    return math.comb(n, k) * p**k * (1 - p) ** (n - k)


@pytest.mark.parametrize("alpha", [0.005, 0.05, 0.1])
@pytest.mark.parametrize(("k", "n"), [(0, 1), (0, 30), (1, 30), (7, 30), (29, 30), (5, 400), (200, 400)])
def test_the_upper_bound_is_one(k: int, n: int, alpha: float) -> None:
    """At the bound, a count as low as the one seen has a chance of alpha, not less and not more."""
    bound = upper_bound(k, n, alpha=alpha)
    assert k / n < bound < 1
    assert sum(binomial(i, n, bound) for i in range(k + 1)) == pytest.approx(alpha, rel=1e-6)


@pytest.mark.parametrize("n", [1, 10, 1000])
def test_without_failures_the_upper_bound_is_exact(n: int) -> None:
    assert upper_bound(0, n, alpha=0.05) == pytest.approx(1 - 0.05 ** (1 / n), abs=1e-9)


@pytest.mark.parametrize(("k", "n"), [(0, 0), (3, 3), (1, 1)])
def test_where_nothing_succeeded_the_upper_bound_is_one(k: int, n: int) -> None:
    assert upper_bound(k, n, alpha=0.05) == 1.0


@pytest.mark.parametrize("rate", [0.001, 0.02, 0.3, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("n", [1, 2, 30, 500])
def test_the_chance_of_at_most_so_many_is_the_binomial_sum(n: int, rate: float) -> None:
    total = 0.0
    for k in range(n):
        total += binomial(k, n, rate)
        assert chance_of_at_most(k, n, rate=rate) == pytest.approx(min(total, 1.0), rel=1e-9, abs=1e-150)
    assert chance_of_at_most(n, n, rate=rate) == 1.0


def test_the_chance_at_the_ends_of_the_scale() -> None:
    assert chance_of_at_most(3, 10, rate=0.0) == 1.0 and chance_of_at_most(3, 10, rate=1.0) == 0.0
    assert chance_of_at_most(0, 0, rate=0.5) == 1.0
    assert chance_of_at_most(10**6, 10**7, rate=0.1) == pytest.approx(0.5, abs=0.001)


def test_a_chance_that_takes_too_long_is_bounded_from_above(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = chance_of_at_most(10, 100, rate=0.2)
    monkeypatch.setattr(sequential, "_MOST_TERMS", 2)
    assert exact < chance_of_at_most(10, 100, rate=0.2) < 0.1
    assert chance_of_at_most(30, 100, rate=0.2) == 1.0


@pytest.mark.parametrize("tolerated", [0.005, 0.1, 0.5, 0.97])
@pytest.mark.parametrize("n", [1, 7, 60])
def test_the_evidence_is_one_on_average_at_the_tolerated_rate_and_less_below(n: int, tolerated: float) -> None:
    def mean(p: float) -> float:
        return sum(binomial(k, n, p) * e_value(k, n, tolerated=tolerated) for k in range(n + 1))

    assert mean(tolerated) == pytest.approx(1.0)
    assert mean(tolerated / 2) < 1.0


@pytest.mark.parametrize(("tolerated", "units", "alpha"), [(0.02, 400, 0.05), (0.3, 300, 0.05), (0.005, 400, 0.01)])
def test_the_chance_of_ever_crossing_stays_below_alpha(tolerated: float, units: int, alpha: float) -> None:
    """Exact: the chances of all counts are carried from unit to unit, and those that crossed are taken out."""
    chances, crossed = {0: 1.0}, 0.0
    for n in range(1, units + 1):
        after: dict[int, float] = {}
        for k, chance in chances.items():
            after[k] = after.get(k, 0.0) + chance * (1 - tolerated)
            after[k + 1] = after.get(k + 1, 0.0) + chance * tolerated
        over = [k for k in after if e_value(k, n, tolerated=tolerated) >= 1 / alpha]
        crossed += sum(after.pop(k) for k in over)
        chances = {k: chance for k, chance in after.items() if chance > 1e-12}
    assert 0 < crossed <= alpha


@pytest.mark.parametrize(("before", "rate"), [(28, 0.1), (60, 0.02), (200, 0.05)])
def test_bound_and_test_together_take_a_harmless_change_back_with_a_chance_of_at_most_alpha(
    before: int, rate: float
) -> None:
    """Exact, over whatever was seen before and over a watch of 250 units that is asked after each of them."""
    alpha, taken_back = 0.05, 0.0
    settings = ObservationSettings(false_rollback=alpha)
    for known in range(before + 1):
        chance = binomial(known, before, rate)
        if chance > 1e-6:
            tolerated = tolerated_rate(Count(units=before, failures=known), max_rise=settings.max_rise, alpha=alpha / 2)
            taken_back += chance * ever_crossed(rate, tolerated, units=250, alpha=alpha / 2)
    assert 0 < taken_back <= alpha


def ever_crossed(rate: float, tolerated: float, *, units: int, alpha: float) -> float:
    chances, crossed, least = {0: 1.0}, 0.0, 1
    for n in range(1, units + 1):
        after: dict[int, float] = {}
        for k, chance in chances.items():
            after[k] = after.get(k, 0.0) + chance * (1 - rate)
            after[k + 1] = after.get(k + 1, 0.0) + chance * rate
        while least <= n and e_value(least, n, tolerated=tolerated) < 1 / alpha:
            least += 1
        crossed += sum(after.pop(k) for k in list(after) if k >= least)
        chances = {k: chance for k, chance in after.items() if chance > 1e-12}
    return crossed


@pytest.mark.parametrize("tolerated", [0.0, 1.0, -1.0])
def test_there_is_no_evidence_against_what_cannot_be_tested(tolerated: float) -> None:
    assert e_value(5, 10, tolerated=tolerated) == 1.0
    assert e_value(0, 0, tolerated=0.1) == 1.0


def test_overwhelming_evidence_is_a_number_all_the_same() -> None:
    assert math.isfinite(e_value(10**6, 10**6, tolerated=0.005))
    assert e_value(0, 10**7, tolerated=0.5) >= 0.0


@pytest.mark.parametrize(
    ("k0", "n0", "k1", "n1"), [(3, 100, 0, 100), (10, 50, 2, 100), (40, 400, 10, 300), (5, 9, 1, 90)]
)
def test_the_chance_of_so_few_bounds_the_exact_one(k0: int, n0: int, k1: int, n1: int) -> None:
    share = n1 / (n0 + n1)
    exact = sum(binomial(k, k0 + k1, share) for k in range(k1 + 1))
    bound = chance_of_so_few(k0, n0, k1, n1)
    assert exact <= bound * (1 + 1e-9)
    if k1 == 0:
        assert bound == pytest.approx(exact)


@pytest.mark.parametrize(
    ("k0", "n0", "k1", "n1"), [(0, 10, 0, 10), (3, 0, 0, 10), (3, 10, 0, 0), (1, 10, 1, 10), (1, 10, 9, 10)]
)
def test_nothing_follows_from_nothing(k0: int, n0: int, k1: int, n1: int) -> None:
    assert chance_of_so_few(k0, n0, k1, n1) == 1.0


def test_divergence_of_the_impossible_is_infinite() -> None:
    assert divergence(0.5, 0.0) == math.inf
    assert divergence(0.3, 0.3) == 0.0
