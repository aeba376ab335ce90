"""Health is low, health has fallen, an objective is breached: each for longer than the service is used to."""

from dataclasses import replace
from datetime import timedelta

import pytest
from stretches import CHANGE, latency, series, steady, view

from homeostat.model.settings import DetectorSettings
from homeostat.model.vitals import STRETCH_S
from homeostat.rollout.detectors import Fired, Holding, NoEvidence, Quiet, detect
from homeostat.rollout.detectors.service import Pool, count_service

SETTINGS = DetectorSettings()
OBJECTIVES = replace(SETTINGS, slo_availability=0.99)


def said(name, seen, settings=SETTINGS):
    return {item.name: item.result for item in detect(seen, settings)}[name]


def after(errors, **rest):
    return series(CHANGE, errors, **rest)


def test_health_is_the_share_that_neither_failed_nor_was_slow():
    assert Pool(units=100, failures=10, timed=50, slow=5).health == pytest.approx(0.9 * 0.9)
    assert Pool(units=100, failures=10).health == 0.9
    assert Pool().health == 1


def test_a_service_that_fares_as_before_leaves_all_of_them_quiet_or_off():
    words = {item.name: type(item.result) for item in detect(view(after([1, 0, 2, 0] * 60)), SETTINGS)}
    assert words == {"health": Quiet, "health-drop": Quiet, "slo": NoEvidence, "error-rate": Quiet}


def test_switched_off_none_of_them_is_asked():
    assert detect(view(after([300] * 60)), replace(SETTINGS, enabled=False)) == ()


def test_low_health_fires_after_the_grace_time_and_not_before():
    held = said("health", view(after([0] * 4 + [60] * 5)))
    assert isinstance(held, Holding) and held.since == CHANGE + timedelta(seconds=6 * STRETCH_S)
    fired = said("health", view(after([0] * 4 + [60] * 6)))
    assert isinstance(fired, Fired)
    assert (fired.figures["bad"], fired.figures["units"], fired.figures["limit"]) == (240, 1200, 0.9)
    assert "health 0.800 in the last 60 s" in fired.reason


def test_it_says_how_long_it_had_to_look_back_for_enough_requests():
    few = {"before": steady(3600, errors=(0,), until=CHANGE, requests=5), "day_ago": []}
    told = said("health", view(series(CHANGE, [0] * 12, requests=5), **few)).reason
    assert "in the last 90 s" in told
    assert (
        "in the last 105 s"
        in said("health", view(series(CHANGE, [0] * 8 + [None] + [0] * 3, requests=5), **few)).reason
    )


def test_slow_requests_are_bad_health_too():
    fired = said("health-drop", view(after([0] * 8, slow=60)))
    assert isinstance(fired, Fired)
    assert "health 0.800 in the last 60 s (0.0% of requests failed, 20.0% took over 50 ms), the limit" in fired.reason


def test_before_the_first_stretch_is_over_it_is_too_early_and_no_lack_of_requests():
    assert "too early: the first 15 s" in said("health", view(after([]))).reason
    assert "too few requests" in said("health", view(after([0] * 2, requests=1))).reason


def test_what_is_slow_follows_from_the_time_before_unless_there_is_an_objective():
    seen = view(after([0] * 8))
    assert count_service(seen, SETTINGS).yardstick.slow_from == 6  # up to 50 ms, as nearly all took before
    assert count_service(seen, replace(SETTINGS, slo_latency_ms=150)).yardstick.slow_from == 8  # up to 200 ms
    slower_yesterday = view(after([0] * 8), day_ago=steady(7200, start=CHANGE - timedelta(days=1), slow=10))
    assert count_service(slower_yesterday, SETTINGS).yardstick.slow_from == 12


def test_without_latencies_health_is_availability():
    bare = {"latency": latency({})}
    before = [replace(item, **bare) for item in steady(3600, until=CHANGE)]
    now = [replace(item, **bare) for item in after([60] * 8)]
    assert isinstance(said("health", view(now, before=before, day_ago=[])), Fired)
    assert isinstance(said("health", view(after([0] * 8), before=before, day_ago=[])), Quiet)


def test_a_service_that_was_ill_before_is_judged_by_its_fall_alone():
    ill = {"before": steady(3600, errors=(45,), until=CHANGE), "day_ago": []}
    same = view(after([45] * 20), **ill)
    assert "already" in said("health", same).reason and isinstance(said("health", same), NoEvidence)
    assert isinstance(said("health-drop", same), Quiet)
    assert isinstance(said("health-drop", view(after([90] * 20), **ill)), Fired)


def test_the_worse_of_yesterday_and_the_hour_before_is_what_it_falls_from():
    usual = view(after([45] * 20), day_ago=steady(7200, errors=(42,), start=CHANGE - timedelta(days=1)))
    assert isinstance(said("health-drop", usual), Quiet)
    assert isinstance(said("health-drop", view(after([45] * 20), day_ago=[])), Fired)


def test_a_spell_as_long_as_one_before_the_change_is_waited_for():
    """A service with bad times of its own: one of three minutes was seen in the hour before."""
    before = series(CHANGE - timedelta(hours=1), [0] * 100 + [90] * 12 + [0] * 128)
    held = said("health", view(after([90] * 16), before=before))
    assert isinstance(held, Holding) and "up to 195 s before the change" in held.reason
    assert isinstance(said("health", view(after([90] * 18), before=before)), Fired)


def test_a_spell_that_ended_is_over():
    assert isinstance(said("health", view(after([90] * 8 + [0] * 4))), Quiet)


@pytest.mark.parametrize("gap", [1, 10, 40])
def test_a_gap_is_neither_health_nor_harm(gap):
    """Nothing was told for some time: the spell goes on after it, and is no longer by it."""
    held = said("health", view(after([90, 90, *[None] * gap, 90])))
    assert isinstance(held, Holding) and "for 45 of 60 s" in held.reason
    fired = said("health", view(after([90, 90, *[None] * gap, 90, 90])))
    assert isinstance(fired, Fired) and fired.figures["seconds"] == 60


def test_a_gap_that_lasts_holds_what_was_bad_and_is_no_evidence_where_nothing_was():
    later = CHANGE + timedelta(minutes=10)
    bad = said("health", view(after([90, 90]), now=later))
    assert isinstance(bad, Holding) and "bad before" in bad.reason
    good = said("health", view(after([0, 0]), now=later))
    assert isinstance(good, NoEvidence) and "no requests for" in good.reason


def test_too_few_requests_tell_no_health():
    few = said("health", view(after([1] * 8, requests=1)))
    assert isinstance(few, NoEvidence) and "at least 30" in few.reason


def test_few_requests_are_pooled_over_some_minutes():
    slow_traffic = view(after([2] * 40, requests=5), before=steady(3600, errors=(0,), requests=5, until=CHANGE))
    assert isinstance(said("health", slow_traffic), Fired)


def test_without_a_past_nothing_is_said():
    for before in ([], steady(120, until=CHANGE)):
        for name in ("health", "health-drop", "error-rate"):
            found = said(name, view(after([300] * 20), before=before, day_ago=[]))
            assert isinstance(found, NoEvidence) and "before the change" in found.reason


def test_what_begins_too_long_after_the_change_is_not_its_own():
    calm = [0] * 250
    late = said("health", view(after(calm + [90] * 10)))
    assert isinstance(late, Quiet) and "too long after" in late.reason
    widened = (CHANGE, CHANGE + timedelta(minutes=50))
    assert isinstance(said("health", view(after(calm + [90] * 10), steps=widened)), Fired)


def test_a_worker_that_serves_nothing_is_judged_by_its_seconds():
    def seconds(start, count, bad):
        return [replace(item, error_seconds=bad) for item in series(start, [0] * count, requests=0)]

    before = seconds(CHANGE - timedelta(hours=1), 240, 0)
    assert isinstance(said("health", view(seconds(CHANGE, 20, 9), before=before, day_ago=[])), Fired)


def test_an_objective_that_was_met_is_breached_within_five_minutes_of_the_change():
    fired = said("slo", view(after([0] * 8 + [15] * 20)), OBJECTIVES)
    assert isinstance(fired, Fired) and fired.reason.startswith("availability 0.950")
    late = said("slo", view(after([0] * 24 + [15] * 20)), OBJECTIVES)
    assert isinstance(late, Quiet) and "too long after" in late.reason


def test_an_objective_that_was_missed_before_blames_nobody():
    missed = view(after([15] * 20), before=steady(3600, errors=(6,), until=CHANGE))
    found = said("slo", missed, OBJECTIVES)
    assert isinstance(found, NoEvidence) and "already" in found.reason


def test_an_objective_of_latency_counts_what_takes_longer():
    wanted = replace(SETTINGS, slo_latency_ms=100, slo_latency_share=0.95)
    fired = said("slo", view(after([0] * 12, slow=60)), wanted)
    assert isinstance(fired, Fired) and "share within 100 ms 0.800" in fired.reason
    assert isinstance(said("slo", view(after([0] * 12, slow=6)), wanted), Quiet)


def test_of_two_objectives_the_one_that_is_worse_off_is_told():
    wanted = replace(OBJECTIVES, slo_latency_ms=100)
    found = said("slo", view(after([15] * 20, slow=3)), wanted)
    assert isinstance(found, Fired) and "availability" in found.reason
    found = said("slo", view(after([0] * 20, slow=60)), wanted)
    assert isinstance(found, Fired) and "share within" in found.reason


@pytest.mark.parametrize(("name", "off"), [("health", {"health": 0.0}), ("health-drop", {"health_drop": 1.0})])
def test_each_can_be_switched_off_alone_and_says_so(name, off):
    found = said(name, view(after([300] * 20)), replace(SETTINGS, **off))
    assert isinstance(found, NoEvidence) and found.reason.startswith("off: ")
