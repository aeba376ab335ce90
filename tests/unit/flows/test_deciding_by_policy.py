"""Added policies at the doors of the flows: what they open, what they close, and what the ledger says of it."""

from dataclasses import replace

import pytest

from homeostat.adapters.policies import built_in_policies
from homeostat.flows.applying import request_apply
from homeostat.flows.deciding import approve, defer, reject
from homeostat.flows.editing import Edit, edit
from homeostat.flows.proposing import Submission, submit
from homeostat.flows.restarting import request_restart
from homeostat.flows.reverting import request_automatic_revert, request_revert
from homeostat.model.proposal import Proposal, ProposalState
from homeostat.model.settings import PolicySettings
from homeostat.model.verdict import Denied
from homeostat.policy.authorization import Authorizer
from homeostat.policy.document import policy_in_force
from homeostat.ports.proving import ProofRuns
from homeostat.testing.fake_prover import test_run as run_of
from homeostat.testing.world import BOT, DIFF, OWNER, World

TEXTS, SCHEMA = built_in_policies()
OWN = '@id("bots-put-their-own-aside")\npermit (principal is Agent, action == Action::"defer", resource)\n'
OWN += "when { context.submitted_it };\n"


def ruled_by(world, text):
    """Give the world other policies on who may, as another start of its hub would."""
    authorizer = Authorizer(TEXTS, schema=SCHEMA, added={"added.cedar": text})
    policy = policy_in_force(PolicySettings(), authorization=authorizer.digest)
    world.deps = replace(world.deps, authorizer=authorizer, policy=policy)
    return world


def forbids(action, when="true"):
    return f'@id("closed")\nforbid (principal, action == Action::"{action}", resource) when {{ {when} }};\n'


def ready(world, actor=BOT):
    proposal = submit(world.deps, Submission(title="Mend", rationale="It breaks.", diff=DIFF), actor=actor)
    assert isinstance(proposal, Proposal), proposal
    world.run()
    return world.deps.proposals.get(proposal.id)


def applied(world):
    row = ready(world)
    assert isinstance(request_apply(world.deps, row.id, actor=OWNER, seen=None), Proposal)
    world.run()
    return world.deps.proposals.get(row.id)


def last(world, kind):
    return next(entry for entry in reversed(world.store.ledger.entries()) if entry.kind == kind)


def test_an_added_permit_opens_a_door_and_the_ledger_names_it():
    world = ruled_by(World(), OWN)
    outcome = defer(world.deps, ready(world).id, actor=BOT)
    assert isinstance(outcome, Proposal) and outcome.state is ProposalState.DEFERRED
    assert last(world, "proposal.deferred").body["policies"] == ["bots-put-their-own-aside"]


def test_it_opens_no_other_and_not_to_others():
    world = ruled_by(World(), OWN)
    row = ready(world, actor=OWNER)
    assert defer(world.deps, row.id, actor=BOT).code == "not-a-person"
    assert reject(world.deps, row.id, actor=BOT, notes="no").code == "not-a-person"


DOORS = {
    "approve": lambda deps, row: approve(deps, row.id, actor=OWNER, seen=None),
    "apply": lambda deps, row: request_apply(deps, row.id, actor=OWNER, seen=None),
    "force": lambda deps, row: request_apply(deps, row.id, actor=OWNER, seen=None, forced=True, reason="now"),
    "reject": lambda deps, row: reject(deps, row.id, actor=OWNER, notes="no"),
    "defer": lambda deps, row: defer(deps, row.id, actor=OWNER),
    "edit": lambda deps, row: edit(deps, row.id, Edit(title="Other"), actor=OWNER),
    "revert": lambda deps, row: request_revert(deps, row.id, actor=OWNER, reason="why"),
    "restart": lambda deps, row: request_restart(deps, actor=OWNER),
}


@pytest.mark.parametrize("action", DOORS)
def test_an_added_forbid_closes_each_door_and_nothing_moves(action):
    world = ruled_by(World(), forbids(action))
    row, before = ready(world), world.store.ledger.head()
    outcome = DOORS[action](world.deps, row)
    assert isinstance(outcome, Denied) and (outcome.code, outcome.policies) == ("forbidden-by-policy", ("closed",))
    assert world.deps.proposals.get(row.id) == row and world.store.ledger.head() == before


def test_a_folder_that_is_closed_takes_neither_proposals_nor_edits_into_it():
    closed = 'context.paths.contains("shop.py")'
    world = ruled_by(World(), forbids("propose", closed))
    outcome = submit(world.deps, Submission(title="Mend", rationale="It breaks.", diff=DIFF), actor=BOT)
    assert isinstance(outcome, Denied) and outcome.policies == ("closed",)
    assert world.deps.proposals.find() == []
    world = ruled_by(World(), forbids("edit", 'context.paths.contains("new.py")'))
    row = ready(world)
    other = "--- /dev/null\n+++ b/new.py\n@@ -0,0 +1 @@\n+x = 1\n"
    assert edit(world.deps, row.id, Edit(diff=other), actor=BOT).policies == ("closed",)
    assert isinstance(edit(world.deps, row.id, Edit(title="Other"), actor=BOT), Proposal)


def test_another_policy_file_asks_for_a_new_approval():
    world = World()
    row = ready(world)
    assert isinstance(approve(world.deps, row.id, actor=OWNER, seen=None), Proposal)
    ruled_by(world, OWN)
    assert request_apply(world.deps, row.id, actor=OWNER, seen=None).code == "policy-changed"


@pytest.mark.parametrize("decide", ["approve", "apply"])
def test_of_a_blocked_one_it_is_said_that_it_is_blocked_under_whatever_policy(decide):
    """Its diff handed in again would be blocked again: not to be advised."""
    world = World()
    red = ProofRuns(sandbox="fake", base=run_of({"t::a": "passed"}), candidate=run_of({"t::a": "failed"}))
    world.prover.script(red)
    row = ready(world)
    ruled_by(world, OWN)
    outcome = DOORS[decide](world.deps, row)
    assert isinstance(outcome, Denied) and outcome.code == "blocked" and row.state_reason in outcome.reasons[0]
    assert outcome.hint == f"hand in a mended diff: homeostat proposals edit {row.id[:8]} --diff FILE"


def test_no_policy_stands_between_harm_and_its_end():
    world = World()
    row = applied(world)
    ruled_by(world, '@id("closed")\nforbid (principal, action, resource);\n')
    assert request_revert(world.deps, row.id, actor=OWNER, reason="why").policies == ("closed",)
    assert isinstance(request_automatic_revert(world.deps, row.id, reason="errors"), Proposal)
    world.run()
    assert world.deps.proposals.get(row.id).state is ProposalState.REVERTED


def test_who_handed_in_and_who_reverted_stand_in_the_ledger_with_their_policies():
    world = World()
    row = applied(world)
    assert last(world, "proposal.submitted").body["policies"] == ["agents-propose"]
    assert isinstance(request_revert(world.deps, row.id, actor=OWNER, reason="why"), Proposal)
    assert last(world, "proposal.revert_started").body["policies"] == ["people-apply-and-revert"]
