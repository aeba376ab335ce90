"""Health, statistics, metrics, and the maintenance status of the source document."""

from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from homeostat.core.errors import HomeostatError
from homeostat.hub.routes import Context
from homeostat.model.proposal import IN_MOTION, ProposalState

router = APIRouter(tags=["status"])

_PENDING = (ProposalState.PENDING, ProposalState.VALIDATING, ProposalState.AWAITING_APPROVAL)
_EXECUTED = (
    ProposalState.OBSERVING,
    ProposalState.AWAITING_RESTART,
    ProposalState.IMPLEMENTED,
    ProposalState.REVERTING,
    ProposalState.REVERTED,
)


class Kpis(BaseModel):
    """Counts across the subsystems; None where the subsystem that knows it is not there."""

    system_health_score: float | None
    actions_executed: int | None
    proposals_generated: int
    proposals_executed: int
    proposals_accepted: int
    files_integrated: int | None
    files_quarantined: int | None
    last_rollback_token: str | None


class MaintenanceStatus(BaseModel):
    """The documented fields; a subsystem that is missing is said to be, and fails nothing."""

    ok: bool
    ts: str
    overall: dict[str, Any]
    homeostasis: dict[str, Any]
    self_improvement: dict[str, Any]
    self_incorporation: dict[str, Any]
    kpis: Kpis


@router.get("/health/live")
def live() -> dict[str, str]:
    """Answer as long as the process serves requests."""
    return {"status": "ok"}


@router.get("/health/ready")
def ready(context: Context, response: Response) -> dict[str, Any]:
    """Answer 503 when the store cannot be read; trouble in the background is named, and is no reason to restart."""
    problems = dict(context.troubles.last)
    try:
        context.deps.ledger.head()
    except HomeostatError as error:
        problems["store"] = error.message
        response.status_code = 503
    return {"status": "degraded" if problems else "ok", "problems": sorted(problems)}


@router.get("/api/stats")
def stats(context: Context) -> dict[str, Any]:
    """Return the state of the self-improvement engine."""
    counts = context.deps.proposals.count_by_state()
    busy = any(counts.get(state) for state in IN_MOTION)
    return {
        "self_improvement_engine": {
            "enabled": context.deps.settings.self_improvement.enabled,
            "status": "busy" if busy else "idle",
            "proposals_pending": sum(counts.get(state, 0) for state in _PENDING),
        }
    }


@router.get("/metrics", response_class=Response)
def metrics(context: Context) -> Response:
    """Return the Prometheus text exposition."""
    return Response(context.metrics.render(context.deps), media_type=CONTENT_TYPE_LATEST)


@router.get("/api/maintenance/status")
def maintenance_status(context: Context) -> MaintenanceStatus:
    """Return what is known of every subsystem, always with 200."""
    deps = context.deps
    now = deps.clock.now().isoformat()
    missing = {"available": False}
    try:
        counts = deps.proposals.count_by_state()
        reverted = deps.proposals.find(states=frozenset({ProposalState.REVERTED}), limit=1)
    except HomeostatError as error:
        return MaintenanceStatus(
            ok=False,
            ts=now,
            overall=_overall(running=False),
            homeostasis=_homeostasis(),
            self_improvement={"available": False, "error": error.message},
            self_incorporation=missing,
            kpis=_kpis(0, 0, 0, None),
        )
    total = sum(counts.values())
    executed = sum(counts.get(state, 0) for state in _EXECUTED)
    accepted = executed + counts.get(ProposalState.APPROVED, 0) + counts.get(ProposalState.APPLYING, 0)
    status = {
        "improvement_active": deps.settings.self_improvement.enabled,
        "total_proposals": total,
        "hmr_enabled": deps.settings.hmr.enabled,
        "host_processes": sum(1 for process in deps.live.processes() if process.connected),
        "troubles": dict(context.troubles.last),
    }
    last = reverted[0].application if reverted else None
    return MaintenanceStatus(
        ok=True,
        ts=now,
        overall=_overall(running=True),
        homeostasis=_homeostasis(),
        self_improvement={"available": True, "status": status},
        self_incorporation=missing,
        kpis=_kpis(total, executed, accepted, last.backup if last else None),
    )


def _overall(*, running: bool) -> dict[str, Any]:
    return {
        "runlevel": "UNKNOWN",
        "health_percent": None,
        "critical_health_percent": None,
        "overall_running": running,
    }


def _homeostasis() -> dict[str, Any]:
    return {"available": False, "running": False, "orchestrator": None, "health": None, "si_health_contribution": None}


def _kpis(generated: int, executed: int, accepted: int, last_rollback: str | None) -> Kpis:
    return Kpis(
        system_health_score=None,
        actions_executed=None,
        proposals_generated=generated,
        proposals_executed=executed,
        proposals_accepted=accepted,
        files_integrated=None,
        files_quarantined=None,
        last_rollback_token=last_rollback,
    )
