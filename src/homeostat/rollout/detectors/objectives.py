"""A service level objective is breached soon after the change."""

from homeostat.rollout.detectors.results import Fired, Holding, NoEvidence, Quiet, Result
from homeostat.rollout.detectors.service import Pool, Service
from homeostat.rollout.detectors.spells import Limit, Measure, judge_spell


def breached_objective(service: Service) -> Result:
    """Say whether an objective that was met before is breached, in a spell that began within `slo_within_s`."""
    settings = service.settings
    limits = []
    if settings.slo_availability:
        limits.append(_limit(service, "availability", _availability, settings.slo_availability))
    if settings.slo_latency_ms:
        what = f"share within {settings.slo_latency_ms:g} ms"
        limits.append(_limit(service, what, _quick, settings.slo_latency_share))
    if not limits:
        return NoEvidence(reason="off: neither `detectors.slo_availability` nor `detectors.slo_latency_ms` is set")
    if service.unknown:
        return NoEvidence(reason=service.unknown)
    return _gravest([_judge(service, limit) for limit in limits])


def _limit(service: Service, what: str, measure: Measure, floor: float) -> Limit:
    return Limit(what=what, measure=measure, floor=floor, within_s=service.settings.slo_within_s)


def _judge(service: Service, limit: Limit) -> Result:
    usual = min(limit.measure(past.total) for past in service.past)
    if usual < limit.floor:
        return NoEvidence(reason=f"{limit.what} was {usual:.4f} before the change, below {limit.floor} already")
    return judge_spell(service, limit)


def _gravest(results: list[Result]) -> Result:
    for kind in (Fired, Holding, Quiet):
        for result in results:
            if isinstance(result, kind):
                return result
    return results[0]


def _availability(pool: Pool) -> float:
    return pool.availability


def _quick(pool: Pool) -> float:
    return pool.quick
