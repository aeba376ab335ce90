"""The source document's two verbs: apply one proposal, apply a batch."""

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from homeostat.core.digests import Digest
from homeostat.core.errors import InvalidInput
from homeostat.hub.applying import apply_and_wait
from homeostat.hub.contract import (
    ApplyError,
    ApplyRequest,
    ApplyResponse,
    BatchApplyRequest,
    BatchApplyResponse,
    Problem,
)
from homeostat.hub.routes import Caller, Context

router = APIRouter(prefix="/api/selfimprove", tags=["self-improvement"])


@router.post("/apply", response_model=ApplyResponse, responses={400: {"model": ApplyError}})
def apply(request: ApplyRequest, context: Context, actor: Caller) -> ApplyResponse | JSONResponse:
    """Approve and apply one proposal; answers when it is live, needs a restart, or was refused."""
    outcome = apply_and_wait(
        context.deps,
        context.metrics,
        request.proposal_id,
        actor=actor,
        seen=Digest(request.change_digest) if request.change_digest else None,
        label=request.user,
        forced=request.force,
        reason=request.reason,
    )
    return outcome if outcome.ok else JSONResponse(outcome.model_dump(), status_code=400)


@router.post("/batch-apply", responses={400: {"model": Problem}})
def batch_apply(request: BatchApplyRequest, context: Context, actor: Caller) -> BatchApplyResponse:
    """Apply up to ten proposals, each on its own: one that fails does not stop the others."""
    limit = context.deps.settings.self_improvement.batch_limit
    if len(request.proposal_ids) > limit:
        raise InvalidInput("batch-too-large", f"a batch has at most {limit} proposals")
    results = [
        apply_and_wait(
            context.deps,
            context.metrics,
            item,
            actor=actor,
            seen=None,
            label=request.user,
            forced=request.force,
            reason=request.reason,
        )
        for item in dict.fromkeys(request.proposal_ids)
    ]
    applied = sum(1 for item in results if item.ok)
    return BatchApplyResponse(
        ok=True,
        applied=applied,
        failed=len(results) - applied,
        restart_required=any(item.restart_required for item in results),
        results=list(results),
    )
