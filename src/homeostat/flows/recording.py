"""The record for people: Markdown and index on the orphan branch, a commit per status change."""

import logging
import threading

from homeostat.audit.checkpoint import CHECKPOINT_TRAILER, checkpoint_trailer
from homeostat.audit.head import TRAILER_KEY
from homeostat.core.errors import HomeostatError, InvalidInput
from homeostat.core.ids import ProposalId
from homeostat.flows.deps import Deps
from homeostat.model.proposal import Proposal
from homeostat.proposals.index import INDEX_PATH, MAX_TABLE_ROWS, render_index, row_of
from homeostat.proposals.markdown import edited_path, is_as_written, record_path, render, templates

_log = logging.getLogger(__name__)

# Two commits on one branch cannot be made at the same time; the lock only saves the losers a retry.
_one_at_a_time = threading.Lock()


def record(deps: Deps, proposal_id: ProposalId) -> None:
    """Commit the present state of one proposal, with the ledger head as witness. Idempotent."""
    with _one_at_a_time:
        _record(deps, proposal_id)


def record_or_lag(deps: Deps, proposal_id: ProposalId) -> None:
    """Commit the present state where Git lets us; the row is durable, and Git follows at the next beat or start."""
    try:
        record(deps, proposal_id)
    except HomeostatError as error:
        _log.warning("[SI] the record of proposal %s lags: %s", proposal_id, error)


def catch_up(deps: Deps) -> int:
    """Record what lags its row, oldest first; return how many were behind.

    One that cannot be recorded does not stop the others; the first such error is raised at the end.
    """
    behind = deps.records.pending_records()
    failed: list[HomeostatError] = []
    for proposal_id, _version in behind:
        try:
            with _one_at_a_time:
                # The flow that wrote the row may have recorded it while this waited for its turn.
                if any(proposal_id == still for still, _ in deps.records.pending_records()):
                    _record(deps, proposal_id)
        except HomeostatError as error:
            failed.append(error)
    if failed:
        raise failed[0]
    return len(behind)


def _record(deps: Deps, proposal_id: ProposalId) -> None:
    proposal = deps.proposals.get(proposal_id)
    if proposal is None:
        return
    _publish(deps, proposal)
    deps.records.mark_recorded(proposal.id, proposal.version)


def _publish(deps: Deps, proposal: Proposal) -> None:
    newest = map(row_of, deps.proposals.find(limit=MAX_TABLE_ROWS))
    files = {record_path(proposal): render(proposal), INDEX_PATH: render_index(newest, deps.records.tallies())}
    if not _has_index(deps):
        files |= templates()
    aside = _put_aside(deps, proposal)
    deps.record_branch.publish(
        files=files | aside,
        subject=f"{_words(proposal)}: {proposal.title}",
        trailers={
            "Homeostat-Proposal": proposal.id,
            "Homeostat-Status": _words(proposal),
            **({"Homeostat-Edited": next(iter(aside))} if aside else {}),
            TRAILER_KEY: deps.ledger.head().trailer(),
            CHECKPOINT_TRAILER: checkpoint_trailer(deps.ledger.checkpoint()),
        },
        at=proposal.updated_at,
    )


def _has_index(deps: Deps) -> bool:
    try:
        return deps.record_branch.read(INDEX_PATH) is not None
    except InvalidInput:  # too large to be ours: it is written anew, and what stood there is in the history
        return True


def _put_aside(deps: Deps, proposal: Proposal) -> dict[str, bytes]:
    """Return what a person made of the record, under the path where it is kept.

    The row is the truth, so what was written there by hand is not believed; but it is somebody's
    words, and they are neither lost nor overwritten unsaid. What is too large to be a record stays
    in the branch's history alone.
    """
    path = record_path(proposal)
    try:
        present = deps.record_branch.read(path)
    except InvalidInput as error:
        _log.warning("[SI] %s was replaced by hand, and is left to the branch's history: %s", path, error)
        return {}
    if present is None or is_as_written(present):
        return {}
    kept = edited_path(proposal.id, present)
    _log.warning("[SI] %s was edited by hand; the row is the truth, and the edited text is kept as %s", path, kept)
    return {kept: present}


def _words(proposal: Proposal) -> str:
    status, state = proposal.status, proposal.state.value
    return status if status == state else f"{status} ({state})"
