"""The switch interval is ours only while we work, and the host's own at every other moment."""

import sys
import threading

import pytest
from homeostat_agent.haste import HELD_S, HURRIED_S, Haste


def interval_s():
    return round(sys.getswitchinterval(), 6)


@pytest.fixture
def haste():
    usual = sys.getswitchinterval()
    sys.setswitchinterval(0.004)
    yield Haste()
    sys.setswitchinterval(usual)


def test_each_pace_ends_with_the_one_before(haste):
    with haste.hurried():
        assert interval_s() == HURRIED_S
        haste.hold()
        assert interval_s() == HELD_S
        with haste.relaxed():
            assert interval_s() == 0.004
        assert interval_s() == HELD_S
        with haste.hurried():
            assert interval_s() == HURRIED_S
            haste.hold()
        assert interval_s() == HELD_S
        with haste.relaxed(), haste.hurried():
            assert interval_s() == HURRIED_S
    assert interval_s() == 0.004


def test_an_exception_gives_the_interval_back(haste):
    with pytest.raises(KeyError), haste.hurried():
        haste.hold()
        raise KeyError
    assert interval_s() == 0.004


@pytest.mark.parametrize("pace", ["none", "relaxed"])
def test_nothing_is_held_outside_of_hurried(haste, pace):
    if pace == "none":
        haste.hold()
        assert interval_s() == 0.004
        return
    with haste.hurried(), haste.relaxed():
        haste.hold()
        assert interval_s() == 0.004


def test_a_wait_outside_of_hurried_leaves_nothing_behind(haste):
    with haste.relaxed():
        assert interval_s() == 0.004
    assert interval_s() == 0.004


@pytest.mark.parametrize("hold", [False, True])
def test_an_interval_that_the_host_sets_meanwhile_stands(haste, hold):
    with haste.hurried():
        if hold:
            haste.hold()
        sys.setswitchinterval(0.007)
        haste.hold()
        assert interval_s() == 0.007
    assert interval_s() == 0.007


def test_a_host_that_takes_shorter_turns_keeps_to_them_and_one_that_takes_longer_ones_when_held(haste):
    sys.setswitchinterval(0.0001)
    with haste.hurried():
        assert interval_s() == 0.0001
    assert interval_s() == 0.0001
    sys.setswitchinterval(0.5)
    with haste.hurried():
        assert interval_s() == HURRIED_S
        haste.hold()
        assert interval_s() == 0.5
    assert interval_s() == 0.5


def test_no_microsecond_gets_lost_however_often_it_is_set(haste):
    sys.setswitchinterval(0.0001)
    for _ in range(10):
        with haste.hurried():
            haste.hold()
    assert interval_s() == 0.0001


def test_a_forked_child_gets_the_hosts_interval_back(haste):
    pace = haste.hurried()
    pace.__enter__()  # by a thread that is not there any more
    haste.hold()
    haste.end()
    assert interval_s() == 0.004


def test_other_threads_have_a_turn_before_it_is_held(haste):
    turns, ready, stop = [], threading.Event(), threading.Event()

    def work():
        ready.set()
        while not stop.is_set():
            turns.append(None)

    thread = threading.Thread(target=work)
    thread.start()
    ready.wait(10)
    try:
        for _ in range(50):
            with haste.hurried():
                before = len(turns)
                haste.hold()
                if len(turns) > before:
                    break
        assert len(turns) > before
    finally:
        stop.set()
        thread.join(10)
