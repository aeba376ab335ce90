"""A change that another proposal takes out of what was built upon it: what becomes of its row."""

from homeostat.flows.deps import Deps
from homeostat.flows.transition import must, transition
from homeostat.model.actor import SYSTEM
from homeostat.model.proposal import Proposal, ProposalState
from homeostat.proposals.events import PutBackIn, TakenOut
from homeostat.proposals.lifecycle import refusal

TAKES_OUT = frozenset({ProposalState.OBSERVING, ProposalState.IMPLEMENTED})
"""States of the other proposal in which it is live on all calls."""


def take_out(deps: Deps, by: Proposal) -> None:
    """Call the change *reverted* that a live proposal takes back; idempotent, and nothing where it takes none back.

    From then on it is judged no more, and its diff is locked out.
    """
    original = _original(deps, by)
    if original is not None and by.state in TAKES_OUT and refusal(original, TakenOut) is None:
        must(transition(deps, original, TakenOut(by=by.id), actor=SYSTEM))


def put_back_in(deps: Deps, by: Proposal) -> None:
    """Call the change what it was before, when the proposal that took it out is out of branch and files; idempotent."""
    original = _original(deps, by)
    if original is None or original.state is not ProposalState.REVERTED or original.application is None:
        return
    if original.application.taken_out_by == by.id:
        must(transition(deps, original, PutBackIn(by=by.id), actor=SYSTEM))


def _original(deps: Deps, by: Proposal) -> Proposal | None:
    return None if by.takes_back is None else deps.proposals.get(by.takes_back)
