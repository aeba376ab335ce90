"""The judge on any totals: it never forgets what it must not do."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from homeostat.model.settings import ObservationSettings
from homeostat.rollout.arms import Arm, serves
from homeostat.rollout.observation import Continue, Hold, Symptom, Well, Worse, judge, judge_symptom
from homeostat.rollout.tolerance import LEAST_FAILURES, LEAST_TOLERATED

SETTINGS = ObservationSettings(window_s=60)


@st.composite
def arms(draw: st.DrawFn) -> Arm:
    requests = draw(st.integers(0, 10) | st.integers(0, 10**6))
    seconds = draw(st.floats(0, 10**6))
    return Arm(
        requests=requests,
        errors=draw(st.integers(0, requests)),
        seconds=seconds,
        error_seconds=draw(st.integers(0, int(seconds) + 1)),
    )


symptoms = st.none() | st.builds(
    Symptom,
    baseline_occurrences=st.integers(0, 10**5),
    baseline=arms(),
    after_occurrences=st.integers(0, 10**5),
    after=arms(),
)
elapsed = st.floats(0, 10**6)


@settings(max_examples=500)
@given(arms(), arms(), symptoms, elapsed, elapsed, st.booleans())
def test_well_needs_the_window_watched_traffic_a_connection_and_no_rise(
    baseline: Arm, after: Arm, symptom: Symptom | None, elapsed_s: float, watched_s: float, connected: bool
) -> None:
    said = judge(
        baseline=baseline,
        after=after,
        symptom=symptom,
        elapsed_s=elapsed_s,
        watched_s=watched_s,
        settings=SETTINGS,
        connected=connected,
    )
    assert 0 <= said.rate_after <= 1
    assert said.e_value >= 0
    match said:
        case Well():
            assert connected
            assert elapsed_s >= SETTINGS.window_s
            assert watched_s >= 0.9 * SETTINGS.window_s
            assert said.units >= SETTINGS.min_requests
            assert said.e_value < 2 / SETTINGS.false_rollback
            assert symptom is None or judge_symptom(symptom).gone or judge_symptom(symptom).rarer
            if said.rate_after > LEAST_TOLERATED:  # a time before that would have shown it, and did
                units = baseline.requests if serves(baseline, after) else int(baseline.seconds)
                assert units >= SETTINGS.min_requests and units * said.rate_after >= LEAST_FAILURES * 0.999
                assert said.rate_after <= 4 * said.rate_before
        case Worse():
            assert said.rate_after > said.tolerated
        case Continue():
            assert elapsed_s < SETTINGS.window_s
        case Hold():
            assert elapsed_s >= SETTINGS.window_s


@settings(max_examples=300)
@given(arms(), arms(), st.integers(1, 1000))
def test_more_failures_never_make_a_worse_change_better(baseline: Arm, after: Arm, more: int) -> None:
    def worse(arm: Arm) -> bool:
        said = judge(
            baseline=baseline, after=arm, symptom=None, elapsed_s=1, watched_s=1, settings=SETTINGS, connected=True
        )
        return isinstance(said, Worse)

    if worse(after):
        assert worse(replace(after, errors=min(after.errors + more, after.requests)))


@settings(max_examples=300)
@given(arms(), arms())
def test_without_failures_after_it_nothing_is_worse(baseline: Arm, after: Arm) -> None:
    quiet = replace(after, errors=0, error_seconds=0)
    said = judge(
        baseline=baseline, after=quiet, symptom=None, elapsed_s=1, watched_s=1, settings=SETTINGS, connected=True
    )
    assert isinstance(said, Continue)


@settings(max_examples=300)
@given(st.integers(0, 2000), st.integers(1, 10**6), st.floats(0, 1))
def test_failures_that_the_time_before_could_not_have_shown_are_never_called_well(
    before: int, requests: int, share: float
) -> None:
    errors = round(share * requests)
    said = judge(
        baseline=Arm(requests=before, errors=0, seconds=before / 10, error_seconds=0),
        after=Arm(requests=requests, errors=errors, seconds=before / 10, error_seconds=0, serves=True),
        symptom=None,
        elapsed_s=61,
        watched_s=61,
        settings=SETTINGS,
        connected=True,
    )
    assert not isinstance(said, Well) or said.rate_after <= LEAST_TOLERATED
