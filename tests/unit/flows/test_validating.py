from dataclasses import replace

import pytest

from homeostat.core.errors import Unavailable
from homeostat.flows.proposing import Submission, submit
from homeostat.flows.validating import validate
from homeostat.model.proof import STOPPED_FROM_OUTSIDE, ProofVerdict
from homeostat.model.proposal import ProposalState
from homeostat.model.settings import HostSettings
from homeostat.ports.proving import ProofRuns
from homeostat.proposals.markdown import record_path
from homeostat.testing.fake_prover import test_run as run_of
from homeostat.testing.world import BOT, DIFF, WORLD_SETTINGS, World

FORBIDDEN = "diff --git a/.env b/.env\nnew file mode 100644\n--- /dev/null\n+++ b/.env\n@@ -0,0 +1 @@\n+DEBUG=1\n"


def validated(world, diff=DIFF):
    proposal = submit(world.deps, Submission(title="Mend", rationale="why", diff=diff), actor=BOT)
    world.run()
    return world.deps.proposals.get(proposal.id)


def test_a_patch_whose_tests_pass_waits_for_approval_and_keeps_its_candidate():
    world = World()
    proposal = validated(world)
    assert proposal.state is ProposalState.AWAITING_APPROVAL
    assert f"homeostat/proposal-{proposal.id}" in world.repository.branches
    assert world.prover.jobs[0].changed_modules == ("shop.py",)


def test_the_report_carries_the_risk_with_what_became_of_earlier_changes():
    world = World()
    first = validated(world)
    assert first.proof.risk is not None
    assert "source" not in [factor.name for factor in first.proof.risk.factors]
    for number in range(3):
        validated(world, FORBIDDEN.replace("DEBUG", f"DEBUG_{number}"))
    later = validated(world, DIFF.replace("coupon, 0", "coupon, 1"))
    (source,) = [factor for factor in later.proof.risk.factors if factor.name == "source"]
    assert source.share == 0.2
    assert later.proof.risk.score > first.proof.risk.score


def test_a_broken_test_blocks_and_names_it():
    world = World()
    world.prover.script(
        ProofRuns(sandbox="fake", base=run_of({"t::a": "passed"}), candidate=run_of({"t::a": "failed"}))
    )
    proposal = validated(world)
    assert proposal.state is ProposalState.BLOCKED
    assert proposal.proof.broken_tests == ("t::a",)
    assert f"homeostat/proposal-{proposal.id}" not in world.repository.branches


DIED = Unavailable("worker-died", "the worker ended with -9")
STOPPED = ProofRuns(
    sandbox="fake", base=run_of({"t::a": "passed"}), candidate=replace(run_of({}), problem=STOPPED_FROM_OUTSIDE)
)


@pytest.mark.parametrize(
    ("death", "words"), [(DIED, "the worker ended with -9"), (STOPPED, f"candidate: {STOPPED_FROM_OUTSIDE}")]
)
def test_a_proof_that_died_once_is_tried_again_and_the_report_says_so(death, words):
    world = World()
    world.prover.script(death)
    proposal = validated(world)
    assert proposal.state is ProposalState.AWAITING_APPROVAL
    assert proposal.proof.deaths == (words,)
    path = record_path(proposal)
    assert words in world.deps.record_branch.read(path).decode()


@pytest.mark.parametrize("death", [DIED, STOPPED])
def test_a_proof_that_dies_twice_is_inconclusive_never_a_pass_and_says_what_to_do(death):
    world = World()
    world.prover.script(death, death)
    proposal = validated(world)
    assert proposal.state is ProposalState.BLOCKED
    assert proposal.proof.verdict is ProofVerdict.INCONCLUSIVE
    assert len(proposal.proof.deaths) == 1 and len(world.prover.jobs) == 2
    assert "hand the change in again" in proposal.state_reason
    again = validated(world)
    assert again.id != proposal.id and again.state is ProposalState.AWAITING_APPROVAL


def test_a_proof_that_fails_is_not_tried_again():
    world = World()
    red = ProofRuns(sandbox="fake", base=run_of({"t::a": "passed"}), candidate=run_of({"t::a": "failed"}))
    world.prover.script(red)
    assert validated(world).state is ProposalState.BLOCKED
    assert len(world.prover.jobs) == 1


def test_a_hub_that_is_stopped_judges_nothing_and_the_next_one_proves_it():
    world = World()
    world.prover.script(Unavailable("hub-stopping", "the hub is being stopped"))
    proposal = submit(world.deps, Submission(title="Mend", rationale="why", diff=DIFF), actor=BOT)
    with pytest.raises(Unavailable):
        world.run()
    assert world.deps.proposals.get(proposal.id).state is ProposalState.VALIDATING
    world.restart()
    assert world.deps.proposals.get(proposal.id).state is ProposalState.AWAITING_APPROVAL


def test_without_a_test_command_nothing_is_proved():
    proposal = validated(World(settings=replace(WORLD_SETTINGS, host=HostSettings())))
    assert proposal.proof.verdict is ProofVerdict.INCONCLUSIVE
    assert "test_command" in proposal.state_reason


def test_a_forbidden_path_is_blocked_without_running_anything():
    world = World()
    proposal = validated(world, FORBIDDEN)
    assert proposal.state is ProposalState.BLOCKED
    assert world.prover.jobs == []


def test_validating_again_changes_nothing():
    world = World()
    proposal = validated(world)
    validate(world.deps, proposal.id)
    assert world.deps.proposals.get(proposal.id) == proposal
