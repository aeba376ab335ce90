from dataclasses import replace

import pytest
from builders import BASE, NOW, OWNER, proposal

from homeostat.core.ids import CommitId
from homeostat.model.proof import ProofReport, ProofVerdict
from homeostat.model.proposal import FIRST_TITLE, STATUS_OF, Application, ProposalState, Review
from homeostat.model.verdict import Denied
from homeostat.proposals import lifecycle as life

S = ProposalState
COMMIT = CommitId("c" * 40)
APPLICATION = Application(before_commit=BASE, commit=COMMIT, backup="b/x", at=NOW)
REVIEW = Review(by=OWNER.id, at=NOW, decision="approved", change_digest=proposal().change.change_digest)


def report(verdict):
    return ProofReport(verdict=verdict, reasons=("said so",), policy=(), sandbox="bubblewrap")


EVENTS = {
    life.ValidationStarted: life.ValidationStarted(),
    life.Proved: life.Proved(report=report(ProofVerdict.PASSED)),
    life.Approved: life.Approved(review=REVIEW, apply_requested=True),
    life.ApplyAsked: life.ApplyAsked(),
    life.Rejected: life.Rejected(review=replace(REVIEW, decision="rejected", notes="no")),
    life.Deferred: life.Deferred(review=replace(REVIEW, decision="deferred")),
    life.Resumed: life.Resumed(),
    life.Edited: life.Edited(
        by=OWNER.id,
        title="Another title",
        rationale="why",
        evidence=(),
        change=replace(proposal().change, diff_digest="sha256:other"),
        diff="--- other",
        files=("b.py",),
    ),
    life.ApplyStarted: life.ApplyStarted(application=APPLICATION),
    life.WentLive: life.WentLive(detail="swapped"),
    life.RestartNeeded: life.RestartNeeded(detail="an import changed"),
    life.ApplyFailed: life.ApplyFailed(reason="no"),
    life.RestartAsked: life.RestartAsked(request_id="r"),
    life.RestartSeen: life.RestartSeen(),
    life.ObservedWell: life.ObservedWell(reason="well"),
    life.RevertStarted: life.RevertStarted(parent=COMMIT, commit=BASE, reason="asked", automatic=False),
    life.RevertReplanned: life.RevertReplanned(parent=BASE, commit=COMMIT),
    life.RevertWaits: life.RevertWaits(reason="process 7 does not answer"),
    life.Reverted: life.Reverted(detail="seen"),
    life.RevertAborted: life.RevertAborted(reason="moved on"),
    life.Restored: life.Restored(state=S.FAILED, reason="restored"),
}


def at_state(state):
    reverting_from = S.OBSERVING if state is S.REVERTING else None
    return proposal(state=state, application=replace(APPLICATION, reverting_from=reverting_from))


def go(start, *events):
    for event in events:
        outcome = life.step(start, event, at=NOW)
        assert isinstance(outcome, life.Step), outcome
        start = outcome.proposal
    return start


def test_the_table_names_every_event_of_the_life():
    assert set(EVENTS) == set(life.ALLOWED_FROM)


@pytest.mark.parametrize("event", EVENTS.values(), ids=lambda event: type(event).__name__)
@pytest.mark.parametrize("state", list(S))
def test_an_event_happens_exactly_in_the_states_that_allow_it(state, event):
    outcome = life.step(at_state(state), event, at=NOW)
    if state in life.ALLOWED_FROM[type(event)]:
        assert isinstance(outcome, life.Step)
        assert outcome.facts["from"] == state.value
        assert outcome.facts["to"] == outcome.proposal.state.value
        assert outcome.facts["version"] == 2
        assert outcome.proposal.log[-1].endswith(outcome.proposal.state_reason)
    else:
        assert isinstance(outcome, Denied)
        assert outcome.code == "illegal-transition"


def test_the_good_way_from_pending_to_implemented():
    done = go(
        proposal(),
        EVENTS[life.ValidationStarted],
        EVENTS[life.Proved],
        EVENTS[life.Approved],
        EVENTS[life.ApplyStarted],
        EVENTS[life.WentLive],
        EVENTS[life.ObservedWell],
    )
    assert done.state is S.IMPLEMENTED
    assert done.application is not None and done.application.live is True
    assert len(done.log) == 6


@pytest.mark.parametrize("verdict", [ProofVerdict.FAILED, ProofVerdict.INCONCLUSIVE])
def test_a_proof_that_did_not_pass_never_opens_the_way_to_an_approval(verdict):
    assert go(at_state(S.VALIDATING), life.Proved(report=report(verdict))).state is S.BLOCKED


def test_a_restart_begins_the_observation_anew():
    later = go(at_state(S.APPLYING), EVENTS[life.RestartNeeded], EVENTS[life.RestartSeen])
    assert later.state is S.OBSERVING
    assert later.application is not None and later.application.live is False
    assert later.application.observed_from == NOW


@pytest.mark.parametrize("state", [S.OBSERVING, S.AWAITING_RESTART, S.IMPLEMENTED])
def test_an_aborted_revert_goes_back_to_where_it_was_asked(state):
    back = go(at_state(state), EVENTS[life.RevertStarted], EVENTS[life.RevertAborted])
    assert back.state is state
    assert back.application is not None and back.application.revert_commit is None


def test_an_automatic_revert_that_could_not_be_finished_fails_and_may_be_asked_for_again():
    started = life.RevertStarted(parent=COMMIT, commit=BASE, reason="worse", automatic=True)
    failed = go(at_state(S.OBSERVING), started, EVENTS[life.RevertAborted])
    assert failed.state is S.FAILED
    assert go(failed, EVENTS[life.RevertStarted], EVENTS[life.Reverted]).state is S.REVERTED


def test_a_reverted_or_rejected_proposal_moves_no_more_but_by_a_restoration():
    for state in (S.REVERTED, S.REJECTED, S.EXPIRED):
        assert [event for event, states in life.ALLOWED_FROM.items() if state in states] == [life.Restored]


def test_a_resumed_proposal_has_lost_its_old_proof_and_review():
    resumed = go(replace(at_state(S.DEFERRED), proof=report(ProofVerdict.PASSED), review=REVIEW), life.Resumed())
    assert resumed.proof is None and resumed.review is None


def test_a_new_revision_has_nothing_of_what_was_said_of_the_one_before():
    before = replace(
        at_state(S.APPROVED), proof=report(ProofVerdict.PASSED), review=REVIEW, apply_requested=True, application=None
    )
    after = go(before, EVENTS[life.Edited], replace(EVENTS[life.Edited], title="A third"))
    assert (after.state, after.revision, after.proof, after.review, after.apply_requested) == (
        S.PENDING, 3, None, None, False,
    )  # fmt: skip
    assert after.provenance[FIRST_TITLE] == before.title and after.editors == (OWNER.id,)


def test_every_state_has_a_word_on_the_wire():
    assert set(STATUS_OF) == set(S)
