"""What follows from what the judge of a canary says, and how ticks of several processes come together."""

import pytest

from homeostat.core.errors import InvalidInput
from homeostat.model.canary import ArmTick
from homeostat.model.settings import CanarySettings
from homeostat.rollout.canary import Inconclusive
from homeostat.rollout.course import Judging
from homeostat.testing.example_rows import example_canary_tick

PROCESSES = ("11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222")
NOTHING = ArmTick()
FEW = {"control": ArmTick(units=9, latency={12: 9}), "canary": ArmTick(units=1, latency={12: 1})}


def test_processes_that_count_side_by_side_do_not_make_time_pass_faster():
    judging = Judging(CanarySettings(max_s=60.0))
    for second in range(50):
        for process in PROCESSES:
            judging.feed(example_canary_tick(second + 1.0, process_id=process, **FEW))
    assert not isinstance(judging.verdict, Inconclusive)
    for second in range(50, 70):
        judging.feed(example_canary_tick(second + 1.0, process_id=PROCESSES[0], **FEW))
    assert isinstance(judging.verdict, Inconclusive)


def test_silence_is_as_long_as_the_clock_says_whoever_is_silent():
    judging, alone = Judging(CanarySettings()), Judging(CanarySettings())
    seconds = 0
    while not isinstance(alone.verdict, Inconclusive):
        seconds += 1
        alone.feed(example_canary_tick(seconds, control=NOTHING, canary=NOTHING))
    for second in range(1, seconds):
        for process in PROCESSES:
            judging.feed(example_canary_tick(second, process_id=process, control=NOTHING, canary=NOTHING))
    assert not isinstance(judging.verdict, Inconclusive)


def test_a_tick_that_is_told_late_adds_no_time_but_counts():
    judging = Judging(CanarySettings(max_s=10.0))
    judging.feed(example_canary_tick(9.0))
    for second in range(1, 9):
        judging.feed(example_canary_tick(second, process_id=PROCESSES[1]))
    assert judging.control.units == 9 * 90
    assert not isinstance(judging.verdict, Inconclusive)


def test_what_was_counted_is_told_as_a_copy():
    judging = Judging(CanarySettings())
    judging.feed(example_canary_tick(1.0))
    told = judging.control
    told.add(ArmTick(units=5, failures={"KeyError": 2}))
    assert (judging.control.units, dict(judging.control.failures)) == (90, {"KeyError": 1})


@pytest.mark.parametrize(
    "wrong",
    [
        {"units": -1},
        {"units": 1, "failures": {"KeyError": 2}},
        {"units": 1, "latency": {3: 2}},
        {"units": 1, "latency": {3: -1}},
        {"units": 5, "at_risk": -1},
    ],
)
def test_counts_that_cannot_be_are_no_tick(wrong: dict):
    with pytest.raises(InvalidInput):
        ArmTick(**wrong)


def test_a_process_counts_keys_on_both_arms_or_on_none():
    with pytest.raises(InvalidInput):
        example_canary_tick(1.0, control=ArmTick(units=1, at_risk=1))
    assert example_canary_tick(1.0, control=ArmTick(at_risk=1), canary=ArmTick(at_risk=0))
