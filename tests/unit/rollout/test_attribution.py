"""Which of several changes answers for harm, from the judgements alone."""

from dataclasses import replace
from datetime import timedelta

import pytest

from homeostat.core.ids import ProposalId
from homeostat.model.proposal import ProposalState
from homeostat.model.vitals import VitalsTick
from homeostat.rollout.attribution import Overlap, attribute, outside, times_outside
from homeostat.rollout.observation import Continue, Hold, Judgement, Well, Worse
from homeostat.testing.example_rows import START

S = ProposalState
SEEN = {"e_value": 1.0, "rate_before": 0.0, "rate_after": 0.1, "tolerated": 0.01, "units": 50}
WORSE = Worse(reason="harm", **SEEN)
OTHERS = [Continue(reason="so far", **SEEN), Well(reason="well", **SEEN), Hold(reason="unknown", **SEEN)]


def overlap(number: int, state: ProposalState, *, until: float | None = None) -> Overlap:
    return Overlap(
        change_id=ProposalId(f"00000000-0000-4000-8000-00000000000{number}"),
        title=f"Change {number}",
        state=state,
        since=START + timedelta(seconds=number * 10),
        until=None if until is None else START + timedelta(seconds=until),
    )


@pytest.mark.parametrize("whole", [WORSE, *OTHERS])
@pytest.mark.parametrize("state", [S.APPLYING, S.CANARY, S.OBSERVING, S.REVERTING, S.IMPLEMENTED])
def test_harm_in_the_time_of_its_own_is_its_own(whole: Judgement, state: ProposalState):
    found = attribute(whole, WORSE, [overlap(1, state)])
    assert (found.judgement, found.first) == (WORSE, None)


@pytest.mark.parametrize("whole", OTHERS)
def test_without_harm_nobody_answers_for_anything(whole: Judgement):
    found = attribute(whole, OTHERS[0], [overlap(1, S.OBSERVING)])
    assert (found.judgement, found.first) == (whole, None)


def test_of_several_that_are_under_way_the_last_goes_first():
    found = attribute(WORSE, OTHERS[0], [overlap(1, S.OBSERVING), overlap(2, S.CANARY), overlap(3, S.IMPLEMENTED)])
    assert found.first is not None and found.first.change_id == overlap(2, S.CANARY).change_id
    assert isinstance(found.judgement, Continue) and "Change 2" in found.judgement.reason


def test_one_that_is_on_its_way_back_is_waited_for():
    found = attribute(WORSE, OTHERS[0], [overlap(1, S.OBSERVING), overlap(2, S.REVERTING)])
    assert found.first is None and isinstance(found.judgement, Continue)


def test_where_all_later_ones_are_decided_the_one_that_is_watched_answers():
    later = [overlap(1, S.IMPLEMENTED), overlap(2, S.REVERTED, until=30)]
    assert attribute(WORSE, OTHERS[0], later).judgement == WORSE
    assert attribute(WORSE, OTHERS[0], later[1:]).judgement == WORSE


def test_only_ticks_that_lie_wholly_outside_are_left():
    def tick(start: float, end: float) -> VitalsTick:
        at = [START + timedelta(seconds=one) for one in (start, end)]
        return VitalsTick(process_id="p", start=at[0], end=at[1], routes={}, errors_logged=0)

    ticks = [tick(8, 10), tick(9.5, 10.5), tick(12, 13), tick(29.5, 30.5), tick(30, 31)]
    ended = overlap(1, S.REVERTED, until=30)
    assert outside(ticks, [ended]) == [ticks[0], ticks[4]]
    assert outside(ticks, [replace(ended, until=None)]) == [ticks[0]]
    assert outside(ticks, []) == ticks


@pytest.mark.parametrize(
    ("cut", "left"),
    [
        ([], [(5, 60)]),
        ([(10, 20)], [(5, 10), (20, 60)]),
        ([(10, 30), (20, 25)], [(5, 10), (30, 60)]),
        ([(20, 40), (10, 30)], [(5, 10), (40, 60)]),
        ([(10, 20), (20, 30)], [(5, 10), (30, 60)]),
        ([(0, 20)], [(20, 60)]),
        ([(50, None)], [(5, 50)]),
        ([(50, 90), (95, 99)], [(5, 50)]),
        ([(0, 90)], []),
    ],
)
def test_of_a_time_is_left_what_no_other_change_ran_in(cut, left):
    def at(seconds: float):
        return START + timedelta(seconds=seconds)

    overlaps = [replace(overlap(1, S.REVERTED, until=end), since=at(begin)) for begin, end in cut]
    assert times_outside(at(5), at(60), overlaps) == [(at(begin), at(end)) for begin, end in left]
