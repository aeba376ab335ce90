"""Bringing programs back to the code on disk after a change was taken back that they had been restarted for."""

from homeostat.core.errors import HomeostatError
from homeostat.flows.deps import Deps
from homeostat.model.proposal import Proposal
from homeostat.model.restart import RestartPhase, RestartPlan


def plan_of(deps: Deps) -> RestartPlan:
    """Return how restarts are made, from the settings."""
    settings = deps.settings.restart
    return RestartPlan(
        timeout_s=settings.timeout_s,
        drain_s=settings.drain_s,
        settle_s=settings.settle_s,
        health_path=settings.health_path,
    )


def restart_back(deps: Deps, proposal: Proposal, *, processes_left: bool) -> None:
    """Start again what did not come up with a change that is not on disk any more; idempotent.

    Where `processes_left` says that processes still run the change, these are restarted too.

    Only where no person has to be asked: the change was taken back by itself, or restarts are automatic.
    A program that cannot be restarted now is left to the next look, or to its owner.
    """
    application = proposal.application
    if application is None or not application.restart_id:
        return
    if not application.automatic_revert and not deps.settings.restart.automatic:
        return
    request_id = f"{application.restart_id}:back"
    for program in deps.restarter.programs():
        report = program.report
        if report is None or report.request_id != application.restart_id or not report.phase.is_over:
            continue
        if (processes_left and report.phase is RestartPhase.DONE) or program.pid is None:
            try:
                deps.restarter.begin(program.id, request_id, plan_of(deps))
            except HomeostatError:
                continue
