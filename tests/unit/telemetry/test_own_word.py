"""What a process may say of itself, and what it may not."""

from datetime import UTC, datetime, timedelta

import pytest

from homeostat.model.vitals import RouteVitals, VitalsTick
from homeostat.telemetry import own_word
from homeostat.telemetry.own_word import MAX_LATE, OwnWord

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ME = "0b9c7b4e-6f2a-4c0f-8e1d-2a4f3c5d6e7f"


def at(seconds):
    return NOW + timedelta(seconds=seconds)


def tick(start_s, end_s, *, requests=10, errors_logged=0, process_id=ME):
    route = RouteVitals(requests=requests, errors=0, latency_ms_sum=1.0, latency_ms_buckets=(0,) * 14)
    return VitalsTick(
        process_id=process_id, start=at(start_s), end=at(end_s), routes={"/": route}, errors_logged=errors_logged
    )


def spans(ticks):
    return [((item.start - NOW).total_seconds(), (item.end - NOW).total_seconds()) for item in ticks]


def test_a_minute_that_the_hub_was_away_for_is_told_afterwards_and_counts():
    told = [tick(second, second + 1) for second in range(-60, 0)]
    assert OwnWord().admit(ME, told, now=NOW) == told


def test_all_that_is_told_is_of_the_one_who_tells_it():
    assert {item.process_id for item in OwnWord().admit(ME, [tick(-1, 0, process_id="another")], now=NOW)} == {ME}


def test_what_was_told_is_not_told_again_nor_otherwise():
    words = OwnWord()
    assert spans(words.admit(ME, [tick(-3, -2), tick(-2, -1)], now=NOW)) == [(-3, -2), (-2, -1)]
    assert words.admit(ME, [tick(-2, -1), tick(-3, -1.5, requests=0), tick(-60, -59)], now=NOW) == []
    assert spans(words.admit(ME, [tick(-3, 0)], now=NOW)) == [(-1, 0)]


def test_the_time_before_a_change_is_not_told_after_it_also_by_a_process_that_was_never_heard_of():
    words = OwnWord()
    assert words.admit(ME, [tick(-3600, -91)], now=NOW) == []
    assert spans(words.admit(ME, [tick(-3600, -1)], now=NOW)) == [(-MAX_LATE.total_seconds(), -1)]


def test_nothing_is_told_of_the_time_to_come():
    words = OwnWord()
    assert spans(words.admit(ME, [tick(-1, 50), tick(50, 55)], now=NOW)) == [(-1, 0)]
    assert spans(words.admit(ME, [tick(0, 1)], now=at(1))) == [(0, 1)]


@pytest.mark.parametrize("words", [{"requests": 100_001}, {"errors_logged": 100_001}, {"requests": 2**53}])
def test_what_no_process_can_do_in_a_second_is_not_believed(words):
    assert OwnWord().admit(ME, [tick(-1, 0, **words)], now=NOW) == []
    assert OwnWord().admit(ME, [tick(-1, 0, **dict.fromkeys(words, 100000))], now=NOW) != []


def test_the_ticks_of_one_process_are_bounded_in_number_and_another_one_still_tells_its_own():
    words = OwnWord()
    flood = [tick(-1 + number / 10_000, -1 + (number + 1) / 10_000) for number in range(9_000)]
    assert len(words.admit(ME, flood, now=NOW)) == 120
    assert words.admit("another", [tick(-1, 0)], now=NOW) != []
    more = [tick(10 + number / 10_000, 10 + (number + 1) / 10_000) for number in range(9_000)]
    assert len(words.admit(ME, more, now=at(11))) == 88


def test_processes_that_come_and_go_leave_nothing_behind(monkeypatch):
    monkeypatch.setattr(own_word, "MAX_PROCESSES", 10)
    words = OwnWord()
    for number in range(100):
        assert words.admit(str(number), [tick(-1, 0)], now=NOW)
    assert len(words._told) == 10
