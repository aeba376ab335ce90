"""Wagers are fair or worse while their hypothesis holds: checked against exact sums over all outcomes."""

import itertools
import math

import pytest

from homeostat.rollout.wagers import KEPT_BACK, ODDS, Wager, exposure_gains, margin_gain, share_gains

SIZES = [(1, 1), (1, 6), (2, 3), (5, 5), (7, 2), (10, 4), (3, 12), (12, 12)]


def draw(ours: int, theirs: int, hits: int, odds: float) -> dict[int, float]:
    """Return the chances of our hits, given all hits, where a unit of ours has so many times the odds of being hit."""
    range_of = range(max(0, hits - theirs), min(hits, ours) + 1)
    weights = {k: math.comb(ours, k) * math.comb(theirs, hits - k) * odds**k for k in range_of}
    whole = sum(weights.values())
    return {k: weight / whole for k, weight in weights.items()}


@pytest.mark.parametrize("tolerated", [1.0, 1.05, 1.5])
@pytest.mark.parametrize(("ours", "theirs"), SIZES)
def test_a_bet_on_hits_gains_nothing_on_average_up_to_the_tolerated_odds(
    ours: int, theirs: int, tolerated: float
) -> None:
    """Exact, for every alternative and every number of hits, at the tolerated odds and below."""
    for hits, odds in itertools.product(range(ours + theirs + 1), {0.5, 1.0, tolerated}):
        means = [0.0] * len(ODDS)
        for our_hits, chance in draw(ours, theirs, hits, odds).items():
            gains = exposure_gains(ours, theirs, hits, our_hits, tolerated=tolerated)
            means = [mean + chance * math.exp(gain) for mean, gain in zip(means, gains, strict=True)]
        assert max(means) <= 1 + 1e-9


@pytest.mark.parametrize("ours", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("tolerated", [1.0, 1.1])
def test_a_bet_on_shares_is_fair_at_the_tolerated_odds_and_worse_below(ours: float, tolerated: float) -> None:
    n = 12
    for odds, fair in ((tolerated, True), (0.8, False)):
        rate = odds * ours / (odds * ours + 1 - ours)
        chances = [math.comb(n, k) * rate**k * (1 - rate) ** (n - k) for k in range(n + 1)]
        gains = [share_gains(ours, 1 - ours, n, k, tolerated=tolerated) for k in range(n + 1)]
        for alternative in range(len(ODDS)):
            mean = sum(chance * math.exp(gain[alternative]) for chance, gain in zip(chances, gains, strict=True))
            assert mean == pytest.approx(1.0) if fair else mean < 1


@pytest.mark.parametrize(("ours", "theirs"), SIZES)
def test_one_more_hit_of_ours_never_lowers_what_is_gained(ours: int, theirs: int) -> None:
    for their_hits, our_hits in itertools.product(range(theirs + 1), range(ours)):
        fewer = exposure_gains(ours, theirs, their_hits + our_hits, our_hits, tolerated=1.05)
        more = exposure_gains(ours, theirs, their_hits + our_hits + 1, our_hits + 1, tolerated=1.05)
        assert all(b >= a - 1e-12 for a, b in zip(fewer, more, strict=True))


@pytest.mark.parametrize("sizes", [(1, 1), (3, 9), (6, 2)])
@pytest.mark.parametrize("guess", [(0.01, 0.01), (0.3, 0.32), (0.05, 0.2)])
@pytest.mark.parametrize("margin", [0.01, 0.1])
def test_a_bet_on_a_margin_gains_nothing_on_average_where_the_harm_is_as_great_or_greater(
    sizes: tuple[int, int], guess: tuple[float, float], margin: float
) -> None:
    """Exact, over both arms' outcomes, at many pairs of rates that the hypothesis allows."""
    units, units_control = sizes
    for control, beyond in itertools.product((0.001, 0.02, 0.3, 0.6), (0.0, 0.05, 0.2)):
        canary = control + margin + beyond
        mean = sum(
            binomial(x, units, canary)
            * binomial(y, units_control, control)
            * math.exp(margin_gain((x, units), (y, units_control), guess=guess, margin=margin))
            for x, y in itertools.product(range(units + 1), range(units_control + 1))
        )
        assert mean <= 1 + 1e-9


def test_units_of_different_rates_do_not_spoil_a_bet_on_a_margin() -> None:
    """Only the mean rate of an arm counts: one unit of the canary fails surely, the others never."""
    mean = sum(
        binomial(y, 4, 0.15) * math.exp(margin_gain((1, 4), (y, 4), guess=(0.05, 0.05), margin=0.1)) for y in range(5)
    )
    assert mean <= 1


def test_nothing_is_bet_on_a_margin_where_the_harm_is_expected_or_an_arm_is_empty() -> None:
    assert margin_gain((3, 10), (1, 10), guess=(0.3, 0.1), margin=0.1) == 0.0
    assert margin_gain((0, 0), (1, 10), guess=(0.1, 0.1), margin=0.1) == 0.0
    assert margin_gain((0, 10), (0, 0), guess=(0.1, 0.1), margin=0.1) == 0.0


def binomial(k: int, n: int, rate: float) -> float:
    return math.comb(n, k) * rate**k * (1 - rate) ** (n - k)


def test_a_wager_starts_at_one_and_stays_there_while_nothing_is_gained_or_lost() -> None:
    wager = Wager()
    for _ in range(50):
        assert wager.value == pytest.approx(1.0)
        wager.bet([0.0] * len(ODDS))


def test_a_wager_that_always_loses_keeps_some_of_what_is_kept_back() -> None:
    wager = Wager()
    for bets in range(1, 30):
        wager.bet([-5.0] * len(ODDS))
        assert wager.value >= KEPT_BACK / (bets + 1)


def test_a_wager_that_lost_at_first_wins_back_from_what_it_kept() -> None:
    """A harm that begins late needs no more than its own evidence, and the logarithm of when it began."""
    late, early = Wager((1.0,)), Wager((1.0,))
    for _ in range(100):
        late.bet((-3.0,))
    for _ in range(20):
        late.bet((1.0,))
        early.bet((1.0,))
    assert early.log_value - late.log_value < math.log(4 / KEPT_BACK) + 2 * math.log(101)


def test_one_bet_wins_no_more_than_the_cap() -> None:
    wager = Wager((1.0,), most=2.0)
    wager.bet((50.0,))
    assert 1.8 < wager.log_value <= 2.0
    assert wager.best == wager.log_value


def test_a_mixture_of_bets_that_stops_when_it_likes_gains_nothing_on_average() -> None:
    """Exact, over all courses of six ticks with one unit an arm and one hit each; it stops once it is ahead by half."""
    mean = 0.0
    for course in itertools.product((0, 1), repeat=6):
        wager = Wager(most=2.0)
        for ours in course:
            wager.bet(exposure_gains(1, 1, 1, ours, tolerated=1.0))
            if wager.value > 1.5:
                break
        mean += wager.value / 2**6
    assert mean <= 1 + 1e-9
