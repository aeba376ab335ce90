"""How long a promotion takes is said beforehand, and that it never comes as well."""

import math
import statistics

import pytest

from homeostat.rollout.canary import ArmTick, JudgeSettings, Promote, Quantile, arm_tick, time_to_promote
from homeostat.testing.services import Kind, play, service

SEEN = arm_tick(units=10_000, failures=100)
"""One in a hundred failed; latencies were not counted."""


def test_the_forecast_is_near_what_it_takes() -> None:
    """Half of harmless canaries, within a factor of two."""
    seen = _counted_before(Kind.STEADY)
    said = time_to_promote(seen, units_per_s=100, share=0.5)
    runs = [play(service(Kind.STEADY, seed=seed, share=0.5), ticks=300) for seed in range(15)]
    assert all(isinstance(run.verdict, Promote) for run in runs)
    took_s = statistics.median(run.ticks for run in runs)
    assert took_s / 2 < said.seconds < took_s * 2
    assert said.canary_units == pytest.approx(said.seconds * 50)
    assert f"{said.seconds:,.0f} s" in said.reason and said.waits_for in said.reason


def _counted_before(kind: Kind) -> ArmTick:
    tick = next(iter(service(kind, seed=99, units=20_000, share=0.0)))
    return tick.control


def test_more_traffic_takes_less_time_and_as_many_units() -> None:
    one, ten = (time_to_promote(SEEN, units_per_s=units, share=0.1) for units in (10, 100))
    assert one.seconds == pytest.approx(10 * ten.seconds)
    assert one.canary_units == pytest.approx(ten.canary_units)
    assert one.waits_for == "failures"


def test_more_failures_take_more_units() -> None:
    rare, often = (time_to_promote(arm_tick(units=1000, failures=k), units_per_s=10, share=0.1) for k in (1, 200))
    assert often.canary_units > 5 * rare.canary_units


def test_a_service_without_failures_waits_for_the_least_number_of_units() -> None:
    said = time_to_promote(arm_tick(units=10**6), units_per_s=100, share=0.01)
    assert said.waits_for in ("units", "failures") and said.canary_units >= 200


@pytest.mark.parametrize(("units_per_s", "share"), [(0, 0.1), (100, 0.0), (100, 1.0)])
def test_it_never_ends_without_units_in_both_arms(units_per_s: float, share: float) -> None:
    said = time_to_promote(SEEN, units_per_s=units_per_s, share=share)
    assert not said.reachable and said.reason.startswith("never: ")


def test_a_quantile_of_which_too_little_is_known_is_never_shown() -> None:
    said = time_to_promote(ArmTick(units=100, latency={0: 100}), units_per_s=10, share=0.1)
    assert said.waits_for == "p99" and math.isinf(said.seconds)


def test_a_margin_that_is_nothing_beside_how_latencies_vary_takes_very_long() -> None:
    """Evenly spread in their logarithm over four powers of ten, and a margin of one bucket."""
    wide = ArmTick(units=2000, latency=dict.fromkeys(range(-200, 0), 10))
    strict = JudgeSettings(quantiles=(Quantile(at=0.99, tolerated=1.0, margin=1.06),))
    said = time_to_promote(wide, units_per_s=10, share=0.1, settings=strict)
    assert said.waits_for == "p99" and said.seconds > 3600


def test_a_horizon_that_is_too_short_is_said() -> None:
    said = time_to_promote(SEEN, units_per_s=0.05, share=0.1)
    assert said.reachable and said.reason.startswith("not within 3,600 s: ")
