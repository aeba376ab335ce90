"""Hits that clump within one arm count for less; what both arms suffer, and a harm that stays, do not clump."""

import random
import statistics
from collections.abc import Callable

import pytest

from homeostat.rollout.canary.clumps import Clumps
from homeostat.rollout.canary.harm import Hits

Rates = Callable[[random.Random, int], tuple[float, float]]
"""The canary's and the control's rate in a tick."""


def factor(seed: int, rates: Rates, *, ticks: int = 100) -> float:
    rng, clumps = random.Random(seed), Clumps()
    for tick in range(ticks):
        ours, theirs = rates(rng, tick)
        clumps.add(sum(rng.random() < ours for _ in range(20)), 20, sum(rng.random() < theirs for _ in range(40)), 40)
    return clumps.factor


def median_factor(rates: Rates) -> float:
    return statistics.median(factor(seed, rates) for seed in range(15))


def alike(rng: random.Random, tick: int) -> tuple[float, float]:
    return 0.05, 0.05


def harmed(rng: random.Random, tick: int) -> tuple[float, float]:
    return 0.3, 0.02


def stormy(rng: random.Random, tick: int) -> tuple[float, float]:
    rate = 0.5 if rng.random() < 0.1 else 0.02
    return rate, rate


def harmed_late(rng: random.Random, tick: int) -> tuple[float, float]:
    return (0.4 if tick >= 80 else 0.02), 0.02


def own_bursts(rng: random.Random, tick: int) -> tuple[float, float]:
    return (0.5 if rng.random() < 0.1 else 0.02), (0.5 if rng.random() < 0.1 else 0.02)


def one_bad_worker(rng: random.Random, tick: int) -> tuple[float, float]:
    """Of one arm, every ten ticks for four."""
    return (0.4 if tick % 14 < 4 else 0.02), 0.02


@pytest.mark.parametrize("rates", [alike, harmed, stormy, harmed_late])
def test_what_is_drawn_one_by_one_or_shared_or_stays_does_not_clump(rates: Rates) -> None:
    assert median_factor(rates) < 1.3


@pytest.mark.parametrize("rates", [own_bursts, one_bad_worker])
def test_bad_times_of_one_arm_clump(rates: Rates) -> None:
    assert median_factor(rates) > 1.8


def test_no_hits_and_no_units_say_nothing() -> None:
    clumps = Clumps()
    for _ in range(50):
        clumps.add(0, 10, 0, 10)
        clumps.add(0, 0, 0, 0)
        clumps.add(1, 1, 0, 0)
    assert clumps.factor == 1.0


def test_clumps_divide_what_was_won_and_leave_what_was_lost() -> None:
    for rates in (own_bursts, one_bad_worker, alike):
        rng, hits = random.Random(1), Hits(most=2.3)
        for tick in range(100):
            ours, theirs = rates(rng, tick)
            hits.observe(
                20, 20, sum(rng.random() < ours for _ in range(20)), sum(rng.random() < theirs for _ in range(20))
            )
            assert hits.counts <= max(hits.wager.value, 1.0) * (1 + 1e-9)
            if hits.wager.log_value <= 0:
                assert hits.counts == hits.wager.value
