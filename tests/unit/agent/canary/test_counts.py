"""Units that ended, by arm and kind of failure."""

from homeostat_agent.canary.counts import MAX_ERROR_TYPES, OTHER, Counts
from homeostat_agent.canary.histogram import bucket_of


def test_units_are_told_by_arm_kind_and_duration_and_only_once():
    counts = Counts()
    for item in [(True, "", 0.5), (True, "", 0.5), (True, "KeyError", 2.0), (False, "", 1.0)]:
        counts.add(item)
    found = counts.take()
    assert {key: (series.sum_s, series.buckets) for key, series in found.items()} == {
        (True, ""): (1.0, {bucket_of(0.5): 2}),
        (True, "KeyError"): (2.0, {bucket_of(2.0): 1}),
        (False, ""): (1.0, {bucket_of(1.0): 1}),
    }
    assert counts.take() == {}


def test_kinds_of_failure_are_bounded_and_no_failure_is_lost():
    counts = Counts()
    for number in range(MAX_ERROR_TYPES + 5):
        counts.add((False, f"Error{number}", 1.0))
    found = counts.take()
    assert len(found) == MAX_ERROR_TYPES + 1
    assert found[False, OTHER].units == 5


def test_what_a_parent_counted_is_cleared():
    counts = Counts()
    counts.add((True, "", 1.0))
    counts.clear()
    assert counts.take() == {}
