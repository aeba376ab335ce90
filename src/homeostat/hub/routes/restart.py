"""Restarting the programs, so that they run what is on disk."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter

from homeostat.flows.deps import Deps
from homeostat.flows.restarting import request_restart
from homeostat.flows.transition import read_all
from homeostat.hub.auth import error_of
from homeostat.hub.contract import Problem, RestartProgram, RestartRequest, RestartStatus, RestartWaiting
from homeostat.hub.routes import Caller, Context
from homeostat.hub.routes.proposals import find_one
from homeostat.hub.views import RESTART_COMMAND
from homeostat.model.proposal import Proposal, ProposalState
from homeostat.model.restart import RestartableProgram
from homeostat.model.verdict import Denied

router = APIRouter(prefix="/api/restart", tags=["restart"])

_REFUSED: dict[int | str, dict[str, Any]] = {code: {"model": Problem} for code in (400, 404, 409)}
_WAITING = frozenset({ProposalState.AWAITING_RESTART})


@router.get("")
def restart_status(context: Context) -> RestartStatus:
    """Return what can be restarted, what waits for it, and how far the last restart is."""
    return _status(context.deps, None)


@router.post("", status_code=202, responses=_REFUSED)
def restart(request: RestartRequest, context: Context, actor: Caller) -> RestartStatus:
    """Start to restart every program; ask for the state to follow it. Asked again meanwhile, it is the same restart."""
    deps = context.deps
    found = find_one(deps, request.proposal_id).id if request.proposal_id else None
    outcome = request_restart(deps, actor=actor, proposal_id=found)
    if isinstance(outcome, Denied):
        raise error_of(outcome)
    return _status(deps, outcome.request_id)


def _status(deps: Deps, request_id: str | None) -> RestartStatus:
    now = deps.clock.now()
    waiting = [
        RestartWaiting(
            proposal_id=item.id,
            title=item.title,
            since=_since(item).isoformat(timespec="milliseconds"),
            waits_s=round((now - _since(item)).total_seconds(), 1),
            request_id=(item.application.restart_id if item.application else "") or None,
        )
        for item in read_all(deps.proposals, states=_WAITING)
    ]
    return RestartStatus(
        command=RESTART_COMMAND,
        automatic=deps.settings.restart.automatic,
        request_id=request_id,
        programs=[_program(item) for item in deps.restarter.programs()],
        waiting=waiting,
    )


def _since(proposal: Proposal) -> datetime:
    return proposal.application.at if proposal.application is not None else proposal.updated_at


def _program(item: RestartableProgram) -> RestartProgram:
    report = item.report
    return RestartProgram(
        id=item.id,
        command=item.command,
        pid=item.pid,
        request_id=report.request_id if report else None,
        phase=report.phase.value if report else None,
        reason=report.reason if report else "",
        last_words=report.last_words if report else "",
        took_s=report.took_s if report else 0.0,
    )
