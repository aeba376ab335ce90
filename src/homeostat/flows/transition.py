"""Changing a proposal's state: the row and its ledger entry together, then its record in Git."""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from homeostat.audit.proposal_story import PROPOSAL_PREFIX
from homeostat.core.errors import HomeostatError, IntegrityFailure, NotFound, OutcomeUnknown
from homeostat.core.ids import ProposalId
from homeostat.flows.deps import Deps
from homeostat.flows.recording import record_or_lag
from homeostat.model.actor import Actor
from homeostat.model.ledger import EntryDraft
from homeostat.model.proposal import Proposal, ProposalState
from homeostat.model.verdict import Denied
from homeostat.ports.store import ProposalStore
from homeostat.proposals.events import Event
from homeostat.proposals.lifecycle import step

_log = logging.getLogger(__name__)
_PAGE = 5000
_LEDGER_PAGE = 200
_MOST_UNREADABLE = 1000


def read(deps: Deps, proposal_id: ProposalId) -> Proposal:
    """Return the row, or raise `NotFound`."""
    proposal = deps.proposals.get(proposal_id)
    if proposal is None:
        raise NotFound("no-such-proposal", f"proposal_id '{proposal_id}' does not exist")
    return proposal


def read_all(
    proposals: ProposalStore, *, states: frozenset[ProposalState] | None = None, page: int = _PAGE
) -> Sequence[Proposal]:
    """Return every row, or every one in these states, newest first, however many there are."""
    rows = list(proposals.find(states=states, limit=page))
    while more := proposals.find(states=states, limit=page, after=rows[-1]) if rows else ():
        rows += more
    return rows


def read_readable(
    proposals: ProposalStore, *, states: frozenset[ProposalState] | None = None
) -> tuple[Sequence[Proposal], Sequence[IntegrityFailure]]:
    """Return as `read_all` does what can be read, and of each row that cannot be read why.

    For what must go on beside a damaged row; whoever calls says what could not be read.
    """
    try:
        return read_all(proposals, states=states), ()
    except IntegrityFailure:
        pass  # one row makes a whole page unreadable: now each by itself
    rows: list[Proposal] = []
    unreadable: list[IntegrityFailure] = []
    while True:
        try:
            found = proposals.find(states=states, limit=1, offset=len(rows) + len(unreadable))
        except IntegrityFailure as error:
            unreadable.append(error)
            if len(unreadable) > _MOST_UNREADABLE:
                raise
        else:
            if not found:
                return rows, unreadable
            rows += found


def moved_since(deps: Deps, since: datetime) -> Sequence[Proposal]:
    """Return the proposals whose state changed since then, whenever they were made, the last one first.

    A row that cannot be read is left out: recovery says which one that is, and the others go on.
    """
    found: dict[ProposalId, None] = {}
    last = deps.ledger.head().size
    while last > 0:
        first = max(last - _LEDGER_PAGE, 0)
        for entry in reversed(deps.ledger.entries(after=first, limit=last - first)):
            if entry.at < since:
                last = 0
                break
            if entry.kind.startswith(PROPOSAL_PREFIX):
                found.setdefault(ProposalId(entry.subject))
        else:
            last = first
    rows = []
    for proposal_id in found:
        with suppress(IntegrityFailure):
            rows.append(deps.proposals.get(proposal_id))
    return [row for row in rows if row is not None]


def transition(
    deps: Deps,
    proposal: Proposal,
    event: Event,
    *,
    actor: Actor,
    policies: Sequence[str] = (),
    at_once: Callable[[ProposalId], None] = lambda _: None,
) -> Proposal | Denied:
    """Apply `event` to the row as it was read. `Conflict` when somebody else changed it since.

    `policies` are those that let `actor` do it, for the ledger; none where nobody was asked.
    `at_once` starts what follows from the row and shall not wait for Git, which takes a tenth of a second.
    """
    outcome = step(proposal, event, at=deps.clock.now())
    if isinstance(outcome, Denied):
        return outcome
    body = outcome.facts if not policies else {**outcome.facts, "policies": list(policies)}
    entry = EntryDraft(kind=outcome.kind, actor=actor.id, subject=proposal.id, body=body)
    try:
        saved = deps.proposals.save(outcome.proposal, entry)
    except OutcomeUnknown:
        saved = replace(outcome.proposal, version=outcome.proposal.version + 1)
        if deps.proposals.get(saved.id) != saved:
            raise
    try:
        at_once(saved.id)
    finally:
        record_or_lag(deps, saved.id)
    return saved


def drop_candidate(deps: Deps, proposal_id: ProposalId) -> None:
    """Remove the code branch of a decided proposal. Where Git cannot now, recovery's sweep does it later."""
    try:
        deps.candidates.delete(proposal_id)
    except HomeostatError as error:
        _log.warning("[SI] the code branch of proposal %s stays for now: %s", proposal_id, error)


def must(outcome: Proposal | Denied) -> Proposal:
    """Unwrap a transition that the flow knows to be allowed in the state it has just read."""
    assert not isinstance(outcome, Denied), outcome.reasons
    return outcome
