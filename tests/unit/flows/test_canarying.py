"""A change on a share of the calls: begun, kept up, widened, passed on, given back, and found again after a crash."""

from dataclasses import replace
from datetime import timedelta

import pytest

from homeostat.core.errors import Unavailable
from homeostat.core.ids import ProcessId
from homeostat.flows.applying import request_apply
from homeostat.flows.canarying import look as look_at_canary
from homeostat.flows.observing import accept, observe
from homeostat.flows.proposing import Submission, submit
from homeostat.flows.reverting import request_revert
from homeostat.model.canary import ShadowOutcome
from homeostat.model.proposal import ProposalState
from homeostat.model.settings import CanarySettings
from homeostat.model.verdict import Denied
from homeostat.testing.fake_live import Misbehaviour
from homeostat.testing.world import BOT, DIFF, MENDED, OWNER, PROCESS, SOURCE, WORLD_SETTINGS, World, file

S = ProposalState
SECOND = ProcessId("00000000-0000-4000-8000-000000000002")
STEPS = CanarySettings(steps=(10, 50), step_s=5.0, max_s=600.0)


def trying(*, processes=1, settings=STEPS):
    world = World(settings=replace(WORLD_SETTINGS, canary=settings))
    if processes == 2:
        world.live.attach(world.process(identity=SECOND), loaded={"shop.py": SOURCE})
    return world


def propose_and_apply(world):
    proposal = submit(world.deps, Submission(title="Mend", rationale="why", diff=DIFF), actor=BOT)
    world.run()
    asked = request_apply(world.deps, proposal.id, actor=OWNER, seen=None)
    assert not isinstance(asked, Denied), asked.reasons
    world.run()
    return world.deps.proposals.get(proposal.id)


def row(world):
    (found,) = world.deps.proposals.find()
    return found


def serve(world, *, seconds, calls=500, failed=0):
    """Let calls be made, and the hub look at them after each second."""
    for _ in range(seconds):
        world.try_out(row(world).id, seconds=1, calls=calls, failed=failed)
        if row(world).state is S.CANARY:
            observe(world.deps, row(world).id)
            world.run()


def kinds(world):
    entries = world.deps.ledger.entries(subject=row(world).id)
    return [entry.kind.removeprefix("proposal.") for entry in entries]


def test_a_share_of_the_calls_runs_it_and_the_disk_is_as_before():
    world = trying(processes=2)
    head = world.deps.commits.head()
    proposal = propose_and_apply(world)
    assert proposal.state is S.CANARY
    assert proposal.status == "approved"
    assert [world.live.share(item, proposal.id) for item in (PROCESS, SECOND)] == [10, 10]
    assert world.live.source(PROCESS, "shop.py") == SOURCE
    assert world.deps.commits.head() == head
    assert world.violations() == ()


def test_it_goes_step_by_step_to_all_calls_and_only_then_to_the_disk():
    world = trying()
    propose_and_apply(world)
    shares = []
    while row(world).state is S.CANARY:
        shares.append(world.live.share(PROCESS, row(world).id))
        serve(world, seconds=1)
        assert len(shares) < 300
    assert [share for share in (10, 50) if share in shares] == [10, 50]
    assert shares == sorted(shares)
    assert row(world).state is S.OBSERVING
    assert world.live.source(PROCESS, "shop.py") == MENDED
    assert world.live.share(PROCESS, row(world).id) == 100
    assert world.deps.commits.head() == row(world).application.commit
    assert kinds(world)[-4:] == ["canary_started", "canary_widened", "canary_passed", "went_live"]
    assert world.violations() == ()


def test_harm_takes_it_back_from_every_process_and_the_disk_never_had_it():
    world = trying(processes=2)
    head = world.deps.commits.head()
    propose_and_apply(world)
    serve(world, seconds=5, failed=30)
    proposal = row(world)
    assert proposal.state is S.REVERTED
    assert proposal.application.automatic_revert
    assert "ValueError" in proposal.application.revert_reason
    assert [world.live.share(item, proposal.id) for item in (PROCESS, SECOND)] == [0, 0]
    assert world.deps.commits.head() == head
    assert "went_live" not in kinds(world)
    assert world.violations() == ()


def test_what_was_given_back_is_locked_out():
    world = trying()
    propose_and_apply(world)
    serve(world, seconds=5, failed=30)
    again = submit(world.deps, Submission(title="Mend again", rationale="why", diff=DIFF), actor=BOT)
    assert isinstance(again, Denied)
    assert again.code == "locked-out"


def test_changes_are_tried_one_at_a_time():
    world = trying()
    world.repository.user_commit({"other.py": file("X = 1\n")}, at=world.clock.now())
    first = propose_and_apply(world)
    diff = "--- a/other.py\n+++ b/other.py\n@@ -1 +1 @@\n-X = 1\n+X = 2\n"
    second = submit(world.deps, Submission(title="Second", rationale="why", diff=diff), actor=BOT)
    world.run()
    refused = request_apply(world.deps, second.id, actor=OWNER, seen=None)
    assert isinstance(refused, Denied) and refused.code == "canary-under-way"
    assert first.id in refused.reasons[0]
    assert world.deps.proposals.get(second.id).state is S.AWAITING_APPROVAL
    request_revert(world.deps, first.id, actor=OWNER, reason="not today")
    world.run()
    assert not isinstance(request_apply(world.deps, second.id, actor=OWNER, seen=None), Denied)


def test_a_person_takes_it_back():
    world = trying()
    proposal = propose_and_apply(world)
    request_revert(world.deps, proposal.id, actor=OWNER, reason="not today")
    world.run()
    assert (row(world).state, row(world).application.automatic_revert) == (S.REVERTED, False)
    assert world.live.share(PROCESS, proposal.id) == 0


def test_without_calls_it_is_neither_widened_nor_passed_and_a_person_decides_in_the_end():
    world = trying()
    proposal = propose_and_apply(world)
    refused = accept(world.deps, proposal.id, actor=OWNER, reason="it is fine")
    assert isinstance(refused, Denied) and refused.code == "not-held"
    serve(world, seconds=3, calls=0)
    world.clock.move(timedelta(seconds=STEPS.max_s))
    serve(world, seconds=1, calls=0)
    assert row(world).state is S.CANARY
    assert world.live.share(PROCESS, proposal.id) == 10
    assert isinstance(accept(world.deps, proposal.id, actor=BOT, reason="it is fine"), Denied)
    accept(world.deps, proposal.id, actor=OWNER, reason="nobody comes at night")
    world.run()
    assert row(world).state is S.OBSERVING
    (passed,) = [e for e in world.deps.ledger.entries(subject=proposal.id) if e.kind == "proposal.canary_passed"]
    assert passed.actor == OWNER.id and passed.body["doubt"]


def test_a_process_that_starts_later_or_lost_its_lease_routes_at_the_next_beat():
    world = trying()
    proposal = propose_and_apply(world)
    world.live.end_leases(PROCESS)
    world.live.attach(world.process(identity=SECOND), loaded={"shop.py": SOURCE})
    observe(world.deps, proposal.id, renew=False)
    assert [world.live.share(item, proposal.id) for item in (PROCESS, SECOND)] == [10, 10]
    asked = len(world.live.calls)
    observe(world.deps, proposal.id, renew=False)
    assert len(world.live.calls) == asked
    observe(world.deps, proposal.id, renew=True)
    assert len(world.live.calls) == asked + 2


def test_a_process_that_never_can_ends_it_for_all():
    world = trying()
    proposal = propose_and_apply(world)
    world.live.attach(world.process(identity=SECOND), loaded={"shop.py": "def price(coupon):\n    return 1\n"})
    observe(world.deps, proposal.id)
    world.run()
    assert row(world).state is S.REVERTED
    assert "cannot be tried everywhere" in row(world).application.revert_reason
    assert world.live.share(PROCESS, proposal.id) == 0


def test_a_process_that_does_not_answer_is_asked_again_and_holds_the_word_reverted_back():
    world = trying(processes=2)
    proposal = propose_and_apply(world)
    world.live.lose(SECOND)
    observe(world.deps, proposal.id)
    assert row(world).state is S.CANARY
    request_revert(world.deps, proposal.id, actor=OWNER, reason="not today")
    world.run()
    assert row(world).state is S.REVERTING
    assert "does not answer" in row(world).state_reason
    world.live.reconnect(SECOND)
    world.restart()
    assert row(world).state is S.REVERTED
    assert world.live.share(SECOND, proposal.id) == 0


def test_harm_is_taken_back_before_any_process_is_asked_for_anything_else():
    """A process that hangs would hold it up for as long as a command may take."""
    world = trying(processes=2)
    proposal = propose_and_apply(world)
    while row(world).state is S.CANARY:
        world.live.end_leases(SECOND)
        world.try_out(proposal.id, seconds=1, calls=500, failed=30)
        before = len(world.live.calls)
        observe(world.deps, proposal.id)
    assert "swap" not in [command for command, *_ in world.live.calls[before:]]
    world.run()
    assert row(world).state is S.REVERTED


def test_a_wider_share_is_routed_at_once():
    world = trying(processes=2)
    proposal = propose_and_apply(world)
    while row(world).application.canary.percent == 10:
        world.try_out(proposal.id, seconds=1, calls=500)
        observe(world.deps, proposal.id)
    assert [world.live.share(item, proposal.id) for item in (PROCESS, SECOND)] == [50, 50]


@pytest.mark.parametrize("how", [Misbehaviour.REFUSE, Misbehaviour.FAIL, Misbehaviour.NOT_ROUTABLE])
def test_where_one_process_cannot_route_it_goes_live_at_once_and_says_why(how):
    world = trying(processes=2)
    world.live.misbehave(SECOND, "swap", how)
    proposal = propose_and_apply(world)
    assert proposal.state is S.OBSERVING
    assert world.live.source(PROCESS, "shop.py") == world.live.source(SECOND, "shop.py") == MENDED
    assert any("not tried on a share of the calls first" in line for line in proposal.log)


def test_a_branch_that_moved_on_ends_it_with_everything_given_back():
    world = trying()
    proposal = propose_and_apply(world)
    world.repository.user_commit({"shop.py": None}, at=world.clock.now())
    while row(world).state is S.CANARY:
        serve(world, seconds=1)
    assert row(world).state is S.FAILED
    assert world.live.share(PROCESS, proposal.id) == 0
    assert world.live.source(PROCESS, "shop.py") == SOURCE


def test_one_that_does_not_answer_at_the_begin_is_asked_again_and_never_lets_the_change_by_its_trial():
    world = trying(processes=2)
    world.live.stop(SECOND)
    proposal = propose_and_apply(world)
    assert proposal.state is S.CANARY
    assert [world.live.share(item, proposal.id) for item in (PROCESS, SECOND)] == [10, 0]
    world.live.go_on(SECOND)
    observe(world.deps, proposal.id)
    assert world.live.share(SECOND, proposal.id) == 10


def test_where_none_answers_at_the_begin_nothing_goes_live_until_one_does():
    world = trying()
    world.live.stop(PROCESS)
    with pytest.raises(Unavailable, match="none of 1 running processes"):
        propose_and_apply(world)
    assert (row(world).state, world.live.source(PROCESS, "shop.py")) == (S.APPLYING, SOURCE)
    world.live.go_on(PROCESS)
    world.restart()
    assert (row(world).state, world.live.share(PROCESS, row(world).id)) == (S.CANARY, 10)


def test_one_that_hangs_holds_up_neither_the_leases_of_the_others_nor_the_end_of_harm():
    """It was started first, and so stands first in every list; what it routes ends with its lease."""
    world = trying(processes=2)
    proposal = propose_and_apply(world)
    world.live.stop(PROCESS)
    world.live.calls.clear()
    observe(world.deps, proposal.id)
    assert [process for _, process, _ in world.live.calls] == [PROCESS, SECOND]
    request_revert(world.deps, proposal.id, actor=OWNER, reason="not today")
    world.live.calls.clear()
    world.run()
    assert [(kind, process) for kind, process, _ in world.live.calls][:2] == [
        ("rollback", PROCESS),
        ("rollback", SECOND),
    ]
    assert (row(world).state, world.live.share(SECOND, proposal.id)) == (S.REVERTING, 0)
    world.live.go_on(PROCESS)
    world.restart()
    assert (row(world).state, world.live.share(PROCESS, proposal.id)) == (S.REVERTED, 0)


def test_one_that_is_out_of_sight_holds_the_word_back_until_its_lease_is_over():
    """It was cut off for so long that the hub lists it no more; it has not ended for all that is known."""
    world = trying(processes=2)
    proposal = propose_and_apply(world)
    world.live.lose(SECOND)
    world.live.expire(SECOND)
    request_revert(world.deps, proposal.id, actor=OWNER, reason="not today")
    world.run()
    assert row(world).state is S.REVERTING
    assert "out of sight" in row(world).state_reason
    assert world.live.share(SECOND, proposal.id) == 10
    world.clock.move(timedelta(seconds=STEPS.lease_s + 5))
    world.live.end_leases(SECOND)
    world.restart()
    assert row(world).state is S.REVERTED


def test_one_that_turns_up_still_routing_is_taken_back_though_somebody_went_on_from_the_files():
    world = trying(processes=2)
    proposal = propose_and_apply(world)
    world.live.lose(SECOND)
    world.live.expire(SECOND)
    request_revert(world.deps, proposal.id, actor=OWNER, reason="not today")
    world.run()
    world.clock.move(timedelta(seconds=STEPS.lease_s + 5))
    world.restart()
    assert row(world).state is S.REVERTED
    world.repository.user_commit({"shop.py": file(SOURCE + "# gone on\n")}, at=world.clock.now())
    world.live.reconnect(SECOND)
    world.restart()
    assert world.live.share(SECOND, proposal.id) == 0
    assert world.violations() == ()


def test_one_that_has_ended_holds_nothing_back():
    world = trying(processes=2)
    proposal = propose_and_apply(world)
    world.live.end(SECOND)
    request_revert(world.deps, proposal.id, actor=OWNER, reason="not today")
    world.run()
    assert row(world).state is S.REVERTED


def test_a_renewal_that_is_on_its_way_while_it_is_taken_back_holds_the_word_back_and_is_the_last_one():
    """The beat has seen a canary, and a person takes it back before the beat has asked every process."""
    world = trying(processes=2)
    proposal = propose_and_apply(world)

    class Overtaken:
        def __getattr__(self, name):
            return getattr(world.live, name)

        def swap(self, process_id, *args, **options):
            request_revert(world.deps, proposal.id, actor=OWNER, reason="not today")
            world.run()
            assert row(world).state is S.REVERTING
            assert "being asked" in row(world).state_reason
            return world.live.swap(process_id, *args, **options)

    world.live.calls.clear()
    observe(replace(world.deps, live=Overtaken()), proposal.id)
    assert [kind for kind, *_ in world.live.calls].count("swap") == 1
    world.restart()
    assert row(world).state is S.REVERTED
    assert [world.live.share(item, proposal.id) for item in (PROCESS, SECOND)] == [0, 0]


def test_a_share_that_began_unheard_of_is_taken_back_too():
    """Its answer was late, and lost with the connection: the list does not show it, and a look does."""
    world = trying(processes=2)
    world.live.misbehave(SECOND, "swap", Misbehaviour.LATE)
    proposal = propose_and_apply(world)
    request_revert(world.deps, proposal.id, actor=OWNER, reason="not today")
    world.run()
    assert row(world).state is S.REVERTED
    assert world.live.share(SECOND, proposal.id) == 0


def test_a_hub_that_died_while_it_was_begun_begins_it_again():
    world = trying()
    world.live.misbehave(PROCESS, "swap", Misbehaviour.LOSE_ANSWER)
    with pytest.raises(Unavailable):
        propose_and_apply(world)
    world.restart()
    assert row(world).state is S.CANARY
    assert world.live.share(PROCESS, row(world).id) == 10
    assert world.violations() == ()


def test_given_back_every_process_is_asked_by_the_changes_id_alone_and_git_hears_of_it_afterwards():
    """What never was on the disk nobody has read, and looking through a busy process takes a tenth of a second."""
    world = trying(processes=2)
    identity = propose_and_apply(world).id
    told = []
    publish, begin = world.deps.record_branch.publish, world.deps.start.revert_asked

    class Branch:
        def __getattr__(self, name):
            return getattr(world.deps.record_branch, name)

        def publish(self, **more):
            told.append("git")
            return publish(**more)

    class Start:
        def __getattr__(self, name):
            return getattr(world.deps.start, name)

        def revert_asked(self, proposal_id):
            told.append("begun")
            begin(proposal_id)

    deps = replace(world.deps, record_branch=Branch(), start=Start())
    request_revert(deps, identity, actor=OWNER, reason="asked")
    assert told == ["begun", "git"]
    world.live.calls.clear()
    world.run()
    assert row(world).state is S.REVERTED
    assert sorted(world.live.calls) == [("rollback", PROCESS, identity), ("rollback", SECOND, identity)]


PURE = replace(STEPS, pure=("shop.py:price",), shadow_calls=100)


def compare(world, *, seconds, **found):
    for _ in range(seconds):
        world.compare(row(world).id, seconds=1, found={ShadowOutcome(name): count for name, count in found.items()})
        if row(world).state is S.CANARY:
            observe(world.deps, row(world).id)
            world.run()


def test_what_is_declared_pure_runs_on_copies_before_any_caller_gets_what_it_gives():
    world = trying(processes=2, settings=PURE)
    proposal = propose_and_apply(world)
    assert (proposal.state, proposal.application.canary.shadowed) == (S.CANARY, ("shop.py:price",))
    shares = [world.live.routed(item)[proposal.id].share for item in (PROCESS, SECOND)]
    assert {(share.percent, share.shadowed) for share in shares} == {(0, ("shop.py:price",))}
    compare(world, seconds=10, same=30)
    assert row(world).application.canary.percent == 10
    share = world.live.routed(PROCESS)[proposal.id].share
    assert (share.percent, share.shadowed) == (10, ())
    serve(world, seconds=250)
    assert row(world).state is S.OBSERVING
    assert [kind for kind in kinds(world) if "canary" in kind] == [
        "canary_started", "canary_widened", "canary_widened", "canary_passed",
    ]  # fmt: skip
    assert world.violations() == ()


def test_what_differs_on_copies_is_held_and_a_person_lets_the_first_share_run_it():
    world = trying(settings=PURE)
    propose_and_apply(world)
    compare(world, seconds=20, same=30, returned=1)
    assert row(world).application.canary.percent == 0
    entry = "a person looked at the differences"
    assert not isinstance(accept(world.deps, row(world).id, actor=OWNER, reason=entry), Denied)
    world.run()
    observe(world.deps, row(world).id)
    world.run()
    assert (row(world).state, row(world).application.canary.percent) == (S.CANARY, 10)
    assert world.live.share(PROCESS, row(world).id) == 10
    assert entry in row(world).log[-1] and "20 of 620 calls differ" in row(world).log[-1]
    assert world.violations() == ()


def test_what_raises_on_copies_is_taken_back_and_no_caller_ever_got_it():
    world = trying(processes=2, settings=PURE)
    head = world.deps.commits.head()
    propose_and_apply(world)
    compare(world, seconds=2, same=30, raised=1)
    proposal = row(world)
    assert (proposal.state, proposal.application.automatic_revert) == (S.REVERTED, True)
    assert "raised, the old code did not" in proposal.application.revert_reason
    assert [world.live.routed(item) for item in (PROCESS, SECOND)] == [{}, {}]
    assert world.deps.commits.head() == head
    assert world.violations() == ()


def test_calls_that_nobody_makes_hold_it_before_the_first_share():
    world = trying(settings=PURE)
    propose_and_apply(world)
    for _ in range(12):
        world.clock.move(timedelta(seconds=60))
        observe(world.deps, row(world).id)
        world.run()
    assert (row(world).state, row(world).application.canary.percent) == (S.CANARY, 0)
    assert "no call was compared" in look_at_canary(world.deps, row(world)).course.reason
    assert not isinstance(accept(world.deps, row(world).id, actor=OWNER, reason="it is hardly called"), Denied)


def test_a_process_that_starts_meanwhile_compares_as_the_others_do():
    world = trying(settings=PURE)
    propose_and_apply(world)
    world.live.attach(world.process(identity=SECOND), loaded={"shop.py": SOURCE})
    observe(world.deps, row(world).id)
    assert world.live.routed(SECOND)[row(world).id].share.shadowed == ("shop.py:price",)
