"""Holding a row against the ledger before anything is done on its word: a row is easily written by hand."""

from collections.abc import Sequence

from homeostat.audit.proposal_story import approvals, diffs, group_moves, states
from homeostat.core.errors import Conflict, IntegrityFailure
from homeostat.core.ids import ProposalId
from homeostat.flows.deps import Deps
from homeostat.flows.transition import read
from homeostat.model.ledger import LedgerEntry
from homeostat.model.proposal import Proposal

_PAGE = 1000


def check_recorded(deps: Deps, proposal: Proposal) -> None:
    """Pass over a row that its own ledger entries lead to: state, diff, change, and whose approval.

    `IntegrityFailure` (``row-altered``) otherwise; `Conflict` (``stale-row``) when it moved on meanwhile.
    These are checks 5 to 7 of `homeostat verify` for one proposal; the chain itself is not looked at.
    """
    moves = group_moves(_entries(deps, proposal.id))
    wrong = [*states([proposal], moves), *diffs([proposal], moves), *approvals([proposal], moves)]
    if not wrong:
        return
    if read(deps, proposal.id) != proposal:
        raise Conflict("stale-row", f"proposal {proposal.id} was changed meanwhile", hint="read it again")
    raise IntegrityFailure(
        "row-altered",
        f"the row of proposal {proposal.id} is not what the ledger recorded: {wrong[0]}",
        hint="somebody wrote into the database: keep everything, and run `homeostat verify`",
    )


def _entries(deps: Deps, proposal_id: ProposalId) -> Sequence[LedgerEntry]:
    found: list[LedgerEntry] = []
    while page := deps.ledger.entries(after=found[-1].seq if found else 0, limit=_PAGE, subject=proposal_id):
        found += page
    return found
