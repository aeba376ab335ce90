from dataclasses import replace
from datetime import timedelta

import pytest
from builders import BASE, NOW, OWNER, proposal

from homeostat.core.ids import CommitId, ProposalId
from homeostat.model.canary import CanaryStage
from homeostat.model.proof import ProofReport, ProofVerdict
from homeostat.model.proposal import FIRST_TITLE, STATUS_OF, Application, ProposalState, Review
from homeostat.model.verdict import Denied
from homeostat.proposals import events
from homeostat.proposals import lifecycle as life

S = ProposalState
COMMIT = CommitId("c" * 40)
OTHER, LATEST = (ProposalId(f"00000000-0000-4000-8000-00000000000{end}") for end in "ef")
STAGE = CanaryStage(began_at=NOW, percent=10)
APPLICATION = Application(before_commit=BASE, commit=COMMIT, backup="b/x", at=NOW, canary=STAGE)
REVIEW = Review(by=OWNER.id, at=NOW, decision="approved", change_digest=proposal().change.change_digest)


def report(verdict):
    return ProofReport(verdict=verdict, reasons=("said so",), policy=(), sandbox="bubblewrap")


EVENTS = {
    events.ValidationStarted: events.ValidationStarted(),
    events.Proved: events.Proved(report=report(ProofVerdict.PASSED)),
    events.Approved: events.Approved(review=REVIEW, apply_requested=True),
    events.ApplyAsked: events.ApplyAsked(),
    events.Rejected: events.Rejected(review=replace(REVIEW, decision="rejected", notes="no")),
    events.Deferred: events.Deferred(review=replace(REVIEW, decision="deferred")),
    events.Resumed: events.Resumed(),
    events.Edited: events.Edited(
        by=OWNER.id,
        title="Another title",
        rationale="why",
        evidence=(),
        change=replace(proposal().change, diff_digest="sha256:other"),
        diff="--- other",
        files=("b.py",),
    ),
    events.ApplyStarted: events.ApplyStarted(application=APPLICATION),
    events.CanaryStarted: events.CanaryStarted(percent=10, detail="10 % of the calls run it"),
    events.CanaryWidened: events.CanaryWidened(percent=50, reason="no harm"),
    events.CanaryPassed: events.CanaryPassed(reason="as it was", doubt="too few calls"),
    events.CanaryEnded: events.CanaryEnded(reason="asked", automatic=False),
    events.WentLive: events.WentLive(detail="swapped"),
    events.RestartNeeded: events.RestartNeeded(detail="an import changed"),
    events.ApplyFailed: events.ApplyFailed(reason="no"),
    events.RestartAsked: events.RestartAsked(request_id="r"),
    events.RestartSeen: events.RestartSeen(),
    events.ObservedWell: events.ObservedWell(reason="well"),
    events.Accepted: events.Accepted(reason="as it was", doubt="too few requests"),
    events.RevertStarted: events.RevertStarted(parent=COMMIT, commit=BASE, reason="asked", automatic=False),
    events.RevertReplanned: events.RevertReplanned(parent=BASE, commit=COMMIT),
    events.RevertWaits: events.RevertWaits(reason="process 7 does not answer"),
    events.Reverted: events.Reverted(detail="seen"),
    events.RevertAborted: events.RevertAborted(reason="moved on"),
    events.TakenOut: events.TakenOut(by=LATEST),
    events.PutBackIn: events.PutBackIn(by=OTHER),
    events.Restored: events.Restored(state=S.FAILED, reason="restored"),
}


def at_state(state):
    reverting_from = S.OBSERVING if state is S.REVERTING else None
    application = replace(APPLICATION, reverting_from=reverting_from, taken_out_by=OTHER)
    return proposal(state=state, application=application)


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
        assert not outcome.proposal.state_reason.startswith(outcome.proposal.state.value), "said twice"
    else:
        assert isinstance(outcome, Denied)
        assert outcome.code == "illegal-transition"


SEEN = proposal().change.change_digest
TOLD = {
    events.ValidationStarted: ("validating", "policy and tests are running", {}),
    events.Proved: ("validated", "said so", {"verdict": "passed", "sandbox": "bubblewrap"}),
    events.Approved: (
        "approved",
        "by a second pair of eyes",
        {"change_seen": SEEN, "unreviewed": False, "forced": False},
    ),
    events.ApplyAsked: ("apply_asked", "applying was asked", {}),
    events.Rejected: ("rejected", "no", {}),
    events.Deferred: ("deferred", "no reason given", {}),
    events.Resumed: ("resumed", "taken up again", {}),
    events.Edited: ("edited", f"edited by {OWNER.id}: revision 2", {"revision": 2, "base_commit": BASE}),
    events.ApplyStarted: (
        "apply_started",
        "as cccccccccccc; snapshot b/x",
        {"commit": COMMIT, "before": BASE, "backup": "b/x"},
    ),
    events.CanaryStarted: ("canary_started", "10 % of the calls run it", {"percent": 10}),
    events.CanaryWidened: ("canary_widened", "50 % of the calls run it: no harm", {"percent": 50}),
    events.CanaryPassed: ("canary_passed", "as it was (held until then: too few calls)", {"doubt": "too few calls"}),
    events.CanaryEnded: ("canary_ended", "asked", {"automatic": False}),
    events.WentLive: ("went_live", "swapped", {"hmr": "applied", "restart_required": False}),
    events.RestartNeeded: ("needs_restart", "an import changed", {"hmr": "not_available", "restart_required": True}),
    events.ApplyFailed: ("apply_failed", "no", {}),
    events.RestartAsked: ("restart_asked", "a restart was asked for; it is needed because: ", {"request": "r"}),
    events.RestartSeen: ("restarted", "every process was started after the change", {}),
    events.ObservedWell: ("implemented", "well", {}),
    events.Accepted: (
        "accepted",
        "accepted by a person: as it was (held until then: too few requests)",
        {"doubt": "too few requests"},
    ),
    events.RevertStarted: (
        "revert_started",
        "asked",
        {"commit": BASE, "parent": COMMIT, "automatic": False},
    ),
    events.RevertReplanned: (
        "revert_replanned",
        f"said before; on {BASE[:12]}, to which the branch has gone on",
        {"commit": COMMIT, "parent": BASE},
    ),
    events.RevertWaits: ("revert_waits", "process 7 does not answer", {}),
    events.Reverted: ("reverted", "asked for; seen", {}),
    events.RevertAborted: ("revert_aborted", "revert not done: moved on", {}),
    events.TakenOut: (
        "taken_out",
        f"proposal {LATEST} took it out of what was built upon it, and is live",
        {"by": LATEST},
    ),
    events.PutBackIn: ("put_back_in", f"proposal {OTHER}, which had taken it out, was taken back", {"by": OTHER}),
    events.Restored: ("restored", "restored", {"commit": COMMIT, "revert_commit": None}),
}


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_what_the_ledger_and_the_log_are_told_of_an_event(kind):
    """Audits look for these names, and records of years ago hold them: they change with a new format only."""
    start = at_state(min(life.ALLOWED_FROM[kind]))
    application = replace(start.application, revert_reason="asked for")
    start = replace(start, application=application, state_reason="said before")
    outcome = life.step(start, EVENTS[kind], at=NOW)
    name, reason, facts = TOLD[kind]
    base = {
        "from": start.state.value,
        "to": outcome.proposal.state.value,
        "version": start.version + 1,
        "change_digest": outcome.proposal.change.change_digest,
        "diff_digest": outcome.proposal.change.diff_digest,
    }
    assert (outcome.kind, outcome.facts) == (f"proposal.{name}", {**base, **facts})
    assert outcome.proposal.state_reason == reason
    assert outcome.proposal.log == (
        *start.log,
        f"2026-01-02T03:04:05.000+00:00 {outcome.proposal.state.value}: {reason}",
    )
    assert (outcome.proposal.updated_at, outcome.proposal.version) == (NOW, start.version)


LATER, ON_DISK, BACK = (NOW + timedelta(minutes=minutes) for minutes in (60, 50, 55))
FULL = replace(
    APPLICATION,
    live=None,
    live_detail="old",
    processes=("p",),
    on_disk_at=NOW,
    observed_from=NOW,
    restart_id="old",
    restart_asked_at=NOW,
    reverting_at=NOW,
    files_back_at=NOW,
    reverting_from=S.OBSERVING,
    revert_parent=CommitId("d" * 40),
    revert_commit=CommitId("e" * 40),
    revert_reason="old",
    taken_out_by=OTHER,
)
"""Every field holds something, so that whatever an event leaves alone or empties is seen."""

OLD_REVIEW = replace(REVIEW, notes="old")
EDITED = EVENTS[events.Edited]
LEFT = {
    events.ValidationStarted: ({}, {}),
    events.Proved: ({"proof": report(ProofVerdict.PASSED)}, {}),
    events.Approved: ({"review": REVIEW, "apply_requested": True}, {}),
    events.ApplyAsked: ({"apply_requested": True}, {}),
    events.Rejected: ({"review": replace(REVIEW, decision="rejected", notes="no")}, {}),
    events.Deferred: ({"review": replace(REVIEW, decision="deferred")}, {}),
    events.Resumed: ({"review": None, "proof": None}, {}),
    events.Edited: (
        {
            "revision": 2,
            "title": EDITED.title,
            "rationale": EDITED.rationale,
            "evidence": (),
            "change": EDITED.change,
            "diff": EDITED.diff,
            "files": EDITED.files,
            "editors": (OWNER.id,),
            "provenance": {FIRST_TITLE: proposal().title},
            "proof": None,
            "review": None,
            "apply_requested": False,
        },
        {},
    ),
    events.ApplyStarted: ({"application": APPLICATION}, {}),
    events.CanaryStarted: (
        {},
        {
            "live": True,
            "live_detail": "10 % of the calls run it",
            "canary": CanaryStage(began_at=LATER, percent=10),
        },
    ),
    events.CanaryWidened: ({}, {"canary": replace(STAGE, percent=50, widened_at=(LATER,))}),
    events.CanaryPassed: ({}, {"canary": replace(STAGE, passed_at=LATER)}),
    events.CanaryEnded: (
        {},
        {
            "reverting_at": LATER,
            "reverting_from": S.CANARY,
            "revert_reason": "asked",
            "automatic_revert": False,
        },
    ),
    events.WentLive: ({}, {"live": True, "live_detail": "swapped", "on_disk_at": ON_DISK, "observed_from": LATER}),
    events.RestartNeeded: ({}, {"live": False, "live_detail": "an import changed", "on_disk_at": ON_DISK}),
    events.ApplyFailed: ({"apply_requested": False}, {"files_back_at": BACK}),
    events.RestartAsked: ({}, {"restart_id": "r", "restart_asked_at": LATER}),
    events.RestartSeen: ({}, {"observed_from": LATER}),
    events.ObservedWell: ({}, {}),
    events.Accepted: ({}, {}),
    events.RevertStarted: (
        {},
        {
            "reverting_at": LATER,
            "reverting_from": S.AWAITING_RESTART,
            "revert_parent": COMMIT,
            "revert_commit": BASE,
            "revert_reason": "asked",
            "automatic_revert": False,
        },
    ),
    events.RevertReplanned: ({}, {"revert_parent": BASE, "revert_commit": COMMIT}),
    events.RevertWaits: ({}, {"files_back_at": BACK}),
    events.Reverted: ({}, {"files_back_at": BACK}),
    events.TakenOut: (
        {},
        {
            "taken_out_by": LATEST,
            "reverting_at": LATER,
            "reverting_from": min(life.ALLOWED_FROM[events.TakenOut]),
            "revert_reason": f"proposal {LATEST} took it out of what was built upon it, and is live",
        },
    ),
    events.PutBackIn: ({}, {"taken_out_by": None, "reverting_at": None, "reverting_from": None}),
    events.RevertAborted: (
        {},
        {
            "reverting_at": None,
            "reverting_from": None,
            "files_back_at": None,
            "revert_parent": None,
            "revert_commit": None,
        },
    ),
    events.Restored: ({"apply_requested": False}, {}),
}


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_an_event_leaves_this_in_the_row_and_nothing_else(kind, asked):
    event = EVENTS[kind]
    times = {"on_disk_at": ON_DISK, "files_back_at": BACK}
    event = replace(event, **{name: at for name, at in times.items() if hasattr(event, name)})
    start = replace(
        proposal(state=min(life.ALLOWED_FROM[kind]), evidence=("old",), application=FULL),
        review=OLD_REVIEW,
        proof=report(ProofVerdict.FAILED),
        apply_requested=asked,
    )
    after = life.step(start, event, at=LATER).proposal
    row, application = LEFT[kind]
    told = {"state": after.state, "state_reason": after.state_reason, "log": after.log, "updated_at": LATER}
    assert after == replace(start, **{"application": replace(FULL, **application), **row, **told})


def test_an_application_that_never_began_may_fail_and_leaves_none():
    failed = life.step(proposal(state=S.APPROVED, apply_requested=True), EVENTS[events.ApplyFailed], at=NOW).proposal
    assert (failed.state, failed.application, failed.apply_requested) == (S.FAILED, None, False)


def test_a_restoration_keeps_what_the_row_knows_unless_it_brings_its_own():
    lost = life.step(
        replace(at_state(S.APPROVED), review=OLD_REVIEW, application=None), EVENTS[events.Restored], at=NOW
    )
    assert (lost.proposal.review, lost.proposal.application) == (OLD_REVIEW, None)
    own = replace(EVENTS[events.Restored], review=REVIEW, application=FULL)
    found = life.step(replace(at_state(S.APPROVED), review=OLD_REVIEW), own, at=NOW)
    assert (found.proposal.review, found.proposal.application) == (REVIEW, FULL)


def test_an_edit_tells_whether_the_row_says_it_already():
    edited = go(at_state(S.BLOCKED), EDITED)
    assert EDITED.is_as(edited)
    for field, other in (("title", "x"), ("rationale", "x"), ("evidence", ("x",)), ("change", proposal().change)):
        assert not replace(EDITED, **{field: other}).is_as(edited)


def test_a_refusal_names_the_state_and_what_is_not_possible_in_it():
    refused = life.step(at_state(S.REVERTED), events.ApplyAsked(), at=NOW)
    assert refused.reasons == (f"proposal {proposal().id} is reverted: apply asked is not possible now",)


def test_all_that_a_proof_said_is_the_reason():
    said = replace(report(ProofVerdict.FAILED), reasons=("one", "two"))
    assert life.step(at_state(S.VALIDATING), events.Proved(report=said), at=NOW).proposal.state_reason == (
        "failed: one; two"
    )


def test_what_is_done_by_itself_or_alone_is_told_so():
    alone = events.Approved(review=replace(REVIEW, unreviewed=True), apply_requested=False, forced=True)
    told = life.step(proposal(state=S.AWAITING_APPROVAL), alone, at=NOW)
    assert (told.facts["unreviewed"], told.facts["forced"]) == (True, True)
    assert told.proposal.state_reason == "without a second pair of eyes"
    by_itself = replace(EVENTS[events.RevertStarted], automatic=True)
    told = life.step(at_state(S.OBSERVING), by_itself, at=NOW)
    assert told.facts["automatic"] is True and told.proposal.state_reason == "taken back by itself: asked"
    blocked = life.step(proposal(state=S.VALIDATING), events.Proved(report=report(ProofVerdict.FAILED)), at=NOW)
    assert blocked.kind == "proposal.blocked" and blocked.facts["verdict"] == "failed"
    assert blocked.proposal.state_reason == "failed: said so"
    found = life.step(at_state(S.APPLYING), replace(EVENTS[events.Restored], review=REVIEW), at=NOW)
    assert found.kind == "proposal.approved"
    assert {"change_seen": SEEN, "unreviewed": True, "forced": False}.items() <= found.facts.items()


def test_the_good_way_from_pending_to_implemented():
    done = go(
        proposal(),
        EVENTS[events.ValidationStarted],
        EVENTS[events.Proved],
        EVENTS[events.Approved],
        EVENTS[events.ApplyStarted],
        EVENTS[events.WentLive],
        EVENTS[events.ObservedWell],
    )
    assert done.state is S.IMPLEMENTED
    assert done.application is not None and done.application.live is True
    assert len(done.log) == 6


@pytest.mark.parametrize("verdict", [ProofVerdict.FAILED, ProofVerdict.INCONCLUSIVE])
def test_a_proof_that_did_not_pass_never_opens_the_way_to_an_approval(verdict):
    assert go(at_state(S.VALIDATING), events.Proved(report=report(verdict))).state is S.BLOCKED


def test_a_restart_begins_the_observation_anew():
    later = go(at_state(S.APPLYING), EVENTS[events.RestartNeeded], EVENTS[events.RestartSeen])
    assert later.state is S.OBSERVING
    assert later.application is not None and later.application.live is False
    assert later.application.observed_from == NOW


@pytest.mark.parametrize("state", [S.OBSERVING, S.AWAITING_RESTART, S.IMPLEMENTED])
def test_an_aborted_revert_goes_back_to_where_it_was_asked(state):
    back = go(at_state(state), EVENTS[events.RevertStarted], EVENTS[events.RevertAborted])
    assert back.state is state
    assert back.application is not None and back.application.revert_commit is None


def test_an_automatic_revert_that_could_not_be_finished_fails_and_may_be_asked_for_again():
    started = events.RevertStarted(parent=COMMIT, commit=BASE, reason="worse", automatic=True)
    failed = go(at_state(S.OBSERVING), started, EVENTS[events.RevertAborted])
    assert failed.state is S.FAILED
    assert go(failed, EVENTS[events.RevertStarted], EVENTS[events.Reverted]).state is S.REVERTED


def test_a_reverted_or_rejected_proposal_moves_no_more_but_where_git_or_another_proposal_shows_it():
    for state in (S.REVERTED, S.REJECTED, S.EXPIRED):
        assert {event for event, states in life.ALLOWED_FROM.items() if state in states} == {
            events.Restored,
            *([events.PutBackIn] if state is S.REVERTED else []),
        }


def test_a_resumed_proposal_has_lost_its_old_proof_and_review():
    resumed = go(replace(at_state(S.DEFERRED), proof=report(ProofVerdict.PASSED), review=REVIEW), events.Resumed())
    assert resumed.proof is None and resumed.review is None


def test_a_new_revision_has_nothing_of_what_was_said_of_the_one_before():
    before = replace(
        at_state(S.APPROVED), proof=report(ProofVerdict.PASSED), review=REVIEW, apply_requested=True, application=None
    )
    after = go(before, EVENTS[events.Edited], replace(EVENTS[events.Edited], title="A third"))
    assert (after.state, after.revision, after.proof, after.review, after.apply_requested) == (
        S.PENDING, 3, None, None, False,
    )  # fmt: skip
    assert after.provenance[FIRST_TITLE] == before.title and after.editors == (OWNER.id,)


def test_every_state_has_a_word_on_the_wire():
    assert set(STATUS_OF) == set(S)


@pytest.mark.parametrize("by", [None, LATEST])
def test_only_the_one_that_took_a_change_out_puts_it_back_in(by):
    start = proposal(state=S.REVERTED, application=replace(APPLICATION, taken_out_by=by))
    assert isinstance(life.step(start, events.PutBackIn(by=OTHER), at=NOW), Denied)


@pytest.mark.parametrize(
    ("change", "takes_back"),
    [({"title": "Another"}, OTHER), ({"diff_digest": "sha256:other"}, None), ({"base_commit": COMMIT}, None)],
)
def test_only_the_very_diff_that_the_hub_made_takes_another_change_back(change, takes_back):
    start = proposal(state=S.PENDING, takes_back=OTHER)
    moved = {name: value for name, value in change.items() if name != "title"}
    event = replace(
        EDITED,
        title=change.get("title", start.title),
        change=replace(start.change, **moved),
        diff=start.diff,
        files=start.files,
    )
    after = go(start, event)
    assert after.takes_back == takes_back
    assert ("does not count as taking back" in after.state_reason) is (takes_back is None)
