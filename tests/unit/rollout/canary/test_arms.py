"""Ticks are made of plain numbers, and refuse what cannot have been counted."""

import math

import pytest

from homeostat.core.errors import InvalidInput
from homeostat.model.latency import quantile_s
from homeostat.rollout.canary import ArmTick, CanaryTick, arm_tick, together


def test_milliseconds_and_seconds_are_the_same_tick() -> None:
    assert arm_tick(latencies_ms=[1.5, 20, 20]) == arm_tick(latencies_s=[0.0015, 0.02, 0.02])
    assert arm_tick(latencies_ms=[1.5, 20, 20]).units == 3


def test_failures_are_a_number_or_numbers_by_type() -> None:
    assert arm_tick(units=5, failures=2).failed == 2
    tick = arm_tick(units=5, failures={"KeyError": 1, "ValueError": 2, "OSError": 0})
    assert tick.failed == 3 and tick.failures == {"KeyError": 1, "ValueError": 2}


@pytest.mark.parametrize("bad", [math.nan, -1.0])
def test_a_latency_that_is_none_is_refused(bad: float) -> None:
    with pytest.raises(InvalidInput):
        arm_tick(latencies_ms=[1.0, bad])


def test_what_cannot_have_been_counted_is_refused() -> None:
    for make in (
        lambda: arm_tick(units=-1),
        lambda: arm_tick(units=3, failures=4),
        lambda: arm_tick(units=1, failures={"KeyError": -1}),
        lambda: arm_tick(units=1, latencies_ms=[1, 2]),
        lambda: arm_tick(latencies_ms=[1], latencies_s=[1]),
        lambda: ArmTick(units=3, failures={"KeyError": 2}, at_risk=1),
        lambda: CanaryTick(control=ArmTick(), canary=ArmTick(), share=1.5),
        lambda: CanaryTick(control=ArmTick(), canary=ArmTick(), seconds=-1),
        lambda: CanaryTick(control=ArmTick(), canary=ArmTick(), seconds=math.inf),
        lambda: CanaryTick(control=ArmTick(at_risk=3), canary=ArmTick()),
    ):
        with pytest.raises(InvalidInput):
            make()


def test_a_key_may_fail_in_a_later_tick_than_the_one_it_was_counted_in() -> None:
    assert ArmTick(units=0, failures={"KeyError": 1}, at_risk=40).exposed == 40


def test_the_ticks_of_several_processes_are_one() -> None:
    one, other = (
        arm_tick(latencies_ms=[1, 2], failures={"KeyError": 1}),
        arm_tick(latencies_ms=[2], failures={"OSError": 1}),
    )
    assert together([one, other]) == arm_tick(latencies_ms=[1, 2, 2], failures={"KeyError": 1, "OSError": 1})
    assert together([]) == ArmTick()
    assert together([ArmTick(units=1, at_risk=4), ArmTick(units=0, at_risk=3)]) == ArmTick(units=1, at_risk=7)
    with pytest.raises(InvalidInput):
        together([ArmTick(units=1, at_risk=4), one])


def test_a_quantile_is_told_to_within_a_bucket() -> None:
    tick = arm_tick(latencies_ms=range(1, 1001))
    assert quantile_s(tick.latency, 0.5) == pytest.approx(0.5, rel=0.05)
    assert quantile_s(tick.latency, 0.99) == pytest.approx(0.99, rel=0.05)
    assert quantile_s({}, 0.5) == 0.0
