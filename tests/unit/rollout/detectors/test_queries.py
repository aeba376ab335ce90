"""A configured query: beyond its threshold for some time, since after the change began."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from homeostat.model.settings import PrometheusQuery
from homeostat.rollout.detectors import Fired, Holding, NoEvidence, Quiet
from homeostat.rollout.detectors.queries import Reading, Unanswered, judge_query, worst

BEGAN = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
ABOVE = PrometheusQuery(name="queue", query="q", above=10, for_s=60)
BELOW = PrometheusQuery(name="stock", query="q", below=2, for_s=60)
BOTH = PrometheusQuery(name="level", query="q", above=10, below=2, for_s=60)
STEP = timedelta(seconds=10)


def said(query, values, before=(1.0 + 2, 3.0, 3.0)):
    """The values after the change, every ten seconds; three before it."""
    told = [*before, *values]
    answer = [Reading(at=BEGAN + (index - 2) * STEP, value=value) for index, value in enumerate(told)]
    return judge_query(query, answer, began_at=BEGAN, until=BEGAN + timedelta(hours=1))


@pytest.mark.parametrize(("query", "bad"), [(ABOVE, 11.0), (BELOW, 1.0), (BOTH, 11.0), (BOTH, 1.0)])
def test_it_fires_when_it_has_been_beyond_for_long_enough(query, bad):
    assert isinstance(said(query, [5.0] * 20), Quiet)
    assert isinstance(said(query, [5.0] + [bad] * 6), Holding)
    fired = said(query, [5.0] + [bad] * 7)
    assert isinstance(fired, Fired) and fired.since == BEGAN + 2 * STEP
    assert fired.figures["value"] == bad and fired.figures["seconds"] == 60


def test_at_the_threshold_is_not_beyond_it():
    assert isinstance(said(ABOVE, [10.0] * 20), Quiet)


def test_what_comes_back_in_between_begins_anew():
    assert isinstance(said(ABOVE, [11.0] * 6 + [5.0] + [11.0] * 6), Holding)


def test_no_value_neither_ends_a_spell_nor_begins_one():
    assert isinstance(said(ABOVE, [11.0, 11.0, None, None, None, None, 11.0, 11.0]), Fired)
    assert isinstance(said(ABOVE, [5.0, None, None, None]), Quiet)


def test_long_silence_is_no_evidence_that_holds_the_change_up():
    for values in ([], [None] * 20, [11.0, *[None] * 20]):
        found = said(ABOVE, values)
        assert isinstance(found, NoEvidence) and found.asks
    assert judge_query(ABOVE, [], began_at=BEGAN, until=BEGAN).asks


def test_silence_is_harm_where_it_is_said_to_be():
    query = replace(ABOVE, silence_is_harm=True)
    fired = said(query, [5.0] + [None] * 8)
    assert isinstance(fired, Fired) and fired.reason.startswith("no value, the threshold is above 10")


def test_what_was_so_before_the_change_is_not_its_doing():
    found = said(ABOVE, [11.0] * 20, before=(3.0, 11.0, 11.0))
    assert isinstance(found, NoEvidence) and "before the change" in found.reason
    assert isinstance(said(ABOVE, [5.0] + [11.0] * 20, before=(3.0, 11.0, 11.0)), Fired)


def test_what_begins_too_late_is_not_its_doing():
    late = said(ABOVE, [5.0] * 400 + [11.0] * 20)
    assert isinstance(late, Quiet) and "too long after" in late.reason


def test_no_answer_is_no_evidence_and_says_why():
    found = judge_query(ABOVE, Unanswered(reason="gone"), began_at=BEGAN, until=BEGAN)
    assert found == NoEvidence(reason="gone", asks=True)


def test_of_several_series_the_worst_counts():
    values = (1.0, 5.0, 30.0)
    assert (worst(ABOVE, values), worst(BELOW, values), worst(BOTH, values)) == (30.0, 1.0, 30.0)
    assert worst(BOTH, (-40.0, 5.0, 30.0)) == -40.0
