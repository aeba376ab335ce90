"""Taking up what a crash left, from the rows alone; also run at every tick, for what got stuck."""

from homeostat.core.errors import HomeostatError, IntegrityFailure
from homeostat.core.ids import ProposalId
from homeostat.flows.bringing_in_line import bring_strays_in_line
from homeostat.flows.deps import Deps
from homeostat.flows.recording import catch_up
from homeostat.flows.transition import read_readable
from homeostat.model.proposal import ProposalState


def recover(deps: Deps) -> frozenset[ProposalId]:
    """Start again every flow whose row says that it is under way; return these proposals.

    A row that cannot be read, or a step that fails, does not stop the others; the first such error is raised
    at the end. Starting one that is running already is harmless: flows of one proposal exclude each other and
    the second finds nothing left to do.
    """
    started = set()
    rows, unreadable = read_readable(deps.proposals, states=_UNDER_WAY)
    failed: list[HomeostatError] = [*unreadable]
    for proposal in reversed(rows):
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
    for step in (bring_strays_in_line, sweep_candidates, catch_up):
        try:
            step(deps)
        except HomeostatError as error:
            failed.append(error)
    if failed:
        raise failed[0]
    return frozenset(started)


def sweep_candidates(deps: Deps) -> None:
    """Remove the code branches of proposals that are decided; a crash may have come before it was done."""
    for proposal_id in deps.candidates.proposals():
        try:
            proposal = deps.proposals.get(proposal_id)
        except IntegrityFailure:
            continue  # nothing is known of it, so nothing of it is removed
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
