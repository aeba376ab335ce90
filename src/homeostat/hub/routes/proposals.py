"""Proposals as resources, and the decisions on them."""

from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query

from homeostat.core.digests import Digest
from homeostat.core.errors import Conflict, InvalidInput, NotFound
from homeostat.core.ids import ProposalId, is_id_prefix
from homeostat.flows import deciding, late_reverts, observing
from homeostat.flows.deps import Deps
from homeostat.flows.editing import Edit, edit
from homeostat.flows.planning import look_ahead
from homeostat.flows.proposing import Submission, submit
from homeostat.flows.reverting import request_revert
from homeostat.hub.auth import error_of
from homeostat.hub.contract import (
    DecisionRequest,
    EditRequest,
    PlanBody,
    Problem,
    ProposalBody,
    ProposalDetail,
    ProposalList,
    RevertPreviewBody,
    SubmitRequest,
)
from homeostat.hub.routes import Caller, Context, findings
from homeostat.hub.views import plan_body, proposal_body, proposal_detail, revert_preview_body
from homeostat.model.proposal import STATUS_OF, Proposal, ProposalState
from homeostat.model.verdict import Denied
from homeostat.rollout.token import PREFIX, id_prefix_of, rollback_token

T = TypeVar("T")

_MOST_ALIKE = 16
"""Proposals whose ids begin with the same 12 digits; of random ids there are hardly ever two."""

router = APIRouter(prefix="/api/selfimprove/proposals", tags=["proposals"])

_STATUS_WORDS = ["", *dict.fromkeys([*STATUS_OF.values(), *(state.value for state in STATUS_OF)])]

_REFUSED: dict[int | str, dict[str, Any]] = {code: {"model": Problem} for code in (400, 404, 409)}


@router.get("", responses=_REFUSED)
def list_proposals(
    context: Context,
    status: Annotated[
        str, Query(description="A status or finer state; empty: all", json_schema_extra={"enum": _STATUS_WORDS})
    ] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    offset: Annotated[int, Query(ge=0, le=1_000_000_000)] = 0,
    after: Annotated[str, Query(description="Id of the last one seen: go on behind it", max_length=200)] = "",
) -> ProposalList:
    """List proposals, newest first."""
    states = _states(status)
    last = find_one(context.deps, after) if after else None
    rows = context.deps.proposals.find(states=states, limit=limit, offset=offset, after=last)
    counts = context.deps.proposals.count_by_state()
    total = sum(count for state, count in counts.items() if states is None or state in states)
    return ProposalList(proposals=[proposal_body(row) for row in rows], total=total)


@router.post("", status_code=201, responses=_REFUSED)
def submit_proposal(request: SubmitRequest, context: Context, actor: Caller) -> ProposalBody:
    """Hand in a patch. Validation starts at once; ask for the proposal to follow it."""
    outcome = submit(
        context.deps,
        Submission(
            title=request.title,
            rationale=request.rationale,
            diff=request.diff,
            base_commit=request.base_commit,
            category=request.category,
            severity=request.severity,
            evidence=tuple(request.evidence),
            author=request.author,
            provenance=request.provenance,
            finding_id=findings.find_one(context.deps, request.finding_id).id if request.finding_id else "",
            again=request.again,
        ),
        actor=actor,
    )
    return proposal_body(_or_refuse(outcome))


@router.get("/{proposal_id}", responses=_REFUSED)
def get_proposal(proposal_id: str, context: Context) -> ProposalDetail:
    """Return one proposal; its id may be shortened as long as it stays unique."""
    return proposal_detail(context.deps, find_one(context.deps, proposal_id))


@router.get("/{proposal_id}/plan", responses=_REFUSED)
def get_plan(proposal_id: str, context: Context) -> PlanBody:
    """Say what applying a proposal would do now; nothing is moved. Of a proposal in any state."""
    found = find_one(context.deps, proposal_id)
    return plan_body(found, look_ahead(context.deps, found))


@router.post("/{proposal_id}/edit", responses=_REFUSED)
def edit_proposal(proposal_id: str, request: EditRequest, context: Context, actor: Caller) -> ProposalBody:
    """Make a new revision; it is validated anew, and no approval of the one before counts for it."""
    found = find_one(context.deps, proposal_id)
    wanted = Edit(
        title=request.title,
        rationale=request.rationale,
        diff=request.diff,
        base_commit=request.base_commit,
        evidence=None if request.evidence is None else tuple(request.evidence),
    )
    seen = Digest(request.change_digest) if request.change_digest else None
    return proposal_body(_or_refuse(edit(context.deps, found.id, wanted, actor=actor, seen=seen)))


@router.post("/{proposal_id}/approve", responses=_REFUSED)
def approve(proposal_id: str, request: DecisionRequest, context: Context, actor: Caller) -> ProposalBody:
    """Consent to the change that was seen, without applying it yet."""
    found = find_one(context.deps, proposal_id)
    seen = Digest(request.change_digest) if request.change_digest else None
    return proposal_body(
        _or_refuse(
            deciding.approve(context.deps, found.id, actor=actor, seen=seen, notes=request.reason, label=request.user)
        )
    )


@router.post("/{proposal_id}/reject", responses=_REFUSED)
def reject(proposal_id: str, request: DecisionRequest, context: Context, actor: Caller) -> ProposalBody:
    """Reject with a reason."""
    found = find_one(context.deps, proposal_id)
    return proposal_body(
        _or_refuse(deciding.reject(context.deps, found.id, actor=actor, notes=request.reason, label=request.user))
    )


@router.post("/{proposal_id}/defer", responses=_REFUSED)
def defer(proposal_id: str, request: DecisionRequest, context: Context, actor: Caller) -> ProposalBody:
    """Put aside until resumed."""
    found = find_one(context.deps, proposal_id)
    return proposal_body(
        _or_refuse(deciding.defer(context.deps, found.id, actor=actor, notes=request.reason, label=request.user))
    )


@router.post("/{proposal_id}/resume", responses=_REFUSED)
def resume(proposal_id: str, context: Context, actor: Caller) -> ProposalBody:
    """Take a deferred proposal up again; it is validated anew."""
    found = find_one(context.deps, proposal_id)
    return proposal_body(_or_refuse(deciding.resume(context.deps, found.id, actor=actor)))


@router.post("/{proposal_id}/accept", responses=_REFUSED)
def accept(proposal_id: str, request: DecisionRequest, context: Context, actor: Caller) -> ProposalBody:
    """Call a held change well, with a reason: its window is over, and the evidence does not decide."""
    found = find_one(context.deps, proposal_id)
    return proposal_body(_or_refuse(observing.accept(context.deps, found.id, actor=actor, reason=request.reason)))


@router.get("/{proposal_id}/revert", responses=_REFUSED)
def preview_revert(proposal_id: str, context: Context) -> RevertPreviewBody:
    """Show what is left of an applied change, and what the branch would be without it; nothing is moved."""
    found = find_one(context.deps, proposal_id)
    return revert_preview_body(found, _or_refuse(late_reverts.preview(context.deps, found.id)))


@router.post("/{proposal_id}/revert/merge", responses=_REFUSED, status_code=201)
def merge_revert(proposal_id: str, request: DecisionRequest, context: Context, actor: Caller) -> ProposalBody:
    """Hand in what the preview shows as a proposal of its own, where later changes are built upon this one."""
    found = find_one(context.deps, proposal_id)
    outcome = late_reverts.propose_revert(context.deps, found.id, actor=actor, reason=request.reason)
    return proposal_body(_or_refuse(outcome))


@router.post("/{proposal_id}/revert", responses=_REFUSED, status_code=202)
def revert(proposal_id: str, request: DecisionRequest, context: Context, actor: Caller) -> ProposalBody:
    """Start taking an applied change back; it is *reverted* when that was seen to be done."""
    found = find_one(context.deps, proposal_id)
    return proposal_body(_or_refuse(request_revert(context.deps, found.id, actor=actor, reason=request.reason)))


def find_one(deps: Deps, text: str) -> Proposal:
    """Return the proposal of this id, unique prefix or rollback token; `NotFound` or `Conflict` otherwise."""
    if text.startswith(PREFIX):
        named = deps.proposals.find(prefix=id_prefix_of(text), limit=_MOST_ALIKE)
        for row in named:
            if rollback_token(row) == text:
                return row
        raise NotFound("rollback-token-not-found", "no change that was applied has this rollback token")
    if is_id_prefix(text):
        exact = deps.proposals.get(ProposalId(text))
        if exact is not None:
            return exact
        rows = deps.proposals.find(prefix=text, limit=2)
        if len(rows) == 1:
            return rows[0]
        if rows:
            raise Conflict("ambiguous-id", f"more than one proposal starts with {text!r}", hint="give more of the id")
    raise NotFound("no-such-proposal", f"proposal_id '{text[:60]}' does not exist")


def _or_refuse(outcome: T | Denied) -> T:
    if isinstance(outcome, Denied):
        raise error_of(outcome)
    return outcome


def _states(status: str) -> frozenset[ProposalState] | None:
    if not status:
        return None
    states = frozenset(state for state, word in STATUS_OF.items() if status in (word, state.value))
    if not states:
        raise InvalidInput("bad-status", f"{status[:40]!r} is neither a status nor a state")
    return states
