"""Detectors over the whole service, beside the judges of a change: harm that both arms of a canary share.

Four are built in, and queries to Prometheus may be added. Each says one of four things (`results`); what follows from
them is `heeding`. Nothing is remembered: all of it is derived from stored stretches, at each look anew.
"""

from collections.abc import Callable

from homeostat.model.settings import DetectorSettings
from homeostat.rollout.detectors.errors import risen_errors
from homeostat.rollout.detectors.health import fallen_health, low_health
from homeostat.rollout.detectors.objectives import breached_objective
from homeostat.rollout.detectors.results import Detection, Fired, Holding, NoEvidence, Quiet, Result
from homeostat.rollout.detectors.service import Service, View, count_service

DETECTORS: dict[str, Callable[[Service], Result]] = {
    "health": low_health,
    "health-drop": fallen_health,
    "slo": breached_objective,
    "error-rate": risen_errors,
}
"""Each under its name, as it stands in the ledger."""


def detect(view: View, settings: DetectorSettings) -> tuple[Detection, ...]:
    """Let every detector look at the service, in order; none where they are switched off."""
    if not settings.enabled:
        return ()
    return detect_in(count_service(view, settings))


def detect_in(service: Service) -> tuple[Detection, ...]:
    """Let every detector look at a service that is counted."""
    return tuple(Detection(name=name, result=look(service)) for name, look in DETECTORS.items())


__all__ = ["DETECTORS", "Detection", "Fired", "Holding", "NoEvidence", "Quiet", "Result", "View", "detect", "detect_in"]
