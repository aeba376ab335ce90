"""The error rate rises by more than a quarter: confirmed by units and by stretches, against both references."""

import random
from dataclasses import replace
from datetime import timedelta

from stretches import CHANGE, series, steady, view

from homeostat.model.settings import DetectorSettings
from homeostat.rollout.detectors import Fired, Holding, NoEvidence, Quiet, detect
from homeostat.rollout.detectors.errors import rank_evidence

SETTINGS = DetectorSettings()
YESTERDAY = CHANGE - timedelta(days=1)


def said(seen, settings=SETTINGS):
    return {item.name: item.result for item in detect(seen, settings)}["error-rate"]


def after(errors, **rest):
    return series(CHANGE, errors, **rest)


def test_a_rise_from_a_quarter_of_a_percent_to_two_is_confirmed():
    fired = said(view(after([6, 5, 7, 6] * 8)))
    assert isinstance(fired, Fired), fired
    assert fired.figures["e_value_units"] > 200 and fired.figures["e_value_stretches"] > 100
    assert "2.00% of requests failed in the last 285 s, 0.25% before" in fired.reason


def test_it_says_so_where_it_had_to_look_back_to_the_change():
    """Nothing was watched for a while: the requests of the last five minutes are too few."""
    told = said(view(after([6, 5, 7, 6] * 8 + [None] * 18 + [0])), replace(SETTINGS, min_requests=400)).reason
    assert "failed in the last 765 s" in told


def test_a_rise_that_is_plain_and_not_confirmed_yet_is_not_passed_over_in_silence():
    told = said(view(after([270])))
    assert isinstance(told, Quiet)
    assert "90.00% of requests failed" in told.reason and "too few or too uneven to confirm it" in told.reason
    assert "confirm" not in said(view(after([1]))).reason


def test_it_is_held_for_the_grace_time():
    long = replace(SETTINGS, grace_s=3600)
    assert isinstance(said(view(after([6, 5, 7, 6] * 8)), long), Holding)


def test_a_rise_of_less_than_a_quarter_is_none():
    before = {"before": steady(3600, errors=(28, 32, 30, 30), until=CHANGE), "day_ago": []}
    assert isinstance(said(view(after([34, 36, 35, 35] * 50), **before)), Quiet)
    assert isinstance(said(view(after([60, 58, 62, 60] * 50), **before)), Fired)


def test_what_was_so_at_the_same_hours_of_yesterday_is_no_rise():
    usual = steady(7200, errors=(6, 5, 7, 6), start=YESTERDAY)
    assert isinstance(said(view(after([6, 5, 7, 6] * 20), day_ago=usual)), Quiet)


def test_storms_of_a_kind_that_came_before_are_no_rise():
    """By units alone each of them would be: 200 of 300 requests fail, in one stretch of ten."""
    storms = [0] * 9 + [200]
    stormy = {"before": series(CHANGE - timedelta(hours=1), storms * 24), "day_ago": []}
    assert isinstance(said(view(after([200] + [0] * 9 + storms * 4), **stormy)), Quiet)


def test_a_past_without_errors_tolerates_half_a_percent_where_it_was_long_and_more_where_it_was_short():
    long = {"before": steady(3600, errors=(0,), until=CHANGE), "day_ago": []}
    assert isinstance(said(view(after([1, 2, 1, 1] * 50), **long)), Quiet)  # 0.42 %
    assert isinstance(said(view(after([4, 5, 4, 4] * 50), **long)), Fired)
    short = {"before": steady(600, errors=(0,), requests=2, until=CHANGE), "day_ago": []}
    assert not isinstance(said(view(after([4, 5, 4, 4] * 50), **short)), Fired)


def test_one_error_after_none_is_nothing():
    quiet = {"before": steady(3600, errors=(0,), requests=10, until=CHANGE), "day_ago": []}
    assert isinstance(said(view(after([0] * 40 + [1], requests=10), **quiet)), Quiet)


def test_a_rise_that_went_back_is_over():
    assert isinstance(said(view(after([60] * 20 + [1, 0, 2, 0] * 10))), Quiet)


def test_without_traffic_there_is_no_rate():
    found = said(view(after([60] * 4), now=CHANGE + timedelta(minutes=30)))
    assert isinstance(found, NoEvidence)


def test_harm_that_begins_with_a_later_step_is_found_as_well():
    later = CHANGE + timedelta(minutes=50)
    assert isinstance(said(view(after([1, 0, 2, 0] * 50 + [6, 5, 7, 6] * 20), steps=(CHANGE, later))), Fired)


def test_the_evidence_of_ranks_reaches_a_hundred_once_in_a_hundred_where_nothing_changes():
    """Storms, heavy tails: whatever the rates are, as long as the stretches could stand in any order."""
    rng = random.Random(7)
    confirmed = 0
    for _ in range(200):
        rates = [(CHANGE, rng.paretovariate(0.7)) for _ in range(300)]
        since, _ = rank_evidence([rate for _, rate in rates[:150]], rates[150:], rise=0.0, alpha=0.05)
        confirmed += since is not None
    assert confirmed <= 21  # of 200 at 5 %: more come once in 700 times
