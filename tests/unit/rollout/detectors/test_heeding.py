"""What follows from what detectors say: they take back and hold up, and let nothing pass."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from homeostat.core import canonical_json
from homeostat.core.ids import ProposalId
from homeostat.model.proposal import ProposalState
from homeostat.rollout.attribution import Overlap
from homeostat.rollout.course import Ask, GiveBack, Pass, Wait, Widen
from homeostat.rollout.detectors import Detection, Fired, Holding, NoEvidence, Quiet
from homeostat.rollout.detectors.heeding import (
    attribute_harm,
    facts_of,
    first_to_go,
    heed_in_canary,
    heed_when_live,
)
from homeostat.rollout.observation import Continue, Hold, Well, Worse

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
QUIET = Detection(name="health", result=Quiet(reason="well"))
FIRED = Detection(name="slo", result=Fired(since=NOON, reason="bad", figures={"measured": 0.8123456789, "units": 600}))
HOLDING = Detection(name="health-drop", result=Holding(since=NOON, reason="bad for 15 of 60 s"))
BLIND = Detection(name="error-rate", result=NoEvidence(reason="too little was seen"))
ASKING = Detection(name="prometheus:queue", result=NoEvidence(reason="it is gone", asks=True))
COURSES = (
    Wait(reason="w"), Widen(percent=50, reason="w"), Pass(reason="p"), GiveBack(reason="g"), Ask(reason="a"),
)  # fmt: skip
NUMBERS = {"e_value": 1.0, "rate_before": 0.0, "rate_after": 0.0, "tolerated": 0.005, "units": 100}
JUDGEMENTS = tuple(kind(reason="its judge says so", **NUMBERS) for kind in (Continue, Worse, Well, Hold))


def later(state=ProposalState.OBSERVING, since=-60, until=None):
    return Overlap(
        change_id=ProposalId("p-2"), title="Second", state=state, since=NOON + timedelta(seconds=since), until=until
    )


@pytest.mark.parametrize("course", COURSES, ids=lambda one: type(one).__name__)
def test_quiet_and_blind_detectors_leave_a_canary_to_its_judge(course):
    assert heed_in_canary(course, [QUIET, BLIND]) == course
    assert heed_in_canary(course, []) == course


@pytest.mark.parametrize("course", COURSES, ids=lambda one: type(one).__name__)
def test_one_that_fired_gives_a_canary_back_whatever_its_judge_says(course):
    found = heed_in_canary(course, [QUIET, HOLDING, FIRED, ASKING])
    assert found == GiveBack(reason="slo: bad")


@pytest.mark.parametrize("course", COURSES, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("said", [HOLDING, ASKING], ids=lambda one: one.name)
def test_while_one_holds_or_asks_no_canary_goes_on_and_none_is_given_back_for_it(course, said):
    found = heed_in_canary(course, [QUIET, said])
    if isinstance(course, Widen | Pass):
        assert isinstance(found, Wait if said is HOLDING else Ask) and said.result.reason in found.reason
    else:
        assert found == course


@pytest.mark.parametrize("judgement", JUDGEMENTS, ids=lambda one: type(one).__name__)
def test_quiet_and_blind_detectors_leave_a_live_change_to_its_judge(judgement):
    assert heed_when_live(judgement, [QUIET, BLIND]) == judgement


@pytest.mark.parametrize("judgement", JUDGEMENTS, ids=lambda one: type(one).__name__)
def test_one_that_fired_takes_a_live_change_back_whatever_its_judge_says(judgement):
    found = heed_when_live(judgement, [HOLDING, FIRED])
    assert isinstance(found, Worse) and "its judge says so" in found.reason
    assert isinstance(judgement, Worse) or found.reason.startswith("slo: bad")
    assert found.units == judgement.units


@pytest.mark.parametrize("judgement", JUDGEMENTS, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("said", [HOLDING, ASKING], ids=lambda one: one.name)
def test_while_one_holds_or_asks_no_live_change_is_called_well(judgement, said):
    found = heed_when_live(judgement, [said])
    assert isinstance(found, Hold if isinstance(judgement, Well) else type(judgement))


def test_the_ledger_keeps_the_name_and_the_figures_of_the_one_that_fired():
    facts = facts_of([QUIET, FIRED])
    assert facts["detector"]["name"] == "slo"
    assert facts["detector"]["figures"] == {"measured": "0.812346", "units": "600"}
    canonical_json.encode(facts)
    assert facts_of([QUIET, HOLDING]) == {}


def test_harm_that_began_under_a_later_change_lets_that_one_go_first():
    waits = attribute_harm(FIRED.result, [later()])
    assert isinstance(waits, Holding) and "p-2" in waits.reason
    assert first_to_go([QUIET, FIRED], [later()]).change_id == "p-2"
    assert first_to_go([QUIET, HOLDING], [later()]) is None


def test_a_later_change_that_is_being_taken_back_is_waited_for_and_not_asked_twice():
    going = later(state=ProposalState.REVERTING)
    assert isinstance(attribute_harm(FIRED.result, [going]), Holding)
    assert first_to_go([FIRED], [going]) is None


@pytest.mark.parametrize(
    "other",
    [later(since=120), later(until=NOON), later(state=ProposalState.IMPLEMENTED)],
    ids=["live after it began", "taken back", "called well"],
)
def test_a_change_that_cannot_have_done_it_is_not_blamed(other):
    assert attribute_harm(FIRED.result, [other]) == FIRED.result
    assert first_to_go([FIRED], [other]) is None


def test_only_what_fired_is_attributed():
    for item in (QUIET, HOLDING, BLIND, replace(ASKING)):
        assert attribute_harm(item.result, [later()]) == item.result
