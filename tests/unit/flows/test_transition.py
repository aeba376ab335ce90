"""Reading and changing rows, as every flow does it."""

import pytest

from homeostat.flows.transition import read_all
from homeostat.model.proposal import ProposalState
from homeostat.testing.example_rows import SteppingClock, example_proposal, move_entry
from homeostat.testing.memory_store import MemoryStore


@pytest.mark.parametrize("count", [0, 1, 2, 4, 5])
def test_every_row_is_read_once_however_many_pages_it_takes(count):
    store = MemoryStore(clock=SteppingClock())
    for number in range(count):
        row = example_proposal(number + 1)
        store.proposals.insert(row, move_entry(row, "submitted", ProposalState.PENDING))
    assert read_all(store.proposals, page=2) == store.proposals.find(limit=100)
    assert len(read_all(store.proposals, page=2)) == count
