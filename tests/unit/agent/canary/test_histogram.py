"""The buckets of durations, as agent and hub both know them."""

import math

import pytest
from homeostat_agent.canary.histogram import MAX_S, MIN_S, RATIO, bound, index_at, index_of
from hypothesis import given
from hypothesis import strategies as st


@given(st.floats(MIN_S * RATIO, MAX_S))
def test_a_duration_lies_in_its_bucket(seconds):
    index = index_of(seconds)
    # At a bound itself, the last digit of the logarithm decides.
    assert bound(index) * (1 - 1e-12) <= seconds <= bound(index + 1) * (1 + 1e-12)


@pytest.mark.parametrize(
    ("seconds", "like"), [(0.0, MIN_S), (-1.0, MIN_S), (1e-9, MIN_S), (1e9, MAX_S), (math.inf, MAX_S)]
)
def test_beyond_what_a_clock_tells_apart_the_last_bucket_counts(seconds, like):
    assert index_of(seconds) == index_of(like)


@given(st.integers(index_of(MIN_S), index_of(MAX_S)))
def test_a_bound_that_was_sent_leads_back_to_its_bucket(index):
    assert index_at(bound(index)) == index
