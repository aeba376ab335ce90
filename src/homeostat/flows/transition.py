"""Changing a proposal's state: the row and its ledger entry together, then its record in Git."""

from homeostat.core.errors import NotFound
from homeostat.core.ids import ProposalId
from homeostat.flows.deps import Deps
from homeostat.flows.recording import record_or_lag
from homeostat.model.actor import Actor
from homeostat.model.ledger import EntryDraft
from homeostat.model.proposal import Proposal
from homeostat.model.verdict import Denied
from homeostat.proposals.lifecycle import Event, step


def read(deps: Deps, proposal_id: ProposalId) -> Proposal:
    """Return the row, or raise `NotFound`."""
    proposal = deps.proposals.get(proposal_id)
    if proposal is None:
        raise NotFound("no-such-proposal", f"proposal_id '{proposal_id}' does not exist")
    return proposal


def transition(deps: Deps, proposal: Proposal, event: Event, *, actor: Actor) -> Proposal | Denied:
    """Apply `event` to the row as it was read. `Conflict` when somebody else changed it since."""
    outcome = step(proposal, event, at=deps.clock.now())
    if isinstance(outcome, Denied):
        return outcome
    entry = EntryDraft(kind=outcome.kind, actor=actor.id, subject=proposal.id, body=outcome.facts)
    saved = deps.proposals.save(outcome.proposal, entry)
    record_or_lag(deps, saved.id)
    return saved


def must(outcome: Proposal | Denied) -> Proposal:
    """Unwrap a transition that the flow knows to be allowed in the state it has just read."""
    assert not isinstance(outcome, Denied), outcome.reasons
    return outcome
