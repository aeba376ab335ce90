"""``apply`` as the contract has it: ask, wait for the outcome, and put it in the documented words."""

import threading
import time
from collections.abc import Callable

from homeostat.core.digests import Digest
from homeostat.core.errors import Conflict, HomeostatError, NotPermitted
from homeostat.core.ids import ProposalId, parse_proposal_id
from homeostat.flows.applying import request_apply
from homeostat.flows.deps import Deps
from homeostat.flows.transition import read
from homeostat.hub.auth import error_of
from homeostat.hub.contract import ApplyResponse, apply_error, error_text
from homeostat.hub.metrics import HubMetrics
from homeostat.model.actor import Actor
from homeostat.model.proposal import Proposal, ProposalState
from homeostat.model.verdict import Denied

_POLL_S = 0.02
_MAX_TRIES = 5
_UNDER_WAY = frozenset({ProposalState.APPROVED, ProposalState.APPLYING})

_one_at_a_time = threading.Lock()

HMR_DONE = "Proposal applied successfully via HMR"
RESTART_NEEDED = "Proposal approved - HMR not available, OS restart required"
HMR_FAILED = "HMR application failed"
FAILED = "Proposal application failed"


def apply_and_wait(
    deps: Deps,
    metrics: HubMetrics,
    proposal_id: str,
    *,
    actor: Actor,
    seen: Digest | None,
    label: str,
    forced: bool = False,
    reason: str = "",
    sleep: Callable[[float], None] = time.sleep,
) -> ApplyResponse:
    """Approve and apply one proposal and answer when it is done; blocking, bounded.

    Asked again, or by several at once, it happens once and all are answered alike. Every request is
    counted as an attempt; an HMR application only by the one that caused it.
    """
    started_s = deps.clock.monotonic_s()

    def ask(identity: ProposalId) -> Proposal | Denied:
        return request_apply(deps, identity, actor=actor, seen=seen, label=label, forced=forced, reason=reason)

    response, caused = _apply(deps, proposal_id, ask, sleep)
    metrics.apply_duration.observe(deps.clock.monotonic_s() - started_s)
    metrics.applies.labels(response.status, str(response.restart_required).lower()).inc()
    if caused and response.message == HMR_DONE:
        metrics.hmr_success.inc()
    elif caused and response.message.startswith(HMR_FAILED):
        metrics.hmr_error.inc()
    return response


def _apply(
    deps: Deps,
    proposal_id: str,
    ask: Callable[[ProposalId], Proposal | Denied],
    sleep: Callable[[float], None],
) -> tuple[ApplyResponse, bool]:
    try:
        identity = parse_proposal_id(proposal_id)
        outcome, caused = _ask(deps, identity, ask)
        if isinstance(outcome, Denied) and isinstance(error := error_of(outcome), NotPermitted):
            raise error
        if isinstance(outcome, Denied) and outcome.code != "apply-failed":
            # The contract has no field for a way out, so it stands with the reason.
            details = "; ".join([*outcome.reasons, *([outcome.hint] if outcome.hint else [])])
            return apply_error(proposal_id, error_text(outcome.code), details), False
        return response_of(_wait(deps, identity, sleep)), caused
    except NotPermitted:
        raise
    except HomeostatError as error:
        details = error.message if error.code != "bad-proposal-id" else f"proposal_id '{proposal_id}' does not exist"
        return apply_error(proposal_id, error_text(error.code), details), False


def _ask(
    deps: Deps, proposal_id: ProposalId, ask: Callable[[ProposalId], Proposal | Denied]
) -> tuple[Proposal | Denied, bool]:
    """Ask for the application; say too whether it is this request that caused it."""
    # Several at once: the first asks, and the others find it asked, not a row that moves under them.
    with _one_at_a_time:
        for _ in range(_MAX_TRIES):
            asked = _is_asked(read(deps, proposal_id))
            try:
                outcome = ask(proposal_id)
            except Conflict as error:
                if error.code != "stale-row":
                    raise
                continue  # somebody decided in between: what they decided says what is possible now
            return outcome, isinstance(outcome, Proposal) and not asked
    raise Conflict("proposal-contended", f"proposal {proposal_id} is being changed all the time; ask again")


def _is_asked(proposal: Proposal) -> bool:
    return proposal.application is not None or (proposal.state is ProposalState.APPROVED and proposal.apply_requested)


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
        return apply_error(proposal.id, FAILED, "it is still being applied; ask again")
    application = proposal.application
    if proposal.state is ProposalState.FAILED:
        hmr = proposal.state_reason.startswith(HMR_FAILED)
        details = proposal.state_reason.removeprefix(f"{HMR_FAILED}: ")
        return apply_error(proposal.id, HMR_FAILED if hmr else FAILED, details, restart_required=hmr)
    if application is None or proposal.state in (ProposalState.REVERTED, ProposalState.REVERTING):
        return apply_error(proposal.id, FAILED, f"{proposal.state.value}: {proposal.state_reason}")
    # On a share of the calls it is live, as far as it shall be, and no restart would bring it further.
    live = application.live or proposal.state is ProposalState.CANARY
    return ApplyResponse(
        ok=True,
        status="approved",
        message=HMR_DONE if live else RESTART_NEEDED,
        restart_required=not live,
        proposal_id=proposal.id,
    )
