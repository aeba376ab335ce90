"""The hub dies at every single call it makes, before and after the call had its effect.

Then a new hub starts on what is left. Whatever the moment, it ends in the right state, and branch,
checkout, process, ledger and records agree with the row.
"""

import pytest

from homeostat.audit.chain import ChainIntact, verify_integrity
from homeostat.flows.applying import apply, request_apply
from homeostat.flows.proposing import Submission, submit
from homeostat.flows.reverting import request_revert, revert
from homeostat.flows.validating import validate
from homeostat.model.proposal import ProposalState
from homeostat.testing.memory_repository import SimulatedDeath
from homeostat.testing.world import BOT, DIFF, MENDED, OWNER, PROCESS, SOURCE, World

S = ProposalState
MEND = Submission(title="Mend", rationale="why", diff=DIFF)
MOST_CALLS = 200


def _hand_in_and_validate(world, deps):
    proposal = submit(deps, MEND, actor=BOT)
    validate(deps, proposal.id)


def _apply(world, deps):
    proposal = world.deps.proposals.find()[0]
    request_apply(deps, proposal.id, actor=OWNER, seen=None)
    apply(deps, proposal.id)


def _revert(world, deps):
    proposal = world.deps.proposals.find()[0]
    request_revert(deps, proposal.id, actor=OWNER, reason="asked")
    revert(deps, proposal.id)


def _prepared(scene):
    world = World()
    if scene is not _hand_in_and_validate:
        _hand_in_and_validate(world, world.deps)
    if scene is _revert:
        _apply(world, world.deps)
    world.starter.queue.clear()
    return world


RIGHT_ENDS = {
    _hand_in_and_validate: {None: SOURCE, S.AWAITING_APPROVAL: SOURCE},
    _apply: {S.AWAITING_APPROVAL: SOURCE, S.OBSERVING: MENDED},
    _revert: {S.OBSERVING: MENDED, S.REVERTED: SOURCE},
}


def _check(world, scene):
    rows = world.deps.proposals.find()
    state = rows[0].state if rows else None
    assert state in RIGHT_ENDS[scene], state
    expected = RIGHT_ENDS[scene][state]
    head = world.repository.at(world.repository.branches["main"])
    assert head.tree["shop.py"].content.decode() == expected
    assert world.repository.disk["shop.py"].content.decode() == expected
    assert world.repository.index["shop.py"].content.decode() == expected
    assert world.live.source(PROCESS, "shop.py") == expected
    entries = world.store.ledger.entries()
    assert isinstance(verify_integrity(entries, verify=world.store.signer.verify), ChainIntact)
    if rows:
        assert entries[-1].body["to"] == state.value
        assert entries[-1].body["version"] == rows[0].version
        assert world.deps.candidates.proposals() == ([rows[0].id] if state is S.AWAITING_APPROVAL else [])
    assert world.store.records.pending_records() == []


@pytest.mark.parametrize("after", [False, True], ids=["before-its-effect", "after-its-effect"])
@pytest.mark.parametrize("scene", RIGHT_ENDS, ids=lambda scene: scene.__name__.strip("_"))
def test_whenever_the_hub_dies_the_next_one_ends_in_the_right_state(scene, after):
    ends = set()
    for call in range(MOST_CALLS):
        world = _prepared(scene)
        try:
            scene(world, world.mortal(dies_at_call=call, after=after))
        except SimulatedDeath:
            world.restart()
            _check(world, scene)
            rows = world.deps.proposals.find()
            ends.add(rows[0].state if rows else None)
            continue
        assert call > 10, "the scene made hardly any call: nothing was tested"
        _check(world, scene)
        break
    else:
        pytest.fail(f"the scene makes more than {MOST_CALLS} calls")
    assert ends == set(RIGHT_ENDS[scene])


@pytest.mark.parametrize("scene", [_apply, _revert], ids=lambda scene: scene.__name__.strip("_"))
def test_whenever_it_dies_inside_the_move_of_the_checkout_the_next_one_finishes(scene):
    for steps in range(50):
        world = _prepared(scene)
        world.repository.faults.die_after_steps = steps
        try:
            scene(world, world.deps)
        except SimulatedDeath:
            world.restart()
            _check(world, scene)
            continue
        assert steps > 2
        break
