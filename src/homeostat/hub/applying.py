"""``apply`` as the contract has it: ask, wait for the outcome, and put it in the documented words."""

import time
from collections.abc import Callable

from homeostat.core.digests import Digest
from homeostat.core.errors import HomeostatError
from homeostat.core.ids import ProposalId, parse_proposal_id
from homeostat.flows.applying import request_apply
from homeostat.flows.deps import Deps
from homeostat.flows.transition import read
from homeostat.hub.contract import ApplyError, ApplyResponse, error_text
from homeostat.hub.metrics import HubMetrics
from homeostat.model.actor import Actor
from homeostat.model.proposal import Proposal, ProposalState
from homeostat.model.verdict import Denied

_POLL_S = 0.02
_UNDER_WAY = frozenset({ProposalState.APPROVED, ProposalState.APPLYING})

HMR_DONE = "Proposal applied successfully via HMR"
RESTART_NEEDED = "Proposal approved - HMR not available, OS restart required"


def apply_and_wait(
    deps: Deps,
    metrics: HubMetrics,
    proposal_id: str,
    *,
    actor: Actor,
    seen: Digest | None,
    label: str,
    sleep: Callable[[float], None] = time.sleep,
) -> ApplyResponse:
    """Approve and apply one proposal and answer when it is done; blocking, bounded.

    Asked again for one that is applied already, it answers as the first time did. Every outcome is
    counted.
    """
    started_s = deps.clock.monotonic_s()
    response = _apply(deps, proposal_id, actor, seen, label, sleep)
    metrics.apply_duration.observe(deps.clock.monotonic_s() - started_s)
    metrics.applies.labels(response.status, str(response.restart_required).lower()).inc()
    if response.message == HMR_DONE:
        metrics.hmr_success.inc()
    elif isinstance(response, ApplyError) and response.error == "HMR application failed":
        metrics.hmr_error.inc()
    return response


def _apply(
    deps: Deps, proposal_id: str, actor: Actor, seen: Digest | None, label: str, sleep: Callable[[float], None]
) -> ApplyResponse:
    try:
        outcome = request_apply(deps, parse_proposal_id(proposal_id), actor=actor, seen=seen, label=label)
        if isinstance(outcome, Denied):
            return failure(proposal_id, error_text(outcome.code), "; ".join(outcome.reasons))
        return response_of(_wait(deps, outcome.id, sleep))
    except HomeostatError as error:
        details = error.message if error.code != "bad-proposal-id" else f"proposal_id '{proposal_id}' does not exist"
        return failure(proposal_id, error_text(error.code), details)


def _wait(deps: Deps, proposal_id: ProposalId, sleep: Callable[[float], None]) -> Proposal:
    deadline_s = deps.clock.monotonic_s() + deps.settings.hmr.timeout_s * 2 + 30
    while True:
        proposal = read(deps, proposal_id)
        if proposal.state not in _UNDER_WAY or deps.clock.monotonic_s() > deadline_s:
            return proposal
        sleep(_POLL_S)


def response_of(proposal: Proposal) -> ApplyResponse:
    """Put the state of a proposal whose application was asked into the contract's words."""
    if proposal.state in _UNDER_WAY:
        return failure(proposal.id, "Proposal application failed", "it is still being applied; ask again")
    application = proposal.application
    if proposal.state is ProposalState.FAILED:
        hmr = proposal.state_reason.startswith("HMR application failed")
        error = "HMR application failed" if hmr else "Proposal application failed"
        return failure(proposal.id, error, proposal.state_reason, restart_required=hmr)
    if application is None or proposal.state in (ProposalState.REVERTED, ProposalState.REVERTING):
        return failure(proposal.id, "Proposal application failed", f"{proposal.state.value}: {proposal.state_reason}")
    return ApplyResponse(
        ok=True,
        status="approved",
        message=HMR_DONE if application.live else RESTART_NEEDED,
        restart_required=not application.live,
        proposal_id=proposal.id,
    )


def failure(proposal_id: str, error: str, details: str, *, restart_required: bool = False) -> ApplyError:
    """Return an error body with every field of the contract."""
    return ApplyError(
        ok=False,
        status="error",
        message=f"{error}: {details}",
        restart_required=restart_required,
        proposal_id=proposal_id,
        error=error,
        details=details,
    )
