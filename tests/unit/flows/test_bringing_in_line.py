"""Processes that start, stall or turn up amid a change end on the code that stands."""

from dataclasses import replace
from datetime import timedelta

import pytest

from homeostat.core.errors import Unavailable
from homeostat.flows.applying import apply, request_apply
from homeostat.flows.observing import observe
from homeostat.flows.proposing import Submission, submit
from homeostat.flows.recovering import recover
from homeostat.flows.reverting import request_automatic_revert, request_revert, revert
from homeostat.model.proposal import ProposalState
from homeostat.testing.fake_live import Misbehaviour
from homeostat.testing.faults import FaultPlan, Outcome, faulty
from homeostat.testing.memory_repository import Fault, SimulatedDeath
from homeostat.testing.world import BOT, DIFF, MENDED, OWNER, PROCESS, SOURCE, World

S = ProposalState
LATE = "00000000-0000-4000-8000-000000000002"


def approved(world):
    proposal = submit(world.deps, Submission(title="Mend", rationale="why", diff=DIFF), actor=BOT)
    world.run()
    request_apply(world.deps, proposal.id, actor=OWNER, seen=None)
    return proposal.id


def applied(world):
    identity = approved(world)
    world.run()
    assert row(world).state is S.OBSERVING
    return identity


def row(world):
    return world.deps.proposals.find()[0]


def start_late(world):
    """Start a process that reads what lies on disk now."""
    loaded = world.repository.disk["shop.py"].content.decode()
    world.live.attach(world.process(identity=LATE), loaded={"shop.py": loaded})
    return loaded


def die_before_the_files_move(world, flow, identity):
    """Let the hub die right after its journal, and be started again later."""
    world.repository.faults.die_after_steps = 0
    with pytest.raises(SimulatedDeath):
        flow(world.deps, identity)
    world.starter.queue.clear()


def test_a_process_that_started_between_the_journal_and_the_revert_of_the_files_is_brought_back():
    world = World()
    identity = applied(world)
    request_revert(world.deps, identity, actor=OWNER, reason="asked")
    die_before_the_files_move(world, revert, identity)
    assert start_late(world) == MENDED
    world.restart()
    assert row(world).state is S.REVERTED
    assert world.live.source(LATE, "shop.py") == world.live.source(PROCESS, "shop.py") == SOURCE


def start_before_it_imports(world):
    """Attach a process that was started before anything, and has not imported the module yet."""
    early = world.process(identity=LATE)
    world.live.attach(replace(early, started_at=early.started_at - timedelta(hours=1)), loaded={})


def import_now(world):
    world.live.load(LATE, "shop.py", world.repository.disk["shop.py"].content.decode())


def test_a_process_that_imports_the_change_after_it_went_live_is_brought_back():
    world = World()
    start_before_it_imports(world)
    identity = applied(world)
    import_now(world)
    assert world.live.source(LATE, "shop.py") == MENDED
    request_revert(world.deps, identity, actor=OWNER, reason="asked")
    world.run()
    assert row(world).state is S.REVERTED
    assert world.live.source(LATE, "shop.py") == world.live.source(PROCESS, "shop.py") == SOURCE


@pytest.mark.parametrize("when", ["before the change", "while it was on disk"])
def test_a_process_that_imports_the_change_after_it_was_asked_and_before_the_files_are_back_is_brought_back(when):
    world = World()
    if when == "before the change":
        start_before_it_imports(world)
    identity = applied(world)
    if when == "while it was on disk":
        world.live.attach(world.process(identity=LATE), loaded={})
    request_automatic_revert(world.deps, identity, reason="harm")
    die_before_the_files_move(world, revert, identity)
    import_now(world)
    assert world.live.source(LATE, "shop.py") == MENDED
    world.restart()
    assert row(world).state is S.REVERTED
    assert world.live.source(LATE, "shop.py") == world.live.source(PROCESS, "shop.py") == SOURCE


def test_it_is_not_called_reverted_while_a_process_does_not_say_what_it_runs():
    world = World()
    start_before_it_imports(world)
    identity = applied(world)
    request_revert(world.deps, identity, actor=OWNER, reason="asked")
    world.live.misbehave(LATE, "prepare", Misbehaviour.UNREACHABLE)
    world.run()
    assert row(world).state is S.REVERTING
    assert "does not answer" in row(world).state_reason
    recover(world.deps)
    world.run()
    assert row(world).state is S.REVERTED


def test_a_process_that_started_before_the_files_of_a_change_does_not_count_as_restarted():
    world = World()
    identity = approved(world)
    die_before_the_files_move(world, apply, identity)
    world.live.end(PROCESS)
    assert start_late(world) == SOURCE
    world.live.misbehave(LATE, "prepare", Misbehaviour.REFUSE)
    world.restart()
    assert row(world).state is S.AWAITING_RESTART
    observe(world.deps, identity)
    assert row(world).state is S.AWAITING_RESTART
    world.live.end(LATE)
    assert start_late(world) == MENDED
    observe(world.deps, identity)
    assert row(world).state is S.OBSERVING


def test_a_process_that_started_with_the_files_and_before_the_next_hub_saw_them_counts_as_restarted():
    world = World()
    identity = approved(world)
    world.live.misbehave(PROCESS, "swap", Misbehaviour.DIE)
    with pytest.raises(Unavailable):
        world.run()
    assert start_late(world) == MENDED, "the files were in place"
    world.restart()
    assert row(world).state is S.AWAITING_RESTART, "one that cannot be reached may still run the old code"
    world.live.expire(PROCESS)
    world.live.end(PROCESS)
    observe(world.deps, identity)
    assert row(world).state is S.OBSERVING


class StartsDuringTheSwap:
    """The processes as they are, of which another one starts while the first is being swapped."""

    def __init__(self, world):
        self._world = world

    def __getattr__(self, name):
        return getattr(self._world.live, name)

    def swap(self, *args, **options):
        if LATE not in {item.id for item in self._world.live.processes()}:
            start_late(self._world)
        return self._world.live.swap(*args, **options)


def test_a_process_that_started_during_a_swap_that_failed_is_brought_back_with_the_others(replaced):
    world = World()
    identity = approved(world)
    world.live.misbehave(PROCESS, "swap", Misbehaviour.FAIL)
    apply(replaced(world, live=StartsDuringTheSwap(world)), identity)
    assert row(world).state is S.FAILED
    assert world.repository.disk["shop.py"].content.decode() == SOURCE
    assert world.live.source(LATE, "shop.py") == world.live.source(PROCESS, "shop.py") == SOURCE


@pytest.fixture
def replaced():
    return lambda world, **ports: replace(world.deps, **ports)


def test_a_process_that_was_out_of_reach_during_a_revert_is_brought_back_when_it_returns():
    world = World()
    identity = applied(world)
    world.live.lose(PROCESS)
    world.live.expire(PROCESS)
    request_revert(world.deps, identity, actor=OWNER, reason="asked")
    world.run()
    assert row(world).state is S.REVERTED
    world.live.reconnect(PROCESS)
    assert world.live.source(PROCESS, "shop.py") == MENDED
    recover(world.deps)
    assert world.live.source(PROCESS, "shop.py") == SOURCE


def test_a_process_that_was_out_of_reach_when_a_change_went_live_takes_it_when_it_returns():
    world = World()
    world.live.attach(world.process(identity=LATE), loaded={"shop.py": SOURCE})
    world.live.lose(LATE)
    world.live.expire(LATE)
    applied(world)
    world.live.reconnect(LATE)
    recover(world.deps)
    assert world.live.source(LATE, "shop.py") == MENDED
    assert [item.changes for item in world.live.processes()] == [(row(world).id,), (row(world).id,)]


def watched_to_its_end_without_one():
    """Return a world whose change did well while one process was away, which is there again now."""
    world = World()
    world.live.attach(world.process(identity=LATE), loaded={"shop.py": SOURCE})
    world.live.lose(LATE)
    world.live.expire(LATE)
    identity = applied(world)
    world.serve(seconds=70, requests=50, errors=0)
    world.live.reconnect(LATE)
    return world, identity


def test_a_change_is_called_implemented_after_who_is_there_again_took_it():
    world, identity = watched_to_its_end_without_one()
    observe(world.deps, identity)
    assert row(world).state is S.IMPLEMENTED
    assert world.live.source(LATE, "shop.py") == MENDED


def test_who_cannot_take_it_holds_nothing_up():
    world, identity = watched_to_its_end_without_one()
    world.live.misbehave(LATE, "swap", Misbehaviour.FAIL)
    observe(world.deps, identity)
    assert row(world).state is S.IMPLEMENTED
    assert world.live.source(LATE, "shop.py") == SOURCE
    recover(world.deps)
    assert world.live.source(LATE, "shop.py") == MENDED, "it is asked again"


def test_where_somebody_went_on_from_the_files_late_processes_are_left_alone():
    world = World()
    identity = applied(world)
    world.live.lose(PROCESS)
    world.live.expire(PROCESS)
    request_revert(world.deps, identity, actor=OWNER, reason="asked")
    world.run()
    world.repository.user_commit(
        {"shop.py": world.repository.commits[row(world).application.commit].tree["shop.py"]}, at=world.clock.now()
    )
    world.live.reconnect(PROCESS)
    recover(world.deps)
    assert world.live.source(PROCESS, "shop.py") == MENDED


def test_what_an_interrupted_application_had_swapped_is_taken_back_when_the_next_hub_cannot_move_the_files():
    world = World()
    identity = approved(world)
    plan = FaultPlan(outcome=Outcome.DIES_AFTER, at_call=-1)
    deps = faulty(world.deps, plan)
    world.starter.queue.clear()
    with pytest.raises(SimulatedDeath):
        dying_after_the_swap(deps, plan, identity)
    assert world.live.source(PROCESS, "shop.py") == MENDED
    world.repository.faults.calls["advance"] = Fault.FAIL
    world.restart()
    assert row(world).state is S.FAILED
    assert world.live.source(PROCESS, "shop.py") == SOURCE
    assert world.violations() == ()


def dying_after_the_swap(deps, plan, identity):
    """Apply, and die when the process has swapped."""
    swap = deps.live.swap

    class Live:
        def __getattr__(self, name):
            return getattr(deps.live, name)

        def swap(self, *args, **options):
            plan.at_call = len(plan.calls)
            return swap(*args, **options)

    apply(replace(deps, live=Live()), identity)


def test_a_late_process_that_cannot_be_exchanged_is_named_until_it_is_restarted():
    world = World()
    identity = applied(world)
    world.live.lose(PROCESS)
    world.live.expire(PROCESS)
    request_revert(world.deps, identity, actor=OWNER, reason="asked")
    world.run()
    world.live.reconnect(PROCESS)
    world.live.misbehave(PROCESS, "rollback", Misbehaviour.REFUSE)
    with pytest.raises(Unavailable, match="still runs the change and must be restarted"):
        recover(world.deps)
    world.live.end(PROCESS)
    recover(world.deps)


def test_after_an_hour_nobody_is_looked_for_any_more():
    world = World()
    identity = applied(world)
    world.live.lose(PROCESS)
    world.live.expire(PROCESS)
    request_revert(world.deps, identity, actor=OWNER, reason="asked")
    world.run()
    world.clock.move(timedelta(hours=2))
    world.live.reconnect(PROCESS)
    before = len(world.live.calls)
    recover(world.deps)
    assert len(world.live.calls) == before


def test_a_code_branch_that_git_cannot_remove_now_is_swept_later_and_disturbs_nothing(replaced):
    world = World()
    identity = approved(world)

    class Refusing:
        def __getattr__(self, name):
            return getattr(world.deps.candidates, name)

        def delete(self, proposal_id):
            raise Unavailable("git-locked", "scripted")

    apply(replaced(world, candidates=Refusing()), identity)
    assert row(world).state is S.OBSERVING
    assert world.deps.candidates.proposals() == [identity]
    recover(world.deps)
    assert world.deps.candidates.proposals() == []


def test_a_write_that_reports_failure_and_was_made_counts_as_made():
    world = World()
    identity = approved(world)
    world.store.faults.fail_after_commit = 1
    apply(world.deps, identity)
    assert row(world).state is S.OBSERVING
