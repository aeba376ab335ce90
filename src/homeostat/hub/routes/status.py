"""Health, statistics, metrics, and the maintenance status of the source document."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from homeostat.core.errors import HomeostatError
from homeostat.hub.context import HubContext
from homeostat.hub.routes import Context
from homeostat.hub.views import plain
from homeostat.model.proposal import IN_MOTION, ProposalState
from homeostat.rollout.arms import watched_time_s
from homeostat.rollout.token import rollback_token

router = APIRouter(tags=["status"])

_PENDING = (ProposalState.PENDING, ProposalState.VALIDATING, ProposalState.AWAITING_APPROVAL)
_EXECUTED = (
    ProposalState.CANARY,
    ProposalState.OBSERVING,
    ProposalState.AWAITING_RESTART,
    ProposalState.IMPLEMENTED,
    ProposalState.REVERTING,
    ProposalState.REVERTED,
)


_LAST_REVERTED = 100
"""Rows that are looked through for the last one that was taken back; they come by the time they were made."""

_LAST_MINUTE = timedelta(minutes=1)
_LATELY = timedelta(hours=1)

_STORE_FAILS = "the store cannot be read"


class EngineStats(BaseModel):
    """What the self-improvement engine does now."""

    enabled: bool
    status: str
    """``idle``, ``busy``, or ``unavailable`` when the store cannot be read."""

    proposals_pending: int | None
    """None when it is not known."""


class Stats(BaseModel):
    """Body of ``GET /api/stats``."""

    self_improvement_engine: EngineStats


class Health(BaseModel):
    """Body of the health probes."""

    status: str


class Readiness(Health):
    """``ok`` or ``degraded``, and the names of what is in trouble."""

    problems: list[str]


class Kpis(BaseModel):
    """Counts across the subsystems; None where it is not known, or the subsystem that knows it is not there."""

    system_health_score: float | None
    actions_executed: int | None
    proposals_generated: int | None
    proposals_executed: int | None
    proposals_accepted: int | None
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
async def live() -> Health:
    """Answer as long as the process serves requests, also when every thread is at work."""
    return Health(status="ok")


@router.get("/health/ready")
def ready(context: Context, response: Response) -> Readiness:
    """Answer 503 when the store cannot be read; trouble in the background is named, and is no reason to restart."""
    problems = dict(context.troubles.last)
    try:
        context.deps.ledger.head()
    except HomeostatError as error:
        problems["store"] = error.message
        response.status_code = 503
    return Readiness(status="degraded" if problems else "ok", problems=sorted(problems))


@router.get("/api/stats")
def stats(context: Context) -> Stats:
    """Return the state of the self-improvement engine, always with 200."""
    try:
        counts = context.deps.proposals.count_by_state()
    except HomeostatError:
        return _stats_without_store(context)
    busy = any(counts.get(state) for state in IN_MOTION)
    engine = EngineStats(
        enabled=context.deps.settings.self_improvement.enabled,
        status="busy" if busy else "idle",
        proposals_pending=sum(counts.get(state, 0) for state in _PENDING),
    )
    return Stats(self_improvement_engine=engine)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(context: Context) -> Response:
    """Return the Prometheus text exposition."""
    return Response(context.metrics.render(context.deps), media_type=CONTENT_TYPE_LATEST)


@router.get("/api/maintenance/status")
def maintenance_status(context: Context) -> MaintenanceStatus:
    """Return what is known of every subsystem, always with 200."""
    deps = context.deps
    try:
        counts = deps.proposals.count_by_state()
        reverted = deps.proposals.find(states=frozenset({ProposalState.REVERTED}), limit=_LAST_REVERTED)
        requests = _requests(context)
    except HomeostatError:
        return _status_without_store(context)
    total = sum(counts.values())
    executed = sum(counts.get(state, 0) for state in _EXECUTED)
    accepted = executed + counts.get(ProposalState.APPROVED, 0) + counts.get(ProposalState.APPLYING, 0)
    status = {
        "improvement_active": deps.settings.self_improvement.enabled,
        "total_proposals": total,
        "hmr_enabled": deps.settings.hmr.enabled,
        "auto_reload": _auto_reload(context),
        "awaiting_restart": counts.get(ProposalState.AWAITING_RESTART, 0),
        "host_processes": sum(1 for process in deps.live.processes() if process.connected),
        "requests": requests,
        "taken_back_lately": [row.id for row in reverted if row.updated_at >= deps.clock.now() - _LATELY],
        "troubles": dict(context.troubles.last),
    }
    last = rollback_token(max(reverted, key=lambda row: row.updated_at)) if reverted else None
    return MaintenanceStatus(
        ok=True,
        ts=deps.clock.now().isoformat(),
        overall=_overall(running=True),
        homeostasis=_homeostasis(),
        self_improvement={"available": True, "service": _service(context), "status": status},
        self_incorporation={"available": False},
        kpis=_kpis(total, executed, accepted, last),
    )


def _requests(context: HubContext) -> dict[str, Any] | None:
    """Return how the requests of the last minute fared, as attested agents counted them; None where none did."""
    deps = context.deps
    now = deps.clock.now()
    ticks = [tick for tick in deps.vitals.ticks(since=now - _LAST_MINUTE, until=now) if tick.attested and tick.routes]
    if not ticks:
        return None
    total, failed = sum(tick.requests for tick in ticks), sum(tick.errors for tick in ticks)
    seconds = min(watched_time_s(ticks), _LAST_MINUTE.total_seconds())
    least = deps.settings.detectors.health
    return {
        "seconds": round(seconds, 3),
        "requests": total,
        "failed": failed,
        "bad": total >= deps.settings.detectors.min_requests and total - failed < least * total,
    }


def _auto_reload(context: HubContext) -> dict[str, Any] | None:
    """Return what became of a developer's last save; None where saves do not go live by themselves."""
    if context.reloading is None:
        return None
    last = context.reloading.last
    return {"last": None if last is None else {**plain(last), "line": last.line()}}


def _service(context: HubContext) -> dict[str, Any]:
    """Return how the engine does, in the words of the source document's service registry."""
    uptime = context.deps.clock.now() - context.started_at
    return {
        "name": "self_improvement_engine",
        "status": "DEGRADED" if context.troubles.last else "HEALTHY",
        "uptime_s": max(0.0, round(uptime.total_seconds(), 3)),
    }


def _stats_without_store(context: HubContext) -> Stats:
    enabled = context.deps.settings.self_improvement.enabled
    return Stats(
        self_improvement_engine=EngineStats(enabled=enabled, status="unavailable", proposals_pending=None),
    )


def _status_without_store(context: HubContext) -> MaintenanceStatus:
    return MaintenanceStatus(
        ok=False,
        ts=context.deps.clock.now().isoformat(),
        overall=_overall(running=False),
        homeostasis=_homeostasis(),
        self_improvement={"available": False, "error": _STORE_FAILS},
        self_incorporation={"available": False},
        kpis=_kpis(None, None, None, None),
    )


WITHOUT_STORE: Mapping[str, Callable[[HubContext], BaseModel]] = {
    "/api/stats": _stats_without_store,
    "/api/maintenance/status": _status_without_store,
}
"""What these paths answer when not even the caller's token can be looked up: that nothing is known.

They are documented to answer 200 always. Nothing of the hub's content is in these answers.
"""


def _overall(*, running: bool) -> dict[str, Any]:
    return {
        "runlevel": "UNKNOWN",
        "health_percent": None,
        "critical_health_percent": None,
        "overall_running": running,
    }


def _homeostasis() -> dict[str, Any]:
    return {"available": False, "running": False, "orchestrator": None, "health": None, "si_health_contribution": None}


def _kpis(generated: int | None, executed: int | None, accepted: int | None, last_rollback: str | None) -> Kpis:
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
