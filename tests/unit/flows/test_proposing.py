from dataclasses import replace

import pytest

from homeostat.core.errors import InvalidInput, NotFound
from homeostat.flows.proposing import Submission, submit
from homeostat.model.proposal import Proposal, ProposalState
from homeostat.model.verdict import Denied
from homeostat.testing.world import BOT, DIFF, OWNER, World

MEND = Submission(title="Mend price", rationale="Unknown coupons raise.", diff=DIFF, author="fixer-bot")
RANDOM = "q7Zp9" + "Lw2xV" + "c8Rt4" + "Yb6Nn"


def handed_in(world, submission=MEND, actor=BOT):
    outcome = submit(world.deps, submission, actor=actor)
    assert isinstance(outcome, Proposal), outcome
    return outcome


def refused(world, submission, code):
    before = world.store.ledger.head().size
    outcome = submit(world.deps, submission, actor=BOT)
    assert isinstance(outcome, Denied) and outcome.code == code, outcome
    assert world.deps.proposals.find() == []
    return world.store.ledger.head().size - before


def test_a_patch_becomes_a_pending_proposal_with_its_ledger_entry_and_record():
    world = World()
    proposal = handed_in(world)
    assert proposal.state is ProposalState.PENDING
    assert proposal.files == ("shop.py",)
    assert proposal.author == "fixer-bot"
    assert world.store.ledger.head().size == 1
    assert world.store.records.pending_records() == []
    assert list(world.starter.queue) == [("submitted", proposal.id)]


def test_the_same_patch_again_answers_with_the_proposal_that_is_open():
    world = World()
    assert handed_in(world).id == handed_in(world).id
    assert len(world.deps.proposals.find()) == 1


def test_a_persons_own_label_is_replaced_by_their_pseudonym():
    assert handed_in(World(), replace(MEND, author="Ada Lovelace"), actor=OWNER).author == OWNER.id


def test_texts_are_cleaned_before_they_are_stored():
    world = World()
    proposal = handed_in(
        world, replace(MEND, rationale="ann@example.org could not pay from 10.1.2.3", evidence=("Bearer " + RANDOM,))
    )
    stored = repr(world.deps.proposals.get(proposal.id))
    assert "ann@example.org" not in stored and "10.1.2.3" not in stored and RANDOM not in stored


def test_a_patch_with_a_secret_is_refused_before_anything_of_it_is_stored():
    world = World()
    diff = DIFF.replace("PRICES.get(coupon, 0)\n", f"PRICES.get(coupon, 0) or connect(password='{RANDOM}')\n")
    assert refused(world, replace(MEND, diff=diff), "secret-in-diff") == 1
    assert RANDOM not in repr(world.store.ledger.entries())
    assert world.repository.branches.keys() == {"main"}


def test_a_patch_that_does_not_fit_its_base_is_refused():
    outcome = submit(World().deps, replace(MEND, diff=DIFF.replace("PRICES[coupon]", "COSTS[coupon]")), actor=BOT)
    assert isinstance(outcome, Denied)


def test_a_base_that_is_not_there_is_not_found():
    with pytest.raises(NotFound):
        submit(World().deps, replace(MEND, base_commit="f" * 40), actor=BOT)


@pytest.mark.parametrize(
    "bad",
    [
        {"title": ""},
        {"title": "x" * 201},
        {"title": "two\nlines"},
        {"rationale": " "},
        {"rationale": "x" * 20_001},
        {"evidence": ("x",) * 101},
        {"evidence": ("x" * 20_001,)},
        {"provenance": {"x" * 81: "y"}},
        {"diff": "\ud800"},
    ],
)
def test_texts_beyond_their_limits_are_invalid(bad):
    with pytest.raises(InvalidInput):
        submit(World().deps, replace(MEND, **bad), actor=BOT)
