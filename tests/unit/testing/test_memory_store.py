"""The faults of the store in memory: what a flow must live through."""

from dataclasses import replace

import pytest

from homeostat.audit.chain import ChainIntact, verify_integrity
from homeostat.core.errors import OutcomeUnknown, Unavailable
from homeostat.testing.example_rows import SteppingClock, example_entry, example_proposal, move_entry
from homeostat.testing.memory_store import MemoryStore


@pytest.fixture
def store():
    return MemoryStore(clock=SteppingClock())


def test_a_write_that_fails_wrote_neither_row_nor_entry(store):
    proposal = example_proposal()
    store.faults.fail_before_commit = 1
    with pytest.raises(Unavailable):
        store.proposals.insert(proposal, move_entry(proposal, "submitted", proposal.state))
    assert store.proposals.get(proposal.id) is None
    assert store.ledger.head().size == 0
    assert store.records.pending_records() == []
    store.proposals.insert(proposal, move_entry(proposal, "submitted", proposal.state))
    assert store.ledger.head().size == 1


def test_a_write_that_only_reports_failure_wrote_both(store):
    proposal = example_proposal()
    store.proposals.insert(proposal, move_entry(proposal, "submitted", proposal.state))
    store.faults.fail_after_commit = 1
    with pytest.raises(OutcomeUnknown):
        store.proposals.save(replace(proposal, title="New"), example_entry("proposal.noted"))
    assert store.proposals.get(proposal.id).version == 2
    assert store.ledger.head().size == 2


def test_faults_are_used_up_and_leave_a_whole_chain(store):
    store.faults.fail_before_commit = 2
    store.faults.fail_after_commit = 2
    outcomes = []
    for _ in range(6):
        try:
            store.ledger.append(example_entry("test.done"))
            outcomes.append("done")
        except (Unavailable, OutcomeUnknown) as error:
            outcomes.append(type(error).__name__)
    assert outcomes == ["Unavailable", "Unavailable", "OutcomeUnknown", "OutcomeUnknown", "done", "done"]
    report = verify_integrity(store.ledger.entries(), verify=store.signer.verify)
    assert isinstance(report, ChainIntact)
    assert report.checked == 4
