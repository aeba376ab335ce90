"""When a save is over, by hand; `tests/property/test_saves.py` has what holds of any."""

from datetime import UTC, datetime

import pytest

from homeostat.model.reload import Stamp
from homeostat.rollout.saves import MOST_S, SETTLE_GONE_S, SETTLE_S, Gathering, look, watch

AT = datetime(2026, 1, 5, tzinfo=UTC)


def stamp(number, size=1):
    return Stamp(AT, size, (number,))


def watching(**stamps):
    return watch(Gathering(), stamps)


def test_what_lies_there_at_the_beginning_is_no_save():
    state, save = look(watching(a=stamp(1)), {"a": stamp(1)}, now_s=0)
    assert (save, state.under_way) == (None, False)


def test_a_save_is_over_when_nothing_more_comes():
    state, save = look(watching(a=stamp(1)), {"a": stamp(2)}, now_s=10)
    assert save is None and state.under_way
    state, save = look(state, {"a": stamp(2)}, now_s=10 + SETTLE_S / 2)
    assert save is None
    state, save = look(state, {"a": stamp(2)}, now_s=10.001 + SETTLE_S)
    assert save is not None and (save.files, save.since_s) == ({"a"}, 10)
    assert not state.under_way


def test_a_second_write_begins_the_wait_anew_and_the_save_stays_one():
    state, _ = look(watching(a=stamp(1), b=stamp(1)), {"a": stamp(2), "b": stamp(1)}, now_s=0)
    state, save = look(state, {"a": stamp(2), "b": stamp(2)}, now_s=SETTLE_S * 0.9)
    assert save is None
    state, save = look(state, {"a": stamp(2), "b": stamp(2)}, now_s=SETTLE_S * 1.5)
    assert save is None
    _, save = look(state, {"a": stamp(2), "b": stamp(2)}, now_s=SETTLE_S * 2)
    assert save is not None and save.files == {"a", "b"}


@pytest.mark.parametrize("half", [None, stamp(2, size=0)])
def test_a_file_that_is_gone_or_empty_is_waited_for_longer(half):
    state, _ = look(watching(a=stamp(1)), {"a": half}, now_s=0)
    state, save = look(state, {"a": half}, now_s=SETTLE_GONE_S * 0.9)
    assert save is None
    state, save = look(state, {"a": stamp(3)}, now_s=SETTLE_GONE_S * 0.95)
    assert save is None
    _, save = look(state, {"a": stamp(3)}, now_s=SETTLE_GONE_S * 0.95 + SETTLE_S * 1.01)
    assert save is not None


def test_a_file_that_stays_away_is_a_save_too():
    state, _ = look(watching(a=stamp(1)), {"a": None}, now_s=0)
    _, save = look(state, {"a": None}, now_s=SETTLE_GONE_S)
    assert save is not None


def test_who_writes_without_end_is_not_waited_for():
    state, save, now_s = watching(a=stamp(0)), None, 0.0
    while save is None:
        now_s += SETTLE_S / 2
        state, save = look(state, {"a": stamp(now_s)}, now_s=now_s)
    assert MOST_S <= now_s <= MOST_S + SETTLE_S


def test_a_file_that_is_watched_no_longer_holds_nothing_up():
    state, _ = look(watching(a=stamp(1), b=stamp(1)), {"a": stamp(2), "b": stamp(2)}, now_s=0)
    _, save = look(state, {"b": stamp(2)}, now_s=SETTLE_S)
    assert save is not None and save.files == {"b"}
