"""Taking up what a crash left, from the rows alone; also run at every tick, for what got stuck."""

from homeostat.core.ids import ProposalId
from homeostat.flows.bringing_in_line import bring_strays_in_line
from homeostat.flows.deps import Deps
from homeostat.flows.recording import catch_up
from homeostat.flows.transition import read_all
from homeostat.model.proposal import ProposalState


def recover(deps: Deps) -> frozenset[ProposalId]:
    """Start again every flow whose row says that it is under way; return these proposals.

    Starting one that is running already is harmless: flows of one proposal exclude each other and
    the second finds nothing left to do.
    """
    started = set()
    for proposal in reversed(read_all(deps.proposals, states=_UNDER_WAY)):
        match proposal.state:
            case ProposalState.PENDING | ProposalState.VALIDATING:
                deps.start.submitted(proposal.id, retry=True)
            case ProposalState.APPROVED if proposal.apply_requested:
                deps.start.apply_asked(proposal.id, retry=True)
            case ProposalState.APPLYING:
                deps.start.apply_asked(proposal.id, retry=True)
            case ProposalState.REVERTING:
                deps.start.revert_asked(proposal.id, retry=True)
            case _:
                continue
        started.add(proposal.id)
    catch_up(deps)
    sweep_candidates(deps)
    bring_strays_in_line(deps)
    return frozenset(started)


def sweep_candidates(deps: Deps) -> None:
    """Remove the code branches of proposals that are decided; a crash may have come before it was done."""
    for proposal_id in deps.candidates.proposals():
        proposal = deps.proposals.get(proposal_id)
        if proposal is not None and proposal.state not in _UNDECIDED:
            deps.candidates.delete(proposal_id)


_UNDECIDED = frozenset(
    {
        ProposalState.PENDING,
        ProposalState.VALIDATING,
        ProposalState.AWAITING_APPROVAL,
        ProposalState.DEFERRED,
        ProposalState.APPROVED,
        ProposalState.APPLYING,
        ProposalState.CANARY,
    }
)

_UNDER_WAY = frozenset(
    {
        ProposalState.PENDING,
        ProposalState.VALIDATING,
        ProposalState.APPROVED,
        ProposalState.APPLYING,
        ProposalState.REVERTING,
    }
)
