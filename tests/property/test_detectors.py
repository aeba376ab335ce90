"""Detectors on any service: what they must not do, whatever was counted."""

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from stretches import CHANGE, stretch, view

from homeostat.model.settings import DetectorSettings
from homeostat.model.vitals import STRETCH_S
from homeostat.rollout.detectors import Fired, Holding, NoEvidence, Quiet, detect

SETTINGS = DetectorSettings(slo_availability=0.9, slo_latency_ms=100)
LENGTH = timedelta(seconds=STRETCH_S)


@st.composite
def counted(draw, most=60):
    """A time of the service: each stretch counted something, or was not watched."""
    found = []
    for _ in range(draw(st.integers(0, 4))):
        requests = draw(st.integers(0, 400))
        errors, slow = draw(st.integers(0, requests)), draw(st.integers(0, requests))
        found += [(requests, errors, slow)] * draw(st.integers(1, most // 4))
        found += [None] * draw(st.integers(0, 20))
    return found


def stretches(start, counts):
    return [
        stretch(start + index * LENGTH, requests=item[0], errors=item[1], slow=item[2])
        for index, item in enumerate(counts)
        if item is not None
    ]


def seen(before, day_ago, after, silent_s=3):
    return view(
        stretches(CHANGE, after),
        before=stretches(CHANGE - timedelta(hours=1), before),
        day_ago=stretches(CHANGE - timedelta(days=1), day_ago),
        now=CHANGE + len(after) * LENGTH + timedelta(seconds=silent_s),
    )


@settings(max_examples=80, deadline=None)
@given(counted(), counted(), counted(), st.sampled_from([3, 30, 3000]))
def test_none_fires_without_a_past_a_present_and_its_grace_time(before, day_ago, after, silent_s):
    found = detect(seen(before, day_ago, after, silent_s), SETTINGS)
    assert [item.name for item in found] == ["health", "health-drop", "slo", "error-rate"]
    past = max(sum(item is not None for item in time) for time in (before, day_ago))
    watched = sum(item is not None for item in after)
    for item in found:
        assert isinstance(item.result, Quiet | Holding | Fired | NoEvidence) and item.result.reason
        if isinstance(item.result, Fired):
            assert past * STRETCH_S >= SETTINGS.baseline_s and watched * STRETCH_S >= SETTINGS.grace_s
            assert silent_s < 3000 and item.result.since >= CHANGE


@settings(max_examples=80, deadline=None)
@given(counted(), counted(), counted(), st.integers(1, 40), st.data())
def test_a_gap_alone_makes_nothing_fire(before, day_ago, after, gap, data):
    """Cut a gap into the time since the change: what did not fire on all that was seen does not fire on less of it."""
    at = data.draw(st.integers(0, len(after)))
    cut = [*after[:at], *[None] * gap]
    short = detect(seen(before, day_ago, after[:at]), SETTINGS)
    for with_gap, without in zip(detect(seen(before, day_ago, cut), SETTINGS), short, strict=True):
        assert not isinstance(with_gap.result, Fired) or isinstance(without.result, Fired)


@settings(max_examples=60, deadline=None)
@given(counted(), st.integers(20, 120))
def test_a_service_that_goes_on_exactly_as_it_was_is_no_harm(hour, length):
    """The same again, for no longer than it was seen before: whatever it suffers, it is used to."""
    hour = hour[:length]
    for item in detect(seen(hour, hour, hour), SETTINGS):
        assert not isinstance(item.result, Fired)
