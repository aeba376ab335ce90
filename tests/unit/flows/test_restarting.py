import itertools
from dataclasses import replace
from datetime import timedelta

import pytest

from homeostat.core.errors import HomeostatError, NotFound
from homeostat.flows.applying import request_apply
from homeostat.flows.observing import observe
from homeostat.flows.proposing import Submission, submit
from homeostat.flows.restarting import AskedRestart, request_restart, watch_restarts
from homeostat.flows.reverting import request_revert
from homeostat.model.ledger import EntryDraft
from homeostat.model.proposal import ProposalState
from homeostat.model.restart import RestartPhase
from homeostat.model.settings import RestartSettings
from homeostat.model.verdict import Denied
from homeostat.testing.fake_live import Misbehaviour
from homeostat.testing.faults import FaultPlan, Outcome, faulty
from homeostat.testing.memory_repository import SimulatedDeath
from homeostat.testing.world import BOT, OWNER, PROCESS, SOURCE, WORLD_SETTINGS, World

S, P = ProposalState, RestartPhase

CHANGED = SOURCE.replace("{'A': 1}", "{'A': 2}")
DIFF = (
    "--- a/shop.py\n+++ b/shop.py\n@@ -2,4 +2,4 @@\n     return PRICES[coupon]\n \n \n"
    "-PRICES = {'A': 1}\n+PRICES = {'A': 2}\n"
)
"""Changes a constant of a module: that cannot be swapped in."""

NEW = "00000000-0000-4000-8000-000000000002"
WEB, JOBS = "web", "jobs"


def world_with(*programs, **restart):
    world = World(settings=replace(WORLD_SETTINGS, restart=RestartSettings(**restart)))
    for program in programs:
        world.restarter.supervise(program)
    return world


def waiting(world):
    """Apply the change, which then waits for a restart."""
    proposal = submit(world.deps, Submission(title="Dearer", rationale="why", diff=DIFF), actor=BOT)
    world.run()
    request_apply(world.deps, proposal.id, actor=OWNER, seen=None)
    world.run()
    assert row(world, proposal).state is S.AWAITING_RESTART
    return proposal


def row(world, proposal):
    return world.deps.proposals.get(proposal.id)


def disk(world):
    return world.repository.disk["shop.py"].content.decode()


def come_back(world, source=CHANGED):
    """Let the old process end and a new one be attached, that has read what is on disk."""
    world.live.end(PROCESS)
    world.live.attach(world.process(identity=NEW), loaded={"shop.py": source})


def beat(world, deps=None):
    deps = deps or world.deps
    for proposal in deps.proposals.find(states=frozenset({S.AWAITING_RESTART})):
        observe(deps, proposal.id)
    watch_restarts(deps, look_anyway=True)
    world.run(deps)


def kinds(world, prefix="restart."):
    return [entry.kind for entry in world.deps.ledger.entries(limit=10_000) if entry.kind.startswith(prefix)]


def test_a_restart_that_goes_well_takes_the_change_from_waiting_to_observing():
    world = world_with(WEB)
    proposal = waiting(world)
    asked = request_restart(world.deps, actor=OWNER, proposal_id=proposal.id)
    assert isinstance(asked, AskedRestart) and asked.proposals == (proposal.id,)
    assert world.restarter.calls == [(WEB, asked.request_id)]
    beat(world)
    assert row(world, proposal).state is S.AWAITING_RESTART
    world.restarter.end(WEB, P.DONE, then=lambda: come_back(world))
    beat(world)
    beat(world)
    assert row(world, proposal).state is S.OBSERVING
    assert kinds(world) == ["restart.asked", "restart.done"]
    assert world.restarter.calls == [(WEB, asked.request_id)]


def test_the_end_of_a_restart_is_written_down_once_however_much_comes_after_it():
    world = world_with(WEB, JOBS)
    request_restart(world.deps, actor=OWNER)
    world.restarter.end(WEB, P.DONE)
    beat(world)
    for number in range(2_500):
        world.deps.ledger.append(EntryDraft(kind="finding.found", actor=OWNER.id, subject=f"f-{number}", body={}))
    world.restarter.end(JOBS, P.FAILED, reason="no", pid=4711)
    beat(world)
    beat(world)
    assert kinds(world) == ["restart.asked", "restart.done", "restart.failed"]


def test_a_restart_that_fails_takes_the_change_back_with_the_reason_and_the_last_words():
    world = world_with(WEB)
    proposal = waiting(world)
    request_restart(world.deps, actor=OWNER)
    world.restarter.end(WEB, P.FAILED, reason="it ended with code 1", last_words="Traceback:\nNameError: x\n", pid=4711)
    beat(world)
    after = row(world, proposal)
    assert after.state is S.REVERTED and after.application.automatic_revert
    assert "it ended with code 1" in after.application.revert_reason
    assert "NameError: x" in after.application.revert_reason and "\n" not in after.application.revert_reason
    assert disk(world) == SOURCE
    assert kinds(world) == ["restart.asked", "restart.failed"]
    assert len(world.restarter.calls) == 1, "the old process runs on: nobody needs another restart"


def test_a_worker_that_did_not_come_up_is_started_again_on_the_old_code():
    world = world_with(JOBS)
    proposal = waiting(world)
    asked = request_restart(world.deps, actor=OWNER)
    world.live.end(PROCESS)
    world.restarter.end(JOBS, P.FAILED, reason="it ended with code 1", pid=None)
    beat(world)
    assert row(world, proposal).state is S.REVERTED and disk(world) == SOURCE
    assert world.restarter.calls[1:] == [(JOBS, f"{asked.request_id}:back")]
    world.restarter.end(JOBS, P.DONE)
    beat(world)
    assert len(world.restarter.calls) == 2
    assert kinds(world) == ["restart.asked", "restart.failed", "restart.done"]


def test_of_two_programs_the_one_that_came_up_is_restarted_back_when_the_other_does_not():
    world = world_with(WEB, JOBS)
    proposal = waiting(world)
    asked = request_restart(world.deps, actor=OWNER)
    world.restarter.end(WEB, P.DONE, then=lambda: come_back(world))
    beat(world)
    assert row(world, proposal).state is S.AWAITING_RESTART, "the other one is still on trial"
    world.live.misbehave(NEW, "swap", *[Misbehaviour.REFUSE] * 5)
    world.restarter.end(JOBS, P.FAILED, reason="no", pid=4711)
    beat(world)
    assert row(world, proposal).application.automatic_revert
    assert (WEB, f"{asked.request_id}:back") in world.restarter.calls
    assert (JOBS, f"{asked.request_id}:back") not in world.restarter.calls
    assert disk(world) == SOURCE


def test_asked_twice_it_is_one_restart():
    world = world_with(WEB)
    waiting(world)
    first = request_restart(world.deps, actor=OWNER)
    again = request_restart(world.deps, actor=OWNER)
    assert first.request_id == again.request_id and first.proposals == again.proposals
    assert len(world.restarter.calls) == 1 and kinds(world) == ["restart.asked"]


def test_a_program_may_be_restarted_though_no_change_waits():
    world = world_with(WEB)
    asked = request_restart(world.deps, actor=OWNER)
    assert asked.proposals == ()
    world.restarter.end(WEB, P.DONE)
    beat(world)
    beat(world)
    assert kinds(world) == ["restart.asked", "restart.done"]


def test_nothing_is_restarted_by_itself_unless_it_is_configured():
    world = world_with(WEB)
    waiting(world)
    beat(world)
    assert world.restarter.calls == []
    automatic = world_with(WEB, automatic=True)
    proposal = waiting(automatic)
    beat(automatic)
    beat(automatic)
    assert [program for program, _ in automatic.restarter.calls] == [WEB]
    assert row(automatic, proposal).application.restart_id == automatic.restarter.calls[0][1]


def test_an_automatic_restart_that_failed_is_not_tried_again_for_the_same_change():
    world = world_with(WEB, automatic=True)
    proposal = waiting(world)
    beat(world)
    world.restarter.end(WEB, P.FAILED, reason="no", pid=4711)
    for _ in range(4):
        beat(world)
    assert row(world, proposal).state is S.REVERTED
    assert len(world.restarter.calls) == 1


def test_a_revert_that_waits_for_processes_restarts_them_only_where_restarts_are_automatic():
    for automatic in (False, True):
        world = world_with(WEB, automatic=automatic)
        proposal = waiting(world)
        if automatic:
            beat(world)
        else:
            request_restart(world.deps, actor=OWNER)
        world.restarter.end(WEB, P.DONE, then=lambda world=world: come_back(world))
        beat(world)
        assert row(world, proposal).state is S.OBSERVING
        world.live.misbehave(NEW, "swap", *[Misbehaviour.REFUSE] * 5)
        request_revert(world.deps, proposal.id, actor=OWNER, reason="changed my mind")
        world.run()
        assert row(world, proposal).state is S.REVERTING
        beat(world)
        assert len(world.restarter.calls) == (2 if automatic else 1)


def test_an_agents_token_restarts_nothing():
    world = world_with(WEB)
    outcome = request_restart(world.deps, actor=BOT)
    assert isinstance(outcome, Denied) and outcome.code == "not-a-person"
    assert world.restarter.calls == [] and kinds(world) == []


def test_a_change_that_does_not_wait_is_no_reason_to_restart():
    world = world_with(WEB)
    proposal = submit(world.deps, Submission(title="Dearer", rationale="why", diff=DIFF), actor=BOT)
    outcome = request_restart(world.deps, actor=OWNER, proposal_id=proposal.id)
    assert isinstance(outcome, Denied) and outcome.code == "no-restart-needed"
    assert world.restarter.calls == []


def test_where_nobody_can_restart_anything_it_is_said_and_nothing_is_written():
    world = world_with()
    proposal = waiting(world)
    with pytest.raises(NotFound) as refused:
        request_restart(world.deps, actor=OWNER)
    assert refused.value.code == "nothing-to-restart" and "--supervise" in refused.value.hint
    assert row(world, proposal).application.restart_id == "" and kinds(world) == []


def test_a_supervisor_that_was_killed_and_came_back_is_asked_again():
    world = world_with(WEB)
    waiting(world)
    asked = request_restart(world.deps, actor=OWNER)
    world.restarter.lose(WEB)
    beat(world)
    world.restarter.supervise(WEB)
    beat(world)
    assert world.restarter.calls == [(WEB, asked.request_id)] * 2


def test_a_program_that_its_owner_started_anew_meanwhile_is_not_restarted_once_more():
    world = world_with(WEB)
    proposal = waiting(world)
    request_restart(world.deps, actor=OWNER)
    world.restarter.lose(WEB)
    come_back(world)
    world.restarter.supervise(WEB)
    beat(world)
    assert row(world, proposal).state is S.OBSERVING
    assert len(world.restarter.calls) == 1


def test_a_restart_command_after_which_the_old_process_still_runs_is_a_failure_when_its_time_is_over():
    world = world_with(WEB, command=("systemctl", "restart", "shop"), timeout_s=20)
    proposal = waiting(world)
    asked = request_restart(world.deps, actor=OWNER)
    world.restarter.end(WEB, P.DONE, pid=None)
    beat(world)
    assert row(world, proposal).state is S.AWAITING_RESTART
    world.serve(seconds=21, requests=1, errors=0)
    beat(world)
    assert row(world, proposal).state is S.REVERTED and "did not come back" in row(world, proposal).state_reason
    assert world.restarter.calls[1:] == [(WEB, f"{asked.request_id}:back")]


def test_after_a_restart_command_a_process_must_have_stayed_for_the_settle_time():
    world = world_with(WEB, command=("systemctl", "restart", "shop"), settle_s=5)
    proposal = waiting(world)
    request_restart(world.deps, actor=OWNER)
    world.restarter.end(WEB, P.DONE, pid=None, then=lambda: come_back(world))
    beat(world)
    assert row(world, proposal).state is S.AWAITING_RESTART
    world.serve(seconds=6, requests=1, errors=0)
    beat(world)
    assert row(world, proposal).state is S.OBSERVING


def restarted_by_command(**settings):
    world = world_with(WEB, command=("systemctl", "restart", "shop"), settle_s=5, **settings)
    proposal = waiting(world)
    request_restart(world.deps, actor=OWNER)
    world.restarter.end(WEB, P.DONE, pid=None, then=lambda: come_back(world))
    world.serve(seconds=6, requests=1, errors=0)
    beat(world)
    assert row(world, proposal).state is S.OBSERVING
    return world, proposal


def watch(world, proposal, *, seconds):
    for _ in range(seconds):
        world.clock.move(timedelta(seconds=1))
        observe(world.deps, proposal.id)
        world.run()


def test_a_program_that_ends_soon_after_its_restart_command_is_taken_back_and_restarted():
    world, proposal = restarted_by_command(timeout_s=30)
    world.serve(seconds=1, requests=1, errors=1)
    world.live.end(NEW)
    watch(world, proposal, seconds=4)
    assert row(world, proposal).state is S.OBSERVING
    watch(world, proposal, seconds=3)
    beat(world)
    assert row(world, proposal).state is S.REVERTED and "did not stay" in row(world, proposal).state_reason
    assert disk(world) == SOURCE
    assert [request.rpartition(":")[2] for _, request in world.restarter.calls[1:]] == ["back"]


def test_a_program_that_is_restarted_once_more_after_its_restart_command_has_a_moment_without_a_process():
    world, proposal = restarted_by_command(timeout_s=30)
    world.live.end(NEW)
    watch(world, proposal, seconds=3)
    world.live.attach(world.process(identity=NEW[:-1] + "3"), loaded={"shop.py": CHANGED})
    watch(world, proposal, seconds=20)
    assert row(world, proposal).state is S.OBSERVING


def test_a_program_that_ends_without_an_error_soon_after_its_restart_command_was_stopped_by_its_owner():
    world, proposal = restarted_by_command(timeout_s=30)
    world.serve(seconds=1, requests=1, errors=0)
    world.live.end(NEW)
    watch(world, proposal, seconds=40)
    beat(world)
    assert row(world, proposal).state is S.OBSERVING and disk(world) == CHANGED
    assert len(world.restarter.calls) == 1, "whoever stopped it does not want it started"


def test_a_program_that_its_owner_stops_long_after_the_restart_command_keeps_its_change():
    world, proposal = restarted_by_command(timeout_s=10)
    world.serve(seconds=20, requests=1, errors=0)
    world.live.end(NEW)
    watch(world, proposal, seconds=30)
    assert row(world, proposal).state is S.OBSERVING


@pytest.mark.parametrize("ends", [P.DONE, P.FAILED])
@pytest.mark.parametrize("outcome", list(Outcome))
def test_whatever_goes_wrong_at_any_call_a_restart_comes_to_its_end(ends, outcome):
    """Also when the hub dies there; the next one brings it to its end. No program is restarted twice."""
    for call in itertools.count():
        world = world_with(WEB)
        proposal = waiting(world)
        plan = FaultPlan(outcome=outcome, at_call=call)
        deps = faulty(world.deps, plan)
        try:
            request_restart(deps, actor=OWNER)
            _end(world, ends)
            beat(world, deps)
            beat(world, deps)
        except (HomeostatError, SimulatedDeath):
            world.restart()
        for _ in range(4):
            now = row(world, proposal)
            if now.application.restart_id == "" and now.state is S.AWAITING_RESTART:
                request_restart(world.deps, actor=OWNER)  # whoever asked was not answered well, and asks again
            _end(world, ends)
            beat(world)
            world.restart()
        assert row(world, proposal).state is (S.OBSERVING if ends is P.DONE else S.REVERTED), plan.hit
        assert disk(world) == (CHANGED if ends is P.DONE else SOURCE), plan.hit
        assert len(world.restarter.calls) == len(set(world.restarter.calls)), plan.hit
        assert kinds(world).count("restart.done" if ends is P.DONE else "restart.failed") == 1, plan.hit
        assert world.violations() == (), plan.hit
        if not plan.hit:
            assert call > 15
            return


def _end(world, phase):
    """Let the restart that is under way end so, if one is."""
    report = world.restarter.programs()[0].report
    if report is None or report.phase.is_over:
        return
    if phase is P.DONE:
        world.restarter.end(WEB, phase, then=lambda: come_back(world))
    else:
        world.restarter.end(WEB, phase, reason="no", pid=4711)
