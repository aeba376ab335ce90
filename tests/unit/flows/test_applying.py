import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from homeostat.core.digests import Digest
from homeostat.core.errors import Conflict, IntegrityFailure, InvalidInput, Unavailable
from homeostat.flows import deciding
from homeostat.flows.applying import apply, commit_message, request_apply
from homeostat.flows.observing import observe
from homeostat.flows.proposing import Submission, submit
from homeostat.flows.reverting import request_revert
from homeostat.model.proposal import Proposal, ProposalState
from homeostat.model.settings import CanarySettings, HmrMode, HmrSettings, PolicySettings
from homeostat.model.verdict import Denied
from homeostat.policy.document import policy_in_force
from homeostat.testing.fake_live import Misbehaviour
from homeostat.testing.memory_repository import SimulatedDeath
from homeostat.testing.world import BOT, DIFF, MENDED, OWNER, PROCESS, SOURCE, WORLD_SETTINGS, World, file

S = ProposalState


def ready(world):
    proposal = submit(world.deps, Submission(title="Mend", rationale="why", diff=DIFF), actor=BOT)
    world.run()
    return world.deps.proposals.get(proposal.id)


def applied(world):
    proposal = ready(world)
    assert isinstance(request_apply(world.deps, proposal.id, actor=OWNER, seen=None), Proposal)
    world.run()
    return world.deps.proposals.get(proposal.id)


def disk(world):
    return world.repository.disk["shop.py"].content.decode()


def running(world):
    return world.live.source(PROCESS, "shop.py")


def test_applying_changes_branch_checkout_and_process_together():
    world = World()
    proposal = applied(world)
    assert proposal.state is S.OBSERVING
    assert proposal.application.live is True
    assert disk(world) == running(world) == MENDED
    assert world.repository.branches["main"] == proposal.application.commit
    assert world.backups.load(proposal.application.backup).files[0].before.content.decode() == SOURCE
    assert f"homeostat/proposal-{proposal.id}" not in world.repository.branches


TOP = "--- a/shop.py\n+++ b/shop.py\n@@ -5 +5 @@\n-PRICES = {'A': 1}\n+PRICES = {'A': 2}\n"


@pytest.mark.parametrize("mode", list(HmrMode))
def test_what_has_a_risk_goes_live_at_once_and_only_where_it_was_chosen(mode):
    hmr, canary = replace(WORLD_SETTINGS.hmr, mode=mode), CanarySettings(steps=(10, 50))
    world = World(settings=replace(WORLD_SETTINGS, hmr=hmr, canary=canary))
    proposal = submit(world.deps, Submission(title="Dearer", rationale="why", diff=TOP), actor=BOT)
    world.run()
    assert isinstance(request_apply(world.deps, proposal.id, actor=OWNER, seen=None), Proposal)
    world.run()
    application = world.deps.proposals.get(proposal.id).application
    assert application.live is (mode is HmrMode.AGGRESSIVE)
    assert running(world) == (disk(world) if application.live else SOURCE) and "'A': 2" in disk(world)
    if application.live:
        assert "runs once, for both arms" in str(world.deps.proposals.get(proposal.id).log)
        request_revert(world.deps, proposal.id, actor=OWNER, reason="")
        world.run()
        assert world.deps.proposals.get(proposal.id).state is S.REVERTED
        assert running(world) == disk(world) == SOURCE


def test_asked_twice_it_happens_once():
    world = World()
    proposal = applied(world)
    again = request_apply(world.deps, proposal.id, actor=OWNER, seen=None)
    world.run()
    assert again == world.deps.proposals.get(proposal.id) == proposal
    assert [name for name, _, _ in world.live.calls] == ["prepare", "swap"]


def test_an_agents_token_neither_applies_nor_approves_nor_reverts():
    world = World()
    proposal = ready(world)
    for outcome in (
        request_apply(world.deps, proposal.id, actor=BOT, seen=None),
        deciding.approve(world.deps, proposal.id, actor=BOT, seen=None),
        deciding.reject(world.deps, proposal.id, actor=BOT, notes="no"),
        deciding.defer(world.deps, proposal.id, actor=BOT),
        request_revert(world.deps, proposal.id, actor=BOT, reason=""),
    ):
        assert isinstance(outcome, Denied) and outcome.code == "not-a-person"
    assert world.deps.proposals.get(proposal.id) == proposal


def test_a_digest_that_is_not_the_one_seen_is_refused_and_nothing_changes():
    world = World()
    proposal = ready(world)
    outcome = request_apply(world.deps, proposal.id, actor=OWNER, seen=Digest("sha256:" + "0" * 64))
    assert isinstance(outcome, Denied) and outcome.code == "digest-changed"
    assert world.deps.proposals.get(proposal.id) == proposal


def test_a_moved_branch_is_refused_with_both_commits_named():
    world = World()
    proposal = ready(world)
    moved = world.repository.user_commit({"other.py": file("x = 1\n")}, at=world.clock.now())
    outcome = request_apply(world.deps, proposal.id, actor=OWNER, seen=None)
    assert isinstance(outcome, Denied) and outcome.code == "base-moved"
    assert proposal.change.base_commit[:12] in outcome.reasons[0] and moved[:12] in outcome.reasons[0]


def test_a_dirty_file_is_refused_and_stays_as_the_user_has_it():
    world = World()
    proposal = ready(world)
    world.repository.disk["shop.py"] = file("mine\n")
    outcome = request_apply(world.deps, proposal.id, actor=OWNER, seen=None)
    assert isinstance(outcome, Denied) and outcome.code == "dirty-files"
    assert disk(world) == "mine\n"
    assert world.deps.proposals.get(proposal.id).state is S.AWAITING_APPROVAL


def test_a_branch_that_moves_after_the_approval_fails_with_nothing_changed():
    world = World()
    proposal = ready(world)
    request_apply(world.deps, proposal.id, actor=OWNER, seen=None)
    world.repository.user_commit({"other.py": file("x = 1\n")}, at=world.clock.now())
    world.run()
    assert world.deps.proposals.get(proposal.id).state is S.FAILED
    assert disk(world) == running(world) == SOURCE


def test_a_swap_that_fails_puts_disk_and_git_back():
    world = World()
    proposal = ready(world)
    world.live.misbehave(PROCESS, "swap", Misbehaviour.FAIL)
    request_apply(world.deps, proposal.id, actor=OWNER, seen=None)
    world.run()
    after = world.deps.proposals.get(proposal.id)
    assert after.state is S.FAILED and after.state_reason.startswith("HMR application failed")
    assert disk(world) == running(world) == SOURCE
    assert world.repository.branches["main"] == proposal.change.base_commit


def test_with_two_processes_of_which_one_fails_both_end_on_the_old_code():
    world = World()
    other = world.process(identity="00000000-0000-4000-8000-000000000002")
    world.live.attach(other, loaded={"shop.py": SOURCE})
    world.live.misbehave(other.id, "swap", Misbehaviour.FAIL)
    proposal = ready(world)
    request_apply(world.deps, proposal.id, actor=OWNER, seen=None)
    world.run()
    assert world.deps.proposals.get(proposal.id).state is S.FAILED
    assert running(world) == world.live.source(other.id, "shop.py") == SOURCE


class TestAProcessThatEndsAmidTheSwap:
    """A program that watches its files ends its serving process as soon as they change, and starts another."""

    @staticmethod
    def applied(world):
        proposal = ready(world)
        request_apply(world.deps, proposal.id, actor=OWNER, seen=None)
        world.run()
        return world.deps.proposals.get(proposal.id)

    @pytest.mark.parametrize("command", ["prepare", "swap"])
    @pytest.mark.parametrize("ends", [0, 1])
    def test_is_passed_over_where_another_took_the_change(self, command, ends):
        world = World()
        other = world.process(identity="00000000-0000-4000-8000-000000000002")
        world.live.attach(other, loaded={"shop.py": SOURCE})
        gone, stays = (PROCESS, other.id)[:: 1 if ends == 0 else -1]
        world.live.misbehave(gone, command, Misbehaviour.END)
        assert self.applied(world).state is S.OBSERVING
        assert disk(world) == world.live.source(stays, "shop.py") == MENDED

    @pytest.mark.parametrize("command", ["prepare", "swap"])
    def test_is_a_failure_where_nobody_took_the_change(self, command):
        world = World()
        world.live.misbehave(PROCESS, command, Misbehaviour.END)
        assert self.applied(world).state is S.FAILED
        assert disk(world) == SOURCE

    @pytest.mark.parametrize("command", ["prepare", "swap"])
    def test_is_a_failure_when_a_second_one_ends_too(self, command):
        """It may be the swap that ends them: no third one is asked."""
        world = World()
        others = [world.process(identity=f"00000000-0000-4000-8000-00000000000{number}") for number in (2, 3)]
        for other in others:
            world.live.attach(other, loaded={"shop.py": SOURCE})
        for process_id in (PROCESS, others[0].id):
            world.live.misbehave(process_id, command, Misbehaviour.END)
        assert self.applied(world).state is S.FAILED
        assert disk(world) == world.live.source(others[1].id, "shop.py") == SOURCE
        assert ("swap", others[1].id) not in [call[:2] for call in world.live.calls]


def test_a_process_that_swapped_but_said_it_failed_is_brought_back():
    world = World()
    proposal = ready(world)
    world.live.misbehave(PROCESS, "swap", Misbehaviour.LOSE_ANSWER)
    request_apply(world.deps, proposal.id, actor=OWNER, seen=None)
    world.run()
    assert world.deps.proposals.get(proposal.id).state is S.FAILED
    assert disk(world) == running(world) == SOURCE


def test_it_is_not_called_failed_while_the_change_is_still_live_somewhere():
    world = World()
    proposal = ready(world)
    world.live.misbehave(PROCESS, "swap", Misbehaviour.LOSE_ANSWER)
    world.live.misbehave(PROCESS, "rollback", Misbehaviour.UNREACHABLE)
    request_apply(world.deps, proposal.id, actor=OWNER, seen=None)
    with pytest.raises(Unavailable, match="still live"):
        world.run()
    assert world.deps.proposals.get(proposal.id).state is S.APPLYING
    world.restart()
    assert world.deps.proposals.get(proposal.id).state is S.OBSERVING
    assert disk(world) == running(world) == MENDED


@pytest.mark.parametrize(
    ("arrange", "reason"),
    [
        (lambda world: world.live.end(PROCESS), "no running process"),
        (lambda world: world.live.misbehave(PROCESS, "prepare", Misbehaviour.REFUSE), "process 4711"),
    ],
)
def test_where_nothing_can_be_swapped_the_change_is_on_disk_and_needs_a_restart(arrange, reason):
    world = World()
    proposal = ready(world)
    arrange(world)
    request_apply(world.deps, proposal.id, actor=OWNER, seen=None)
    world.run()
    after = world.deps.proposals.get(proposal.id)
    assert after.state is S.AWAITING_RESTART and reason in after.state_reason
    assert disk(world) == MENDED


def test_with_hmr_disabled_a_restart_is_needed_and_then_observed():
    world = World(settings=replace(WORLD_SETTINGS, hmr=HmrSettings(enabled=False)))
    proposal = applied(world)
    assert proposal.state is S.AWAITING_RESTART and running(world) == SOURCE
    observe(world.deps, proposal.id)
    assert world.deps.proposals.get(proposal.id).state is S.AWAITING_RESTART
    world.live.end(PROCESS)
    observe(world.deps, proposal.id)
    assert world.deps.proposals.get(proposal.id).state is S.AWAITING_RESTART, "no process is no evidence"
    world.clock.move(timedelta(seconds=1))
    world.live.attach(world.process(), loaded={"shop.py": MENDED})
    observe(world.deps, proposal.id)
    assert world.deps.proposals.get(proposal.id).state is S.OBSERVING


def test_right_after_a_restart_of_the_hub_a_program_that_dials_in_late_takes_the_change_too():
    world = World(longest_wait_s=10)
    proposal = ready(world)
    request_apply(world.deps, proposal.id, actor=OWNER, seen=None)
    world.live.lose(PROCESS)
    world.live.gather(done=False)

    def dial_in():
        world.live.reconnect(PROCESS)
        world.live.gather(done=True)

    late = threading.Timer(0.05, dial_in)
    late.start()
    world.run()
    late.join()
    assert world.deps.proposals.get(proposal.id).state is S.OBSERVING
    assert disk(world) == running(world) == MENDED


def test_right_after_a_restart_of_the_hub_nobody_says_that_every_program_was_restarted():
    world = World(settings=replace(WORLD_SETTINGS, hmr=HmrSettings(enabled=False)))
    proposal = applied(world)
    world.live.end(PROCESS)
    world.clock.move(timedelta(seconds=1))
    world.live.attach(world.process(identity="00000000-0000-4000-8000-000000000002"), loaded={"shop.py": MENDED})
    world.live.gather(done=False)
    observe(world.deps, proposal.id)
    assert world.deps.proposals.get(proposal.id).state is S.AWAITING_RESTART
    world.live.gather(done=True)
    observe(world.deps, proposal.id)
    assert world.deps.proposals.get(proposal.id).state is S.OBSERVING


def test_a_policy_that_changed_needs_a_new_validation():
    world = World()
    proposal = ready(world)
    changed = replace(world.deps, policy=replace(world.deps.policy, max_files=1))
    outcome = request_apply(changed, proposal.id, actor=OWNER, seen=None)
    assert isinstance(outcome, Denied) and outcome.code == "policy-changed"


def test_approving_alone_changes_nothing_but_the_row():
    world = World()
    proposal = ready(world)
    deciding.approve(world.deps, proposal.id, actor=OWNER, seen=proposal.change.change_digest)
    world.run()
    apply(world.deps, proposal.id)
    assert world.deps.proposals.get(proposal.id).state is S.APPROVED
    assert disk(world) == running(world) == SOURCE
    request_apply(world.deps, proposal.id, actor=OWNER, seen=None)
    world.run()
    assert world.deps.proposals.get(proposal.id).state is S.OBSERVING


TAX = "--- a/shop.py\n+++ b/shop.py\n@@ -4,2 +4,3 @@\n \n PRICES = {'A': 1}\n+TAX = 2\n"


def two_ready(world):
    """Return two proposals on one file and one base, both approved and asked to be applied."""
    first = ready(world)
    second = submit(world.deps, Submission(title="Tax", rationale="why", diff=TAX), actor=BOT)
    world.run()
    for each in (first, second):
        assert isinstance(request_apply(world.deps, each.id, actor=OWNER, seen=None), Proposal)
    world.starter.queue.clear()
    return first.id, second.id


def test_of_two_changes_of_one_file_asked_at_once_the_second_fails_with_nothing_changed():
    world = World()
    first, second = two_ready(world)
    apply(world.deps, first)
    apply(world.deps, second)
    assert world.deps.proposals.get(first).state is S.OBSERVING
    failed = world.deps.proposals.get(second)
    assert failed.state is S.FAILED and failed.application is None
    assert disk(world) == running(world) == MENDED


def test_a_change_waits_while_another_is_under_way():
    world = World()
    first, second = two_ready(world)
    # Dies right after the journal entry of the first: nothing has moved, and the head is still the base of both.
    dying = replace(world.deps, deployed=Dying(world.deps.deployed))
    with pytest.raises(SimulatedDeath):
        apply(dying, first)
    with pytest.raises(Conflict, match="waits for it"):
        apply(world.deps, second)
    assert world.deps.proposals.get(second).state is S.APPROVED
    apply(world.deps, first)
    assert world.deps.proposals.get(first).state is S.OBSERVING


class Dying:
    """A deployed tree whose hub dies when it shall move."""

    def __init__(self, tree):
        self._tree = tree

    def __getattr__(self, name):
        if name == "advance":
            raise SimulatedDeath
        return getattr(self._tree, name)


def test_a_journalled_change_that_finds_other_work_on_the_branch_ends_as_failed_and_leaves_that_work():
    world = World()
    proposal = ready(world)
    request_apply(world.deps, proposal.id, actor=OWNER, seen=None)
    with pytest.raises(SimulatedDeath):
        apply(replace(world.deps, deployed=Dying(world.deps.deployed)), proposal.id)
    theirs = SOURCE.replace("'A': 1", "'A': 5")
    world.repository.user_commit({"shop.py": file(theirs)}, at=world.clock.now())
    apply(world.deps, proposal.id)
    assert world.deps.proposals.get(proposal.id).state is S.FAILED
    assert disk(world) == theirs


def test_a_journalled_change_from_which_somebody_went_on_is_told_to_need_a_restart():
    world = World()
    proposal = ready(world)
    request_apply(world.deps, proposal.id, actor=OWNER, seen=None)

    class DiesAfter(Dying):
        def __getattr__(self, name):
            if name != "advance":
                return getattr(self._tree, name)

            def advance(**options):
                self._tree.advance(**options)
                raise SimulatedDeath

            return advance

    with pytest.raises(SimulatedDeath):
        apply(replace(world.deps, deployed=DiesAfter(world.deps.deployed)), proposal.id)
    world.repository.user_commit({"shop.py": file(MENDED + "# mine\n")}, at=world.clock.now())
    apply(world.deps, proposal.id)
    after = world.deps.proposals.get(proposal.id)
    assert after.state is S.AWAITING_RESTART and "went on from the change" in after.state_reason


def test_an_approval_under_another_policy_is_not_applied():
    world = World()
    proposal = ready(world)
    deciding.approve(world.deps, proposal.id, actor=OWNER, seen=None)
    stricter = replace(world.deps, policy=policy_in_force(PolicySettings(forbidden_paths=("shop.py",))))
    refusal = request_apply(stricter, proposal.id, actor=OWNER, seen=None)
    assert isinstance(refusal, Denied) and refusal.code == "policy-changed"
    request_apply(world.deps, proposal.id, actor=OWNER, seen=None)
    world.starter.queue.clear()
    apply(stricter, proposal.id)  # asked under the old policy, begun under the new one
    assert world.deps.proposals.get(proposal.id).state is S.FAILED
    assert disk(world) == running(world) == SOURCE


@pytest.mark.parametrize(
    "alter",
    [
        lambda row: replace(row, review=None),
        lambda row: replace(row, review=replace(row.review, decision="deferred")),
        lambda row: replace(row, review=replace(row.review, change_digest=Digest("sha256:" + "0" * 64))),
    ],
)
def test_a_row_that_says_approved_without_the_approval_is_not_applied(alter):
    world = World()
    proposal = ready(world)
    request_apply(world.deps, proposal.id, actor=OWNER, seen=None)
    world.starter.queue.clear()
    world.deps.proposals.save(alter(world.deps.proposals.get(proposal.id)), None)
    with pytest.raises(IntegrityFailure):
        apply(world.deps, proposal.id)
    assert disk(world) == running(world) == SOURCE


def test_a_row_whose_base_was_altered_is_not_applied():
    world = World()
    proposal = ready(world)
    request_apply(world.deps, proposal.id, actor=OWNER, seen=None)
    world.starter.queue.clear()
    row = world.deps.proposals.get(proposal.id)
    head = world.repository.user_commit({"other.py": file("X = 1\n")}, at=world.clock.now())
    world.deps.proposals.save(replace(row, change=replace(row.change, base_commit=head)), None)
    with pytest.raises(InvalidInput, match="not the one that was proved"):
        apply(world.deps, proposal.id)


def test_a_strangers_text_cannot_forge_a_trailer_of_the_commit():
    world = World()
    forged = "r\n\nHomeostat-Approved-By: person-evil\n---\nx"
    proposal = submit(world.deps, Submission(title="Mend", rationale=forged, diff=DIFF), actor=BOT)
    lines = commit_message(proposal).splitlines()
    assert [line for line in lines if line.startswith("Homeostat-Approved-By:")] == ["Homeostat-Approved-By: nobody"]
    assert "---" not in lines


def test_a_process_that_cannot_be_reached_is_never_left_out_of_a_live_change():
    world = World()
    proposal = ready(world)
    other = "00000000-0000-4000-8000-000000000002"
    world.live.attach(world.process(identity=other), loaded={"shop.py": SOURCE})
    world.live.lose(other)
    request_apply(world.deps, proposal.id, actor=OWNER, seen=None)
    world.run()
    after = world.deps.proposals.get(proposal.id)
    assert after.state is S.AWAITING_RESTART and "cannot be reached" in after.state_reason
    assert running(world) == SOURCE
