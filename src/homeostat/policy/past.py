"""What became of earlier changes from the same source, and to the same files."""

from collections.abc import Sequence
from datetime import timedelta

from homeostat.model.proposal import Proposal, ProposalState
from homeostat.policy.risk import Evidence

_FAILED = frozenset(
    {ProposalState.BLOCKED, ProposalState.REJECTED, ProposalState.FAILED, ProposalState.REVERTED, ProposalState.EXPIRED}
)
ENDED = _FAILED | {ProposalState.IMPLEMENTED}
"""States in which it is known what a change was worth."""

_FEWEST = 3
"""Of fewer changes nothing follows about their source."""

_LAST = 20
_DAYS = 30


def past_of(proposal: Proposal, ended: Sequence[Proposal]) -> Evidence:
    """Return what proposals that came to an end, the newest first, tell of this one's source and files."""
    others = [one for one in ended if one.id != proposal.id and one.state in ENDED]
    of_source = [one for one in others if one.submitted_by == proposal.submitted_by][:_LAST]
    failed = sum(one.state in _FAILED for one in of_source)
    since, files = proposal.created_at - timedelta(days=_DAYS), set(proposal.files)
    taken_back = [
        one
        for one in others
        if one.state is ProposalState.REVERTED and one.updated_at >= since and files & set(one.files)
    ]
    return Evidence(
        source_failed=failed / len(of_source) if len(of_source) >= _FEWEST else None, files_failed=len(taken_back)
    )
