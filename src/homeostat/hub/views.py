"""Rows as bodies of the HTTP interface."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from typing import Any

import msgspec
from msgspec import structs

from homeostat.core.errors import HomeostatError
from homeostat.flows.canarying import CanaryLook
from homeostat.flows.canarying import look as look_at_canary
from homeostat.flows.deps import Deps
from homeostat.flows.late_reverts import RevertPreview
from homeostat.flows.observing import Observation, look
from homeostat.flows.proposing import resolve_diff
from homeostat.hub.contract import PlanBody, PlanStep, PlanTraffic, ProposalBody, ProposalDetail, RevertPreviewBody
from homeostat.model.canary import CanaryStage, ShadowOutcome
from homeostat.model.latency import quantile_s
from homeostat.model.proposal import Proposal, ProposalState
from homeostat.model.verdict import Denied
from homeostat.rollout.arms import Arm
from homeostat.rollout.canary.arms import Tally
from homeostat.rollout.detectors import Detection
from homeostat.rollout.foresight import Foresight, Step, Traffic
from homeostat.rollout.live import plan_change
from homeostat.rollout.shadow import ShadowTally, rate_of_difference, told_of
from homeostat.rollout.token import rollback_token

_MOST_FOUND = 20
RESTART_COMMAND = "homeostat restart"


def proposal_body(proposal: Proposal) -> ProposalBody:
    """Show one proposal in a list."""
    return ProposalBody(**_common(proposal))


def proposal_detail(deps: Deps, proposal: Proposal) -> ProposalDetail:
    """Show one proposal with its proof, its plan and what is observed of it."""
    observing = proposal.state is ProposalState.OBSERVING
    return ProposalDetail(
        **_common(proposal),
        diff=proposal.diff,
        evidence=list(proposal.evidence),
        takes_back=proposal.takes_back,
        provenance=dict(proposal.provenance),
        proof=plain(proposal.proof) if proposal.proof else None,
        proof_stage=deps.prover.stage(proposal.id) if proposal.state is ProposalState.VALIDATING else None,
        review=plain(proposal.review) if proposal.review else None,
        application=plain(proposal.application) if proposal.application else None,
        observation=observation_body(look(deps, proposal)) if observing else None,
        canary=canary_body(proposal, look_at_canary(deps, proposal))
        if proposal.state is ProposalState.CANARY
        else None,
        plan=_plan(deps, proposal),
        log=list(proposal.log),
    )


def plan_body(proposal: Proposal, seen: Foresight) -> PlanBody:
    """Show what applying a proposal would do; what takes for ever is null."""
    return PlanBody(
        proposal_id=proposal.id,
        title=proposal.title,
        state=proposal.state.value,
        base_commit=proposal.change.base_commit,
        change_digest=proposal.change.change_digest,
        way=seen.way.value,
        reason=seen.reason,
        modules=plain(seen.live.modules),
        restart_reasons=list(seen.live.restart_reasons),
        read_at_start=list(seen.read_at_start),
        shadowed=list(seen.shadow.functions),
        not_shadowed=dict(seen.shadow.left_out),
        steps=[_plan_step(step) for step in seen.steps],
        traffic=_plan_traffic(seen.traffic),
        canary_s=_finite(seen.canary_s),
        window_s=seen.window_s,
        refused=seen.refused,
        stale=list(seen.stale),
    )


def _plan_step(step: Step) -> PlanStep:
    return PlanStep(
        percent=step.percent,
        at_least_s=step.at_least_s,
        expected_s=_finite(step.expected_s),
        canary_units=_finite(step.forecast.canary_units),
        waits_for=step.forecast.waits_for,
        reason=step.forecast.reason,
    )


def _plan_traffic(traffic: Traffic) -> PlanTraffic:
    quantiles = _quantiles_ms(traffic.seen.latency, (0.5, 0.99))
    return PlanTraffic(
        seconds=round(traffic.seconds, 3),
        units=traffic.seen.units,
        units_per_s=round(traffic.units_per_s, 6),
        failed=traffic.seen.failed,
        p50_ms=quantiles["p50_ms"],
        p99_ms=quantiles["p99_ms"],
    )


def _finite(value: float) -> float | None:
    return round(value, 3) if math.isfinite(value) else None


def revert_preview_body(proposal: Proposal, seen: RevertPreview) -> RevertPreviewBody:
    """Show what taking a change back would do."""
    return RevertPreviewBody(
        proposal_id=proposal.id,
        title=proposal.title,
        head=seen.head,
        exact=seen.exact,
        unseen=seen.unseen,
        drift=[{"path": item.path, "problem": item.problem} for item in seen.drift],
        later=[proposal_body(item) for item in seen.later],
        diff=seen.diff.decode("utf-8", "replace"),
        conflicts=list(seen.conflicts),
    )


def observation_body(observation: Observation) -> dict[str, Any]:
    """Show what is known of an applied change, with the judgement's name beside its numbers."""
    return {
        "judgement": type(observation.judgement).__name__.lower(),
        **plain(observation.judgement),
        "baseline": _arm(observation.baseline),
        "after": _arm(observation.after),
        "detectors": [_detection(item) for item in observation.service.detections],
        "elapsed_s": round(observation.elapsed_s, 3),
        "window_s": observation.window_s,
    }


def canary_body(proposal: Proposal, seen: CanaryLook) -> dict[str, Any]:
    """Show a canary: both arms as counted, the judge's verdict, and what follows from it."""
    assert proposal.application is not None and proposal.application.canary is not None
    stage = proposal.application.canary
    return {
        "percent": stage.percent,
        "percent_since": stage.percent_since.isoformat(timespec="milliseconds"),
        "began_at": stage.began_at.isoformat(timespec="milliseconds"),
        "verdict": type(seen.verdict).__name__.lower(),
        "next": type(seen.course).__name__.lower(),
        "reason": seen.course.reason,
        "control": _counted_arm(seen.control),
        "canary": _counted_arm(seen.canary),
        "evidence": plain(seen.verdict.evidence),
        "shadow": _shadow(stage, seen.shadow) if stage.shadowed else None,
        "detectors": [_detection(item) for item in seen.service.detections],
    }


def _shadow(stage: CanaryStage, seen: ShadowTally) -> dict[str, Any]:
    """Show what was found by comparing calls on copies, before the first share."""
    low, high = rate_of_difference(seen)
    found = seen.most(*(set(ShadowOutcome) - {ShadowOutcome.SAME, ShadowOutcome.SKIPPED}))
    return {
        "functions": list(stage.shadowed),
        "compared": seen.compared,
        "same": seen.count(ShadowOutcome.SAME),
        "rate_from": round(low, 6),
        "rate_to": round(high, 6),
        "not_compared": seen.not_compared,
        "skipped": seen.count(ShadowOutcome.SKIPPED),
        "found": [{**plain(kind), "calls": count, "words": told_of(kind)} for kind, count in found[:_MOST_FOUND]],
        "control_s": round(seen.control_s, 6),
        "canary_s": round(seen.canary_s, 6),
    }


def _detection(item: Detection) -> dict[str, Any]:
    """Show what a detector says, by the name of its answer: quiet, holding, fired or noevidence."""
    return {"name": item.name, "says": type(item.result).__name__.lower(), **plain(item.result)}


def _counted_arm(arm: Tally) -> dict[str, Any]:
    return {
        "units": arm.units,
        "failures": dict(arm.failures),
        **_quantiles_ms(arm.latency, (0.5, 0.9, 0.99)),
    }


def _quantiles_ms(latency: Mapping[int, int], wanted: Sequence[float]) -> dict[str, float | None]:
    return {f"p{round(at * 100)}_ms": round(quantile_s(latency, at) * 1000, 3) if latency else None for at in wanted}


def _arm(arm: Arm) -> dict[str, Any]:
    """Show what was counted over all processes; a pool that renews its workers may have had hundreds of them."""
    return {name: value for name, value in plain(arm).items() if name != "parts"}


def plain(value: Any) -> Any:
    """Turn a frozen dataclass or struct into plain JSON values; times become ISO text, enums their words."""
    match value:
        case msgspec.Struct():
            return plain(structs.asdict(value))
        case datetime():
            return value.isoformat(timespec="milliseconds")
        case Enum():
            return value.value
        case dict():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case _ if is_dataclass(value) and not isinstance(value, type):
            return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
        case _:
            return value


def restart_required(proposal: Proposal) -> bool:
    """Tell whether the change is on disk but not in the running processes."""
    return proposal.state is ProposalState.AWAITING_RESTART


def _common(proposal: Proposal) -> dict[str, Any]:
    proof = proposal.proof
    return {
        "proposal_id": proposal.id,
        "title": proposal.title,
        "description": proposal.rationale,
        "status": proposal.status,
        "state": proposal.state.value,
        "state_reason": proposal.state_reason,
        "revision": proposal.revision,
        "category": proposal.category.value,
        "severity": proposal.severity.value,
        "author": proposal.author,
        "created_at": proposal.created_at.isoformat(timespec="milliseconds"),
        "updated_at": proposal.updated_at.isoformat(timespec="milliseconds"),
        "base_commit": proposal.change.base_commit,
        "change_digest": proposal.change.change_digest,
        "files": list(proposal.files),
        "restart_required": restart_required(proposal),
        "restart_command": RESTART_COMMAND if restart_required(proposal) else None,
        "rollback_token": rollback_token(proposal),
        "unreviewed": bool(proposal.review and proposal.review.unreviewed),
        "finding_id": proposal.finding_id,
        "metrics": {
            "verdict": proof.verdict.value if proof else None,
            "risk": proof.risk.score if proof and proof.risk else None,
            "consent_level": int(proof.risk.consent) if proof and proof.risk else None,
            "tests_run": len(proof.candidate.outcomes) if proof and proof.candidate else None,
            "tests_fixed": len(proof.fixed_tests) if proof else None,
            "tests_broken": len(proof.broken_tests) if proof else None,
            "proof_ms": proof.duration_ms if proof else None,
        },
    }


def _plan(deps: Deps, proposal: Proposal) -> dict[str, Any] | None:
    if proposal.application is not None:
        return None
    try:
        change = resolve_diff(deps, proposal.diff.encode("utf-8"), proposal.change.base_commit)
    except HomeostatError:
        return None
    return None if isinstance(change, Denied) else plain(plan_change(change, mode=deps.settings.hmr.mode))
