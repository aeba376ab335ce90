"""Units that ended, by arm and kind of failure."""

from homeostat_agent.canary import counts as limits
from homeostat_agent.canary.counts import MAX_ERROR_TYPES, OTHER, Counts
from homeostat_agent.canary.histogram import bucket_of


def test_units_are_told_by_arm_kind_and_duration_and_only_once():
    counts = Counts()
    for new, kind, seconds in [(True, "", 0.5), (True, "", 0.5), (True, "KeyError", 2.0), (False, "", 1.0)]:
        counts.add((new, kind, seconds, None))
    found = counts.take()
    told = {new: (arm.units, arm.sum_s, arm.buckets, arm.failures) for new, arm in found.items()}
    assert told == {
        True: (3, 3.0, {bucket_of(0.5): 2, bucket_of(2.0): 1}, {"KeyError": 1}),
        False: (1, 1.0, {bucket_of(1.0): 1}, {}),
    }
    assert [arm.units for arm in counts.take().values()] == [0, 0]


def test_kinds_of_failure_are_bounded_and_no_failure_is_lost():
    counts = Counts()
    for number in range(MAX_ERROR_TYPES + 5):
        counts.add((False, f"Error{number}", 1.0, None))
    found = counts.take()[False]
    assert len(found.failures) == MAX_ERROR_TYPES + 1
    assert (found.failures[OTHER], found.units) == (5, MAX_ERROR_TYPES + 5)


def test_users_beyond_the_limit_are_not_counted(monkeypatch):
    monkeypatch.setattr(limits, "MAX_KEYS", 2)
    counts = Counts(keyed=True)
    for point in (0.1, 0.2, 0.3, 0.1):
        counts.add((True, "", 1.0, point))
    assert counts.take()[True].units == 2


def test_what_a_parent_counted_is_cleared():
    counts = Counts(keyed=True)
    counts.add((True, "", 1.0, 0.5))
    counts.take()
    counts.add((True, "", 1.0, 0.6))
    counts.clear()
    found = counts.take()[True]
    assert (found.units, found.at_risk) == (0, 0)
