"""What became of earlier changes counts against their source and their files, and only what ended does."""

from dataclasses import replace
from datetime import timedelta

from builders import BOT, NOW, OWNER, proposal

from homeostat.core.ids import ProposalId
from homeostat.model.proposal import ProposalState
from homeostat.policy.past import past_of

THIS = proposal(submitted_by=BOT.id, files=("a.py", "b.py"), created_at=NOW)


def ended(number, state, *, by=BOT, files=("x.py",), days=1):
    at = NOW - timedelta(days=days)
    identity = ProposalId(f"00000000-0000-0000-0000-{number:012d}")
    return replace(THIS, id=identity, state=state, submitted_by=by.id, files=files, updated_at=at, created_at=at)


def test_of_few_changes_nothing_follows_about_their_source():
    past = [ended(1, ProposalState.REJECTED), ended(2, ProposalState.BLOCKED)]
    assert past_of(THIS, past).source_failed is None
    assert past_of(THIS, [*past, ended(3, ProposalState.REVERTED, by=OWNER)]).source_failed is None


def test_the_share_of_a_source_that_failed_counts_its_last_changes():
    past = [ended(1, ProposalState.REJECTED), ended(2, ProposalState.IMPLEMENTED), ended(3, ProposalState.IMPLEMENTED)]
    assert past_of(THIS, [*past, ended(4, ProposalState.REVERTED)]).source_failed == 0.5
    assert past_of(THIS, [*past, ended(4, ProposalState.OBSERVING)]).source_failed == 1 / 3
    long = [ended(n, ProposalState.IMPLEMENTED) for n in range(20)] + [ended(99, ProposalState.BLOCKED)]
    assert past_of(THIS, long).source_failed == 0


def test_files_remember_what_was_taken_back_for_thirty_days():
    past = [
        ended(1, ProposalState.REVERTED, by=OWNER, files=("b.py",)),
        ended(2, ProposalState.REVERTED, by=OWNER, files=("a.py", "z.py"), days=40),
        ended(3, ProposalState.REJECTED, by=OWNER, files=("a.py",)),
        ended(4, ProposalState.REVERTED, by=OWNER, files=("z.py",)),
    ]
    assert past_of(THIS, past).files_failed == 1
    assert past_of(THIS, [replace(THIS, state=ProposalState.REVERTED)]).files_failed == 0
