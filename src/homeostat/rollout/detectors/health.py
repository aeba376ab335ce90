"""Two detectors: health is low, and health has fallen. What health is, `homeostat.rollout.detectors.service` says."""

from homeostat.rollout.detectors.results import NoEvidence, Quiet, Result
from homeostat.rollout.detectors.service import Pool, Service
from homeostat.rollout.detectors.spells import Limit, judge_spell


def low_health(service: Service) -> Result:
    """Say whether health is below the least that is allowed. A service that was so before is judged by its fall."""
    floor = service.settings.health
    if not floor:
        return NoEvidence(reason="off: `detectors.health` is 0")
    if service.unknown:
        return NoEvidence(reason=service.unknown)
    usual = usual_health(service)
    if usual < floor:
        return NoEvidence(reason=f"health was {usual:.3f} before the change, below {floor} already")
    return judge_spell(service, Limit(what="health", measure=_health, floor=floor, within_s=service.view.reach_s))


def fallen_health(service: Service) -> Result:
    """Say whether health has fallen by too much, from the lower of the hour before and the same hours of yesterday."""
    drop = service.settings.health_drop
    if drop >= 1:
        return NoEvidence(reason="off: `detectors.health_drop` is 1")
    if service.unknown:
        return NoEvidence(reason=service.unknown)
    floor = usual_health(service) - drop
    if floor <= 0:
        return Quiet(reason=f"health was {floor + drop:.3f} before the change: it cannot fall by {drop}")
    return judge_spell(service, Limit(what="health", measure=_health, floor=floor, within_s=service.view.reach_s))


def usual_health(service: Service) -> float:
    return min(past.total.health for past in service.past)


def _health(pool: Pool) -> float:
    return pool.health
