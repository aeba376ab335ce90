"""Restarting a program so that it runs what is on disk: what was asked, and how far it is."""

from dataclasses import dataclass
from enum import StrEnum


class RestartPhase(StrEnum):
    """How far a restart is, in order; the last two are its ends."""

    STOPPING = "stopping"
    """A program that listens nowhere is stopped first, so that no work is done twice."""

    STARTING = "starting"
    """The new process runs, and is not known to be well yet."""

    RETIRING = "retiring"
    """The new process serves; the old one takes nothing new and ends what it has begun."""

    DRAINING = "draining"
    """The old process was asked to end."""

    ENDING = "ending"
    """The new process is not well and is ended."""

    DONE = "done"
    FAILED = "failed"

    @property
    def is_over(self) -> bool:
        return self in (RestartPhase.DONE, RestartPhase.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPlan:
    """How a restart is to be made (table ``[restart]`` of the settings)."""

    timeout_s: float
    drain_s: float
    settle_s: float
    health_path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartReport:
    """How far one restart of one program is."""

    request_id: str
    phase: RestartPhase
    reason: str = ""
    """Why it failed, or what is waited for; also that the old process had to be killed."""

    last_words: str = ""
    """The last lines that the new process wrote to stderr, cleaned; only of one that failed."""

    took_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartableProgram:
    """A program that can be restarted, as whoever restarts it describes it."""

    id: str
    command: str
    """Program name only: arguments may hold secrets."""

    pid: int | None
    """None while it does not run, or where that is not known."""

    report: RestartReport | None = None
    """The last restart, under way or over."""
