"""The hub's clock on a machine whose own clock is set, forwards and back."""

from datetime import timedelta

import pytest

from homeostat.adapters.clock import HubClock, SystemClock
from homeostat.testing.example_rows import START, MachineTime

HOUR = timedelta(hours=1)


def clock_of(machine):
    return HubClock(machine_time=machine.wall, monotonic_s=machine.monotonic_s)


def seconds(span):
    return span.total_seconds()


def test_it_is_the_machines_clock_as_long_as_nobody_sets_that():
    machine = MachineTime()
    clock = clock_of(machine)
    for _ in range(5):
        machine.spend(100)
        assert clock.now() == machine.wall()
        assert clock.lead() == timedelta(0)


def test_a_step_forward_is_followed():
    machine = MachineTime()
    clock = clock_of(machine)
    machine.set_by(HOUR)
    assert clock.now() == machine.wall()
    assert clock.lead() == timedelta(0)


@pytest.mark.parametrize("by", [timedelta(seconds=-1), -HOUR, timedelta(days=-400)])
def test_when_the_machines_clock_is_set_back_time_goes_on(by):
    machine = MachineTime()
    clock = clock_of(machine)
    machine.spend(10)
    before = clock.now()
    machine.set_by(by)
    assert clock.now() == before
    assert clock.lead() == -by
    machine.spend(30)
    assert seconds(clock.now() - before) == pytest.approx(30, rel=0.02)


def test_what_is_stamped_after_the_step_is_later_than_what_was_stamped_before():
    machine = MachineTime()
    clock = clock_of(machine)
    machine.spend(10)
    before = clock.now()
    machine.set_by(-HOUR)
    machine.spend(1)
    stamped = machine.wall()
    machine.spend(1)
    assert before < min(stamped + clock.lead(), clock.now()) <= clock.now()


def test_a_clock_that_was_wrong_for_a_while_and_is_put_right_leaves_no_lead():
    machine = MachineTime()
    clock = clock_of(machine)
    machine.set_by(-HOUR)
    clock.now()
    machine.spend(5)
    machine.set_by(HOUR)
    assert clock.now() == machine.wall()
    assert clock.lead() == timedelta(0)


def test_a_lead_is_given_up_by_and_by_without_going_back():
    machine = MachineTime()
    clock = clock_of(machine)
    machine.set_by(timedelta(seconds=-10))
    last = clock.now()
    for _ in range(2000):
        machine.spend(1)
        now = clock.now()
        assert now > last
        last = now
    assert clock.lead() == timedelta(0)
    assert clock.now() == machine.wall()


def test_a_hub_that_starts_on_a_clock_that_was_set_back_goes_on_from_what_is_known():
    machine = MachineTime(START - HOUR)
    clock = clock_of(machine)
    clock.not_before(START)
    assert clock.now() == START
    assert clock.lead() == HOUR
    clock.not_before(START - HOUR)
    assert clock.now() == START


def test_the_clock_of_a_command_is_the_machines():
    assert SystemClock().lead() == timedelta(0)
