"""A proof counts only with what the worker signed of it; what counted is on record."""

from dataclasses import replace

import pytest

from homeostat.adapters.keys import Ed25519Signer
from homeostat.audit.evidence import open_envelope, sign_envelope
from homeostat.audit.notes import NoteKey
from homeostat.audit.proposal_story import evidence, group_moves
from homeostat.core.digests import digest_bytes
from homeostat.flows.proposing import Submission, submit
from homeostat.model.proof import ProofVerdict
from homeostat.model.proposal import ProposalState
from homeostat.testing.world import BOT, DIFF, World


def proved(forge=None):
    """Return a world, and the proposal in it that was proved, with what became of the evidence on the way."""
    world = World()
    if forge is not None:
        world.prover.forge = forge
    proposal = submit(world.deps, Submission(title="Mend", rationale="It raises", diff=DIFF), actor=BOT)
    world.run()
    return world, world.deps.proposals.get(proposal.id)


def test_what_the_worker_signed_is_kept_and_the_ledger_names_it():
    world, row = proved()
    assert row.state is ProposalState.AWAITING_APPROVAL
    entry = world.deps.ledger.entries(subject=row.id)[-1]
    assert entry.body["evidence_digest"] == digest_bytes(row.proof.evidence.encode())
    assert entry.body["evidence_key"] == row.proof.evidence_key == world.prover.key()
    open_envelope(row.proof.evidence, NoteKey.parse(world.prover.key()))


def of_another_key(envelope):
    other = Ed25519Signer.generate()
    return sign_envelope(b"{}", public_key=other.public_key(), sign=other.sign)


@pytest.mark.parametrize(
    "forge",
    [lambda envelope: "", lambda envelope: envelope.replace("A", "B", 1), of_another_key],
    ids=["nothing signed", "an altered byte", "another key"],
)
def test_a_proof_without_the_workers_word_does_not_count(forge):
    world, row = proved(forge)
    assert (row.state, row.proof.verdict) == (ProposalState.BLOCKED, ProofVerdict.INCONCLUSIVE)
    assert row.proof.reasons[0].startswith("the proof does not count: ")
    assert row.proof.evidence == ""
    assert "evidence_digest" not in world.deps.ledger.entries(subject=row.id)[-1].body


def test_the_evidence_of_another_proposal_does_not_count():
    _, first = proved()
    second = DIFF.replace("coupon, 0", "coupon, 1")
    world = World()
    world.prover.forge = lambda envelope: first.proof.evidence
    proposal = submit(world.deps, Submission(title="Mend", rationale="It raises", diff=second), actor=BOT)
    world.run()
    row = world.deps.proposals.get(proposal.id)
    assert "another change" in row.proof.reasons[0]


def test_evidence_that_is_exchanged_in_the_row_is_found():
    world, row = proved()
    moves = group_moves(world.deps.ledger.entries())
    assert evidence([row], moves) == (1, [])
    for other in ("", row.proof.evidence + " "):
        exchanged = replace(row, proof=replace(row.proof, evidence=other))
        looked_at, wrong = evidence([exchanged], moves)
        assert looked_at == 1 and "is not the one" in wrong[0]
