"""What to do next in a restart, decided from what is seen: the new process must be well before the old one goes.

A program that listens is restarted with overlap: the new process gets the old one's sockets, must be
well for a while, and only then the old one is parked (it takes nothing new), emptied and ended. A new
process that does not become well is ended, and the old one was never touched. A program that listens
nowhere is a worker: two of it would do work twice, so it is stopped first.

`decide` is called again and again with what is seen now; each action is asked for once.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

from homeostat.model.restart import RestartPhase, RestartPlan

EMPTY_NEW_S = 5.0
"""How long a new process that failed may take at most to answer the requests that it has accepted."""

END_NEW_S = 5.0
"""How long it may then take to end by itself."""

EMPTIED_AFTER_S = 0.1
UNDER_WAY_S = 1.0
"""A request that was under way when the old process was parked has arrived after this time."""

P = RestartPhase


class Action(StrEnum):
    """What the supervisor does now."""

    WAIT = "wait"
    START_NEW = "start-new"
    PARK_OLD = "park-old"
    TERMINATE_OLD = "terminate-old"
    KILL_OLD = "kill-old"
    PARK_NEW = "park-new"
    TERMINATE_NEW = "terminate-new"
    KILL_NEW = "kill-new"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """What is seen of a process that is to end: the old one, or a new one that failed."""

    alive: bool
    busy_connections: int = 0
    """Connections that are open and not merely kept for a later request."""

    unread: int = 0
    """Connections on which something was sent that it has not read."""

    graceful: bool = True
    """Whether it handles SIGTERM; one that does not ends in the middle of what it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSeen:
    """What is seen of the new process."""

    alive: bool
    code: int | None = None
    attached: bool = False
    """Its agent has called the supervisor, and stands with the hub where there is one."""

    unserved: tuple[str, ...] = ()
    """Addresses of the old process at which nobody of the new program accepts."""

    disturbed_at_s: float | None = None
    """When a process of the new program that had served ended, last."""

    probe: str | None = ""
    """Why the health path was not answered well by the new process; empty: it was, or none is configured;
    None: it was not asked yet."""

    unanswered: Leaving = Leaving(alive=True)
    """What it has still to answer, once it was parked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """One restart as it stands."""

    request_id: str
    plan: RestartPlan
    overlap: bool
    phase: RestartPhase
    since_s: float
    """When this phase began."""

    well_since_s: float | None = None
    refused: str = ""
    """What the new process last answered at the health path, if that was not 2xx."""

    reason: str = ""
    asked: bool = False
    """Whether a new process that failed was asked to end."""

    killed: bool = False
    """Whether the process that is to end in this phase was killed."""


def begin(request_id: str, plan: RestartPlan, *, overlap: bool, now_s: float) -> tuple[Restart, Action]:
    """Begin a restart."""
    phase = P.STARTING if overlap else P.STOPPING
    restart = Restart(request_id=request_id, plan=plan, overlap=overlap, phase=phase, since_s=now_s)
    return restart, Action.START_NEW if overlap else Action.TERMINATE_OLD


def decide(restart: Restart, *, new: NewSeen | None, old: Leaving, now_s: float) -> tuple[Restart, Action]:
    """Take the next step. `new` is None as long as none was started."""
    in_phase_s = now_s - restart.since_s
    match restart.phase:
        case P.STOPPING:
            if not old.alive:
                return _to(restart, P.STARTING, now_s), Action.START_NEW
            return _kill_when_late(restart, in_phase_s, Action.KILL_OLD)
        case P.STARTING:
            return _starting(restart, new, now_s)
        case P.RETIRING:
            if not old.alive:
                return _to(restart, P.DONE, now_s), Action.WAIT
            if is_empty(old, parked_s=in_phase_s) or in_phase_s > restart.plan.drain_s:
                return _to(restart, P.DRAINING, now_s), Action.TERMINATE_OLD
            return restart, Action.WAIT
        case P.DRAINING:
            if not old.alive:
                return _to(restart, P.DONE, now_s), Action.WAIT
            return _kill_when_late(restart, in_phase_s, Action.KILL_OLD)
        case P.ENDING:
            if new is None or not new.alive:
                return _to(restart, P.FAILED, now_s), Action.KILL_NEW  # workers that it had may be there still
            return _end_new(restart, new, now_s)
        case P.DONE | P.FAILED:
            return restart, Action.WAIT
        case _:
            assert_never(restart.phase)


def fail(restart: Restart, reason: str, *, now_s: float) -> tuple[Restart, Action]:
    """Give up while the old process can still stay; the new one, if any, is parked and ended."""
    return replace(_to(restart, P.ENDING, now_s), reason=reason), Action.PARK_NEW


def what_is_missing(new: NewSeen, *, now_s: float, settle_s: float) -> str:
    """Return in words why a new process cannot be called well yet; empty when it can."""
    if not new.attached:
        return "its agent has not called"
    if new.unserved:
        return f"it does not serve {', '.join(new.unserved)}"
    if new.disturbed_at_s is not None and now_s - new.disturbed_at_s < settle_s:
        return "processes of it end and are started again"
    return ""


def is_empty(leaving: Leaving, *, parked_s: float) -> bool:
    """Tell whether a parked process may be asked to end without cutting anybody off.

    One that handles SIGTERM finishes what it has begun; it must only have read what was on its way.
    """
    if parked_s < EMPTIED_AFTER_S:
        return False
    if leaving.busy_connections == 0:
        return True
    return leaving.graceful and parked_s >= UNDER_WAY_S and leaving.unread == 0


def _starting(restart: Restart, new: NewSeen | None, now_s: float) -> tuple[Restart, Action]:
    if new is None:
        return restart, Action.WAIT
    if not new.alive:
        how = "ended" if new.code is None else f"ended with code {new.code}"
        failed = replace(_to(restart, P.FAILED, now_s), reason=f"the new process {how}")
        # Workers that it had may be there still.
        return failed, Action.KILL_NEW
    plan = restart.plan
    missing = what_is_missing(new, now_s=now_s, settle_s=plan.settle_s)
    well_since_s = None if missing else restart.well_since_s if restart.well_since_s is not None else now_s
    refused = restart.refused if new.probe is None else new.probe
    restart = replace(restart, well_since_s=well_since_s, refused=refused)
    missing = missing or refused
    settled = well_since_s is not None and now_s - well_since_s >= plan.settle_s
    if settled and new.probe == "":
        if restart.overlap:
            return _to(restart, P.RETIRING, now_s), Action.PARK_OLD
        return _to(restart, P.DONE, now_s), Action.WAIT
    if now_s - restart.since_s > plan.timeout_s:
        why = missing or _what_it_lacked(settled, plan)
        return fail(restart, f"the new process was not well within {plan.timeout_s:g} s: {why}", now_s=now_s)
    return replace(restart, reason=missing), Action.WAIT


def _what_it_lacked(settled: bool, plan: RestartPlan) -> str:
    if settled and plan.health_path:
        return f"the old process took every connection that asked for {plan.health_path}"
    return "it did not stay well for long enough"


def _end_new(restart: Restart, new: NewSeen, now_s: float) -> tuple[Restart, Action]:
    """End a new process that failed; it may have accepted requests beside the old one."""
    in_phase_s = now_s - restart.since_s
    if not restart.asked:
        if is_empty(new.unanswered, parked_s=in_phase_s) or in_phase_s > min(EMPTY_NEW_S, restart.plan.drain_s):
            return replace(restart, asked=True, since_s=now_s), Action.TERMINATE_NEW
    elif in_phase_s > END_NEW_S and not restart.killed:
        return replace(restart, killed=True), Action.KILL_NEW
    return restart, Action.WAIT


def _kill_when_late(restart: Restart, in_phase_s: float, action: Action) -> tuple[Restart, Action]:
    if in_phase_s <= restart.plan.drain_s or restart.killed:
        return restart, Action.WAIT
    reason = f"the old process did not end within {restart.plan.drain_s:g} s and was killed"
    return replace(restart, killed=True, reason=reason), action


def _to(restart: Restart, phase: RestartPhase, now_s: float) -> Restart:
    reason = restart.reason if phase in (P.DONE, P.FAILED) and (restart.killed or phase is P.FAILED) else ""
    killed = restart.killed and phase.is_over
    return replace(restart, phase=phase, since_s=now_s, reason=reason, killed=killed)
