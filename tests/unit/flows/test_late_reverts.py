"""Taking back what others were built upon."""

from dataclasses import replace

import pytest

from homeostat.audit import proposal_story
from homeostat.audit.proposal_story import approvals, diffs, group_moves
from homeostat.core.errors import Conflict
from homeostat.flows.applying import request_apply
from homeostat.flows.editing import Edit
from homeostat.flows.editing import edit as edited
from homeostat.flows.late_reverts import preview, propose_revert
from homeostat.flows.observing import accept, observe
from homeostat.flows.proposing import Submission, submit
from homeostat.flows.reverting import request_revert
from homeostat.model.proposal import Proposal, ProposalState
from homeostat.model.settings import CanarySettings
from homeostat.model.verdict import Denied
from homeostat.testing.world import BOT, DIFF, MENDED, OWNER, PROCESS, SOURCE, WORLD_SETTINGS, World, file

S = ProposalState
LATER = MENDED.replace("PRICES = {'A': 1}", "PRICES = {'A': 1, 'B': 2}")


def applied(world):
    proposal = submit(world.deps, Submission(title="Mend", rationale="why", diff=DIFF), actor=BOT)
    world.run()
    request_apply(world.deps, proposal.id, actor=OWNER, seen=None)
    world.run()
    return world.deps.proposals.get(proposal.id)


def edit(world, text):
    world.repository.user_commit({"shop.py": None if text is None else file(text)}, at=world.clock.now())


def test_the_preview_moves_nothing_and_shows_what_would_be_left():
    world = World()
    proposal = applied(world)
    edit(world, LATER)
    head = world.deps.commits.head()
    seen = preview(world.deps, proposal.id)
    assert [item.path for item in seen.drift] == ["shop.py"]
    assert seen.conflicts == ()
    assert b"-    return PRICES.get(coupon, 0)\n+    return PRICES[coupon]\n" in seen.diff
    assert (seen.head, world.deps.commits.head()) == (head, head)
    assert world.repository.disk["shop.py"].content.decode() == LATER
    assert world.deps.proposals.get(proposal.id) == proposal


def test_it_is_proposed_proved_approved_and_applied_like_any_other():
    world = World()
    proposal = applied(world)
    edit(world, LATER)
    taken = propose_revert(world.deps, proposal.id, actor=BOT, reason="nobody used it")
    assert isinstance(taken, Proposal)
    assert (taken.title, taken.takes_back) == ("Take back: Mend", proposal.id)
    assert "nobody used it" in taken.rationale and proposal.id in taken.rationale
    world.run()
    assert world.deps.proposals.get(taken.id).state is S.AWAITING_APPROVAL
    request_apply(world.deps, taken.id, actor=OWNER, seen=None)
    world.run()
    assert world.repository.disk["shop.py"].content.decode() == SOURCE.replace("{'A': 1}", "{'A': 1, 'B': 2}")
    assert world.violations() == ()


def test_a_conflict_is_left_to_a_person_and_named():
    world = World()
    proposal = applied(world)
    edit(world, MENDED.replace("get(coupon, 0)", "get(coupon, 7)"))
    assert preview(world.deps, proposal.id).conflicts == ("shop.py",)
    outcome = propose_revert(world.deps, proposal.id, actor=OWNER, reason="")
    assert isinstance(outcome, Denied) and outcome.code == "merge-conflict"
    assert "shop.py" in outcome.reasons[0]


def test_what_somebody_undid_already_is_not_proposed():
    world = World()
    proposal = applied(world)
    edit(world, SOURCE)
    outcome = propose_revert(world.deps, proposal.id, actor=OWNER, reason="")
    assert isinstance(outcome, Denied) and outcome.code == "nothing-to-revert"


def test_where_nothing_came_later_a_plain_revert_can_be_had():
    world = World()
    proposal = applied(world)
    seen = preview(world.deps, proposal.id)
    assert seen.exact and seen.drift == () and seen.later == ()
    assert b"+    return PRICES[coupon]" in seen.diff


class Elsewhere:
    """A deployed tree whose branch is not checked out: `DeployedTree.drift` refuses."""

    def drift(self, change):
        raise Conflict("checkout-elsewhere", "`main` is not checked out")

    def prepare(self, **given):
        return self.tree.prepare(**given)

    def __init__(self, tree):
        self.tree = tree


@pytest.mark.parametrize(
    ("text", "problems"),
    [(None, ["missing"]), (LATER, ["modified"]), (MENDED, [])],
)
def test_where_the_checkout_cannot_be_looked_at_no_plain_revert_is_promised(text, problems):
    world = World()
    proposal = applied(world)
    if text != MENDED:
        edit(world, text)
    deps = replace(world.deps, deployed=Elsewhere(world.deps.deployed))
    with pytest.raises(Conflict):
        request_revert(deps, proposal.id, actor=OWNER, reason="")
    seen = preview(deps, proposal.id)
    assert (seen.exact, seen.unseen) == (False, "`main` is not checked out")
    assert [item.problem for item in seen.drift] == problems, "the branch itself can be looked at"


def test_of_a_change_on_a_share_of_the_calls_the_branch_has_nothing_and_a_revert_can_be_had():
    world = World(settings=replace(WORLD_SETTINGS, canary=CanarySettings(steps=(10,))))
    proposal = applied(world)
    assert proposal.state is S.CANARY
    seen = preview(world.deps, proposal.id)
    assert (seen.exact, seen.diff) == (True, b"")
    outcome = propose_revert(world.deps, proposal.id, actor=OWNER, reason="")
    assert isinstance(outcome, Denied) and outcome.code == "nothing-to-revert"
    request_revert(world.deps, proposal.id, actor=OWNER, reason="")
    world.run()
    assert world.deps.proposals.get(proposal.id).state is S.REVERTED


def test_what_only_the_processes_were_brought_back_from_can_still_be_taken_out_of_the_files():
    world = World()
    world.serve(seconds=30, requests=50, errors=0)
    proposal = applied(world)
    edit(world, LATER)
    world.serve(seconds=5, requests=50, errors=10)
    observe(world.deps, proposal.id)
    world.run()
    half = world.deps.proposals.get(proposal.id)
    assert half.state is S.FAILED and half.application.automatic_revert
    assert not isinstance(preview(world.deps, proposal.id), Denied)
    assert isinstance(propose_revert(world.deps, proposal.id, actor=OWNER, reason=""), Proposal)


def built_upon(world):
    """A change, a later edit of the same file, and what takes the change out again, as far as being proved."""
    proposal = applied(world)
    edit(world, LATER)
    world.live.load(PROCESS, "shop.py", LATER)
    taker = propose_revert(world.deps, proposal.id, actor=BOT, reason="nobody used it")
    world.run()
    return proposal.id, taker.id


def go_live(world, proposal_id):
    request_apply(world.deps, proposal_id, actor=OWNER, seen=None)
    world.run()


def states(world, *ids):
    return [world.deps.proposals.get(item).state for item in ids]


def again(world):
    return submit(world.deps, Submission(title="Mend again", rationale="why", diff=DIFF), actor=BOT)


def observed(world, *ids):
    for item in ids:
        observe(world.deps, item)
    world.run()


def untrue(world):
    """What `homeostat verify` finds wrong between rows and ledger."""
    rows, moves = world.deps.proposals.find(), group_moves(world.deps.ledger.entries(limit=1000))
    return [*proposal_story.states(rows, moves), *diffs(rows, moves), *approvals(rows, moves)]


@pytest.mark.parametrize("first", ["original", "taker"])
def test_what_was_taken_out_is_reverted_and_locked_out_and_judged_no_more(first):
    world = World()
    world.serve(seconds=30, requests=50, errors=0)
    original, taker = built_upon(world)
    go_live(world, taker)
    world.serve(seconds=70, requests=50, errors=0)
    observed(world, original if first == "original" else taker)
    assert states(world, original) == [S.REVERTED]
    (entry,) = [item for item in world.deps.ledger.entries(subject=original) if item.kind == "proposal.taken_out"]
    assert entry.body["by"] == taker
    observed(world, original, taker, original)
    assert states(world, original, taker) == [S.REVERTED, S.IMPLEMENTED]
    assert (world.violations(), untrue(world)) == ((), [])
    edit(world, SOURCE)
    assert again(world).code == "locked-out"


def test_what_was_called_well_before_is_reverted_too():
    world = World()
    world.serve(seconds=30, requests=50, errors=0)
    original, taker = built_upon(world)
    world.serve(seconds=70, requests=50, errors=0)
    observed(world, original)
    assert states(world, original) == [S.IMPLEMENTED]
    go_live(world, taker)
    observed(world, taker)
    assert states(world, original, taker) == [S.REVERTED, S.OBSERVING]
    assert world.violations() == ()


def test_until_it_is_live_on_all_calls_nothing_is_taken_out():
    world = World()
    original, taker = built_upon(world)
    observed(world, original, taker)
    assert states(world, original, taker) == [S.OBSERVING, S.AWAITING_APPROVAL]
    world.deps = replace(world.deps, settings=replace(world.deps.settings, canary=CanarySettings(steps=(10,))))
    go_live(world, taker)
    observed(world, original, taker)
    assert states(world, original, taker) == [S.OBSERVING, S.CANARY]
    request_revert(world.deps, taker, actor=OWNER, reason="no")
    world.run()
    observed(world, original)
    assert states(world, original, taker) == [S.OBSERVING, S.REVERTED]


def test_nobody_accepts_what_was_just_taken_out():
    """Its finding would be resolved by traffic that did not run it."""
    world = World()
    original, taker = built_upon(world)
    go_live(world, taker)
    world.serve(seconds=70, requests=50, errors=1)
    world.live.lose(PROCESS)
    outcome = accept(world.deps, original, actor=OWNER, reason="it is right")
    assert isinstance(outcome, Denied) and taker in outcome.reasons[0]
    assert states(world, original) == [S.OBSERVING]


def test_when_the_taking_out_is_taken_back_the_change_is_in_force_again():
    world = World()
    world.serve(seconds=30, requests=50, errors=0)
    original, taker = built_upon(world)
    go_live(world, taker)
    observed(world, taker)
    assert states(world, original, taker) == [S.REVERTED, S.OBSERVING]
    world.serve(seconds=5, requests=50, errors=10)
    observed(world, taker)
    assert states(world, original, taker) == [S.OBSERVING, S.REVERTED]
    assert world.repository.disk["shop.py"].content.decode() == LATER
    assert (world.violations(), untrue(world)) == ((), [])
    observed(world, original, taker)
    assert states(world, original, taker) == [S.OBSERVING, S.REVERTED]


def test_nobody_can_say_of_a_change_that_another_was_taken_back_with_it():
    """Only the hub says so, of a diff that it made itself: not whoever hands one in, nor whoever edits one."""
    diff = DIFF.replace("-    return PRICES[coupon]", "-    return PRICES.get(coupon, 0)").replace(
        "+    return PRICES.get(coupon, 0)", "+    return PRICES.get(coupon, 7)"
    )
    world = World()
    proposal = applied(world)
    said = {"takes_back": proposal.id}
    forged = submit(world.deps, Submission(title="x", rationale="y", diff=diff, provenance=said), actor=BOT)
    assert isinstance(forged, Proposal), forged
    world.run()
    go_live(world, forged.id)
    observed(world, forged.id, proposal.id)
    assert states(world, proposal.id, forged.id) == [S.OBSERVING, S.OBSERVING]


def test_what_somebody_made_of_the_hubs_diff_takes_nothing_out():
    world = World()
    original, taker = built_upon(world)
    proposed = world.deps.proposals.get(taker)
    assert proposed.takes_back == original
    other = proposed.diff.replace("+    return PRICES[coupon]", "+    return PRICES[coupon] or 0")
    assert isinstance(edited(world.deps, taker, Edit(diff=other), actor=BOT), Proposal)
    world.run()
    go_live(world, taker)
    observed(world, taker, original)
    assert states(world, original, taker) == [S.OBSERVING, S.OBSERVING]


def test_the_changes_that_came_later_are_named():
    world = World()
    first = applied(world)
    diff = (
        "--- a/shop.py\n+++ b/shop.py\n@@ -2,4 +2,4 @@\n     return PRICES.get(coupon, 0)\n \n \n"
        "-PRICES = {'A': 1}\n+PRICES = {'A': 1, 'B': 2}\n"
    )
    later = submit(world.deps, Submission(title="More prices", rationale="why", diff=diff), actor=BOT)
    world.run()
    request_apply(world.deps, later.id, actor=OWNER, seen=None)
    world.run()
    assert [item.id for item in preview(world.deps, first.id).later] == [later.id]


def test_of_what_is_not_applied_nothing_can_be_taken_back():
    world = World()
    proposal = submit(world.deps, Submission(title="Mend", rationale="why", diff=DIFF), actor=BOT)
    world.run()
    for outcome in (preview(world.deps, proposal.id), propose_revert(world.deps, proposal.id, actor=OWNER, reason="")):
        assert isinstance(outcome, Denied) and outcome.code == "nothing-to-revert"


def test_a_branch_that_was_rewritten_is_said():
    world = World()
    proposal = applied(world)
    world.repository.branches["main"] = proposal.application.before_commit
    outcome = preview(world.deps, proposal.id)
    assert isinstance(outcome, Denied) and outcome.code == "not-in-branch"


def test_a_plain_revert_that_is_refused_says_where_to_look():
    world = World()
    proposal = applied(world)
    edit(world, LATER)
    outcome = request_revert(world.deps, proposal.id, actor=OWNER, reason="")
    assert isinstance(outcome, Denied) and "--preview" in outcome.hint
