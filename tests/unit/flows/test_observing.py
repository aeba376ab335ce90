from dataclasses import replace
from datetime import timedelta

import pytest
from otlp_samples import RECORD, logs

from homeostat.core.errors import InvalidInput
from homeostat.flows.applying import request_apply
from homeostat.flows.ingesting import ingest_logs
from homeostat.flows.observing import accept, observe
from homeostat.flows.proposing import Submission, submit
from homeostat.flows.reverting import request_revert
from homeostat.model.finding import AGENTS, FindingState
from homeostat.model.proposal import Proposal, ProposalState
from homeostat.model.verdict import Denied
from homeostat.rollout.observation import Hold, judge_symptom
from homeostat.testing.fake_live import Misbehaviour
from homeostat.testing.memory_repository import SimulatedDeath
from homeostat.testing.world import BOT, DIFF, MENDED, OWNER, PROCESS, SOURCE, World, file

S = ProposalState


def applied(world, *, finding_id=""):
    mend = Submission(title="Mend", rationale="why", diff=DIFF, finding_id=finding_id)
    proposal = submit(world.deps, mend, actor=BOT)
    world.run()
    request_apply(world.deps, proposal.id, actor=OWNER, seen=None)
    world.run()
    return world.deps.proposals.get(proposal.id)


def look(world, proposal):
    observe(world.deps, proposal.id)
    world.run()
    return world.deps.proposals.get(proposal.id)


def disk(world):
    return world.repository.disk["shop.py"].content.decode()


def test_a_harmful_change_is_taken_back_everywhere_before_the_window_is_over():
    world = World()
    world.serve(seconds=30, requests=50, errors=0)
    proposal = applied(world)
    world.serve(seconds=5, requests=50, errors=10)
    after = look(world, proposal)
    assert after.state is S.REVERTED
    assert after.application.automatic_revert
    assert disk(world) == world.live.source(PROCESS, "shop.py") == SOURCE


def test_a_change_that_was_taken_back_is_locked_out():
    world = World()
    world.serve(seconds=30, requests=50, errors=0)
    proposal = applied(world)
    world.serve(seconds=5, requests=50, errors=10)
    look(world, proposal)
    again = submit(world.deps, Submission(title="Again", rationale="why", diff=DIFF), actor=BOT)
    assert isinstance(again, Denied) and again.code == "locked-out"


def test_a_harmless_change_is_implemented_only_when_the_window_is_over():
    world = World()
    world.serve(seconds=30, requests=50, errors=1)
    proposal = applied(world)
    world.serve(seconds=40, requests=50, errors=1)
    assert look(world, proposal).state is S.OBSERVING
    world.serve(seconds=30, requests=50, errors=1)
    assert look(world, proposal).state is S.IMPLEMENTED


def test_silence_is_never_health():
    world = World()
    world.serve(seconds=30, requests=50, errors=1)
    proposal = applied(world)
    world.serve(seconds=120, requests=0, errors=0)
    assert look(world, proposal).state is S.OBSERVING


def test_a_person_calls_well_what_the_evidence_leaves_open_and_it_stays_on_record():
    world = World()
    world.serve(seconds=30, requests=50, errors=0)
    proposal = applied(world)
    world.serve(seconds=120, requests=0, errors=0)
    held = observe(world.deps, proposal.id).judgement
    assert isinstance(held, Hold)
    with pytest.raises(InvalidInput):
        accept(world.deps, proposal.id, actor=OWNER, reason=" ")
    refused = accept(world.deps, proposal.id, actor=BOT, reason="mine")
    assert isinstance(refused, Denied) and refused.code == "not-a-person"
    done = accept(world.deps, proposal.id, actor=OWNER, reason="nobody orders at night")
    assert isinstance(done, Proposal) and done.state is S.IMPLEMENTED
    assert "nobody orders at night" in done.state_reason and held.reason in done.state_reason
    entry = list(world.deps.ledger.entries())[-1]
    assert (entry.kind, entry.actor, entry.body["doubt"]) == ("proposal.accepted", OWNER.id, held.reason)
    again = accept(world.deps, proposal.id, actor=OWNER, reason="twice")
    assert isinstance(again, Denied) and again.code == "illegal-transition"


@pytest.mark.parametrize("errors", [0, 10])
def test_nobody_cuts_a_watch_short_or_keeps_what_does_harm(errors):
    world = World()
    world.serve(seconds=30, requests=50, errors=0)
    proposal = applied(world)
    world.serve(seconds=5, requests=50, errors=errors)
    refused = accept(world.deps, proposal.id, actor=OWNER, reason="I like it")
    assert isinstance(refused, Denied) and refused.code == "not-held"
    assert look(world, proposal).state is (S.REVERTED if errors else S.OBSERVING)


def serve_failing(world, *, seconds, every):
    """Serve; one request of each `every`-th second fails (0: none does) and is told of."""
    for second in range(seconds):
        failed = bool(every) and second % every == 0
        world.serve(seconds=1, requests=50, errors=int(failed))
        if failed:
            at_ns = int((world.clock.now().timestamp() - 0.5) * 1e9)
            ingest_logs(world.deps, logs(RECORD | {"timeUnixNano": str(at_ns)}), source=AGENTS)


@pytest.mark.parametrize(
    ("every", "symptom", "state"),
    [
        (1, "still there", FindingState.OPEN),
        (2, "still there", FindingState.OPEN),
        (10, "rarer", FindingState.RESOLVED),
        (0, "gone", FindingState.RESOLVED),
    ],
)
def test_who_accepts_a_change_closes_its_finding_only_where_the_evidence_does(every, symptom, state):
    world = World()
    serve_failing(world, seconds=30, every=2)
    (finding,) = world.deps.findings.findings()
    proposal = applied(world, finding_id=finding.id)
    serve_failing(world, seconds=70, every=every)
    world.live.lose(PROCESS)  # which holds it whatever became of the symptom
    seen = observe(world.deps, proposal.id)
    assert isinstance(seen.judgement, Hold) and judge_symptom(seen.symptom).reason.startswith(symptom)
    assert accept(world.deps, proposal.id, actor=OWNER, reason="it is right").state is S.IMPLEMENTED
    assert world.deps.findings.get_finding(finding.id).state is state
    kinds = [entry.kind for entry in world.deps.ledger.entries()]
    assert ("finding.resolved" in kinds) is (state is FindingState.RESOLVED)


def test_who_accepts_a_change_after_silence_leaves_its_finding_open():
    world = World()
    serve_failing(world, seconds=30, every=2)
    (finding,) = world.deps.findings.findings()
    proposal = applied(world, finding_id=finding.id)
    world.serve(seconds=120, requests=0, errors=0)
    assert accept(world.deps, proposal.id, actor=OWNER, reason="nobody orders at night").state is S.IMPLEMENTED
    assert world.deps.findings.get_finding(finding.id).state is FindingState.OPEN


def test_a_service_that_nobody_asked_before_or_after_is_not_well_and_says_what_it_waits_for():
    world = World()
    world.serve(seconds=30, requests=0, errors=0, serves=True)
    proposal = applied(world)
    world.serve(seconds=120, requests=0, errors=0, serves=True)
    seen = observe(world.deps, proposal.id)
    assert isinstance(seen.judgement, Hold)
    assert "waits for requests" in seen.judgement.reason
    assert look(world, proposal).state is S.OBSERVING
    world.serve(seconds=5, requests=50, errors=0, serves=True)
    assert look(world, proposal).state is S.IMPLEMENTED


def test_a_worker_that_serves_no_requests_is_judged_by_its_seconds():
    world = World()
    world.serve(seconds=30, requests=0, errors=0)
    proposal = applied(world)
    world.serve(seconds=70, requests=0, errors=0)
    assert look(world, proposal).state is S.IMPLEMENTED


def test_a_program_that_is_gone_is_not_well():
    world = World()
    world.serve(seconds=30, requests=50, errors=0)
    proposal = applied(world)
    world.serve(seconds=70, requests=50, errors=0)
    world.live.lose(PROCESS)
    assert look(world, proposal).state is S.OBSERVING


def test_the_errors_before_an_earlier_change_settled_are_no_baseline():
    world = World()
    world.serve(seconds=30, requests=50, errors=25)
    first = applied(world)
    world.serve(seconds=70, requests=50, errors=0)
    assert look(world, first).state is S.IMPLEMENTED
    diff = DIFF.replace("-    return PRICES[coupon]", "-    return PRICES.get(coupon, 0)").replace(
        "+    return PRICES.get(coupon, 0)", "+    return PRICES.get(coupon, 1)"
    )
    second = submit(world.deps, Submission(title="Harm", rationale="why", diff=diff), actor=BOT)
    world.run()
    request_apply(world.deps, second.id, actor=OWNER, seen=None)
    world.run()
    world.serve(seconds=5, requests=50, errors=10)
    assert look(world, second).state is S.REVERTED


def test_a_revert_puts_back_bytes_branch_and_process():
    world = World()
    proposal = applied(world)
    assert isinstance(request_revert(world.deps, proposal.id, actor=OWNER, reason="changed my mind"), Proposal)
    world.run()
    after = world.deps.proposals.get(proposal.id)
    assert after.state is S.REVERTED and "changed my mind" in after.state_reason
    assert disk(world) == world.live.source(PROCESS, "shop.py") == SOURCE
    assert world.repository.at(world.repository.branches["main"]).parent == proposal.application.commit


def test_a_revert_where_the_tree_has_moved_on_is_refused_and_names_the_file():
    world = World()
    proposal = applied(world)
    world.repository.user_commit({"shop.py": file(MENDED + "# mine\n")}, at=world.clock.now())
    outcome = request_revert(world.deps, proposal.id, actor=OWNER, reason="")
    assert isinstance(outcome, Denied) and outcome.code == "tree-moved-on"
    assert "shop.py" in outcome.reasons[0]
    assert disk(world) == MENDED + "# mine\n"


def test_a_revert_under_a_later_change_of_the_same_file_names_it_and_the_order():
    world = World()
    first = applied(world)
    later_diff = (
        "--- a/shop.py\n+++ b/shop.py\n@@ -1,5 +1,5 @@\n def price(coupon):\n"
        "-    return PRICES.get(coupon, 0)\n+    return PRICES.get(coupon, 1)\n \n \n PRICES = {'A': 1}\n"
    )
    later = submit(world.deps, Submission(title="One at least", rationale="why", diff=later_diff), actor=BOT)
    assert isinstance(later, Proposal)
    world.run()
    world.clock.move(timedelta(seconds=1))
    request_apply(world.deps, later.id, actor=OWNER, seen=None)
    world.run()
    outcome = request_revert(world.deps, first.id, actor=OWNER, reason="")
    assert isinstance(outcome, Denied) and outcome.code == "tree-moved-on"
    assert f"proposal {later.id} (One at least) was applied to it later" in "; ".join(outcome.reasons)
    assert f"`homeostat revert {later.id[:8]}`, `homeostat revert {first.id[:8]}`" in outcome.hint
    for proposal in (later, first):
        assert isinstance(request_revert(world.deps, proposal.id, actor=OWNER, reason=""), Proposal)
        world.run()
    assert disk(world) == SOURCE, "the hint is the way"


def test_a_process_that_was_started_with_a_changed_data_file_is_named_for_a_restart():
    world = World()
    world.repository.user_commit({"prices.json": file("1\n")}, at=world.clock.now())
    diff = "--- a/prices.json\n+++ b/prices.json\n@@ -1 +1 @@\n-1\n+2\n"
    proposal = submit(world.deps, Submission(title="Prices", rationale="why", diff=diff), actor=BOT)
    world.run()
    request_apply(world.deps, proposal.id, actor=OWNER, seen=None)
    world.run()
    assert world.deps.proposals.get(proposal.id).state is S.AWAITING_RESTART
    world.live.end(PROCESS)
    world.clock.move(timedelta(seconds=1))
    world.live.attach(world.process(), loaded={"shop.py": SOURCE})
    world.clock.move(timedelta(seconds=1))
    assert look(world, proposal).state is S.OBSERVING
    request_revert(world.deps, proposal.id, actor=OWNER, reason="")
    world.run()
    waiting = world.deps.proposals.get(proposal.id)
    assert waiting.state is S.REVERTING
    assert "was started with the change of prices.json and must be restarted" in waiting.state_reason
    world.live.end(PROCESS)
    world.clock.move(timedelta(seconds=1))
    world.live.attach(world.process(), loaded={"shop.py": SOURCE})
    world.restart()
    assert world.deps.proposals.get(proposal.id).state is S.REVERTED


def test_a_revert_keeps_later_commits_to_other_files():
    world = World()
    proposal = applied(world)
    world.repository.user_commit({"other.py": file("x = 1\n")}, at=world.clock.now())
    request_revert(world.deps, proposal.id, actor=OWNER, reason="")
    world.run()
    assert world.deps.proposals.get(proposal.id).state is S.REVERTED
    assert "other.py" in world.repository.disk and disk(world) == SOURCE


def in_observation(world, *, automatic):
    """Return a proposal whose revert is journalled, and not begun."""
    world.serve(seconds=30, requests=50, errors=0)
    proposal = applied(world)
    if automatic:
        world.serve(seconds=5, requests=50, errors=10)
        observe(world.deps, proposal.id)
    else:
        request_revert(world.deps, proposal.id, actor=OWNER, reason="asked")
    assert world.deps.proposals.get(proposal.id).state is S.REVERTING
    return proposal


@pytest.mark.parametrize("automatic", [True, False])
def test_a_branch_that_goes_on_while_a_change_is_taken_back_does_not_keep_the_change_in_force(automatic):
    world = World()
    proposal = in_observation(world, automatic=automatic)
    head = world.repository.user_commit({"other.py": file("x = 1\n")}, at=world.clock.now())
    world.run()
    after = world.deps.proposals.get(proposal.id)
    assert after.state is S.REVERTED
    assert after.application.revert_parent == head and "other.py" in world.repository.disk
    assert disk(world) == world.live.source(PROCESS, "shop.py") == SOURCE
    kinds = [entry.kind for entry in world.deps.ledger.entries() if entry.subject == proposal.id]
    assert kinds[-3:] == ["proposal.revert_started", "proposal.revert_replanned", "proposal.reverted"]


def test_a_user_who_goes_on_from_the_files_that_were_put_back_does_not_undo_the_revert():
    """The hub died when the files were back; what the user made of them since is theirs."""
    world = World()
    proposal = in_observation(world, automatic=True)
    world.repository.faults.die_after_steps = 3  # branch, file and index are moved, and nobody was told
    with pytest.raises(SimulatedDeath):
        world.run()
    world.repository.user_commit({"shop.py": file(SOURCE + "# mine\n")}, at=world.clock.now())
    world.restart()
    after = world.deps.proposals.get(proposal.id)
    assert after.state is S.REVERTED and "edited since: shop.py" in after.state_reason
    assert disk(world) == SOURCE + "# mine\n" and world.live.source(PROCESS, "shop.py") == SOURCE


@pytest.mark.parametrize(("automatic", "state"), [(True, S.FAILED), (False, S.OBSERVING)])
def test_a_branch_that_goes_on_in_the_same_file_is_left_to_a_person(automatic, state):
    world = World()
    proposal = in_observation(world, automatic=automatic)
    world.repository.user_commit({"shop.py": file(MENDED + "# mine\n")}, at=world.clock.now())
    world.run()
    after = world.deps.proposals.get(proposal.id)
    assert after.state is state and "the deployed branch is at" in after.state_reason
    assert disk(world) == MENDED + "# mine\n"


def test_an_edit_that_was_undone_before_its_turn_came_does_not_stop_the_end_of_harm():
    world = World()
    world.serve(seconds=30, requests=50, errors=0)
    proposal = applied(world)
    world.repository.disk["shop.py"] = file(MENDED + "# mine\n")
    world.serve(seconds=5, requests=50, errors=10)
    observe(world.deps, proposal.id)
    world.repository.disk["shop.py"] = file(MENDED)
    world.run()
    assert world.deps.proposals.get(proposal.id).state is S.REVERTED
    assert disk(world) == SOURCE


def test_a_process_that_cannot_go_back_is_named_for_a_restart():
    world = World()
    proposal = applied(world)
    world.live.misbehave(PROCESS, "rollback", Misbehaviour.FAIL)
    request_revert(world.deps, proposal.id, actor=OWNER, reason="")
    world.run()
    after = world.deps.proposals.get(proposal.id)
    assert after.state is S.REVERTING and "must be restarted" in after.state_reason
    assert disk(world) == SOURCE
    world.live.end(PROCESS)
    world.clock.move(timedelta(seconds=1))
    world.live.attach(world.process(), loaded={"shop.py": SOURCE})
    world.restart()
    assert world.deps.proposals.get(proposal.id).state is S.REVERTED


def test_it_is_not_called_reverted_while_a_process_that_was_lost_may_run_the_change():
    world = World()
    proposal = applied(world)
    world.live.lose(PROCESS)
    request_revert(world.deps, proposal.id, actor=OWNER, reason="")
    world.run()
    waiting = world.deps.proposals.get(proposal.id)
    assert waiting.state is S.REVERTING and "does not answer" in waiting.state_reason
    assert disk(world) == SOURCE
    world.restart()
    assert world.deps.proposals.get(proposal.id) == waiting, "asking again without news writes nothing"
    world.live.reconnect(PROCESS)
    world.restart()
    assert world.deps.proposals.get(proposal.id).state is S.REVERTED
    assert world.live.source(PROCESS, "shop.py") == SOURCE


def test_an_automatic_revert_on_a_tree_that_moved_on_ends_the_harm_and_asks_a_person():
    world = World()
    world.serve(seconds=30, requests=50, errors=0)
    proposal = applied(world)
    world.repository.disk["shop.py"] = file(MENDED + "# mine\n")
    world.serve(seconds=5, requests=50, errors=10)
    after = look(world, proposal)
    assert after.state is S.FAILED and "a person must decide" in after.state_reason
    assert world.live.source(PROCESS, "shop.py") == SOURCE
    assert disk(world) == MENDED + "# mine\n"
    world.repository.disk["shop.py"] = file(MENDED)
    request_revert(world.deps, proposal.id, actor=OWNER, reason="")
    world.run()
    assert world.deps.proposals.get(proposal.id).state is S.REVERTED
    assert disk(world) == SOURCE


def test_an_altered_backup_is_never_put_back():
    from homeostat.core.errors import IntegrityFailure

    world = World()
    proposal = applied(world)
    broken = replace(world.deps, backups=_Altered())
    with pytest.raises(IntegrityFailure):
        request_revert(broken, proposal.id, actor=OWNER, reason="")
    assert world.deps.proposals.get(proposal.id).state is S.OBSERVING


class _Altered:
    def load(self, name):
        from homeostat.core.errors import IntegrityFailure

        raise IntegrityFailure("backup-altered", f"{name} is not what was kept")
