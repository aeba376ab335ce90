"""A host process that an agent has attached, and what became of a live change in it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from homeostat.core.ids import CommitId, ProcessId


@dataclass(frozen=True, slots=True, kw_only=True)
class HostProcess:
    """An attached process, as its agent described it after both ends proved the key."""

    id: ProcessId
    pid: int
    started_at: datetime
    python: str
    command: str
    """Program name only: arguments may hold secrets."""

    commit: CommitId | None
    """What was checked out when it started."""

    hmr_enabled: bool
    generation: int
    changes: tuple[str, ...]
    """Ids of the live changes that are in force in it, for all calls or a share of them, oldest first."""

    connected: bool


class LiveOutcome(StrEnum):
    SWAPPED = "swapped"
    RESTART_REQUIRED = "restart_required"
    """The planner would not swap it; nothing was changed in the process."""

    NOT_ROUTABLE = "not_routable"
    """It could be swapped, and cannot be tried on a share of the calls; nothing was changed in the process."""

    FAILED = "failed"
    """It was tried, and everything was put back."""

    UNREACHABLE = "unreachable"
    """No answer: what the process did is not known until it reports again."""


class RunningSource(StrEnum):
    """Which source of a change a process was seen to run, by the functions that are alive in it."""

    CANARY = "canary"
    """A share of the calls runs the new one, or of another change of the same files its own."""

    NEW = "new"
    """Something of it was made from the new source, and not from the old."""

    LOADING = "loading"
    """A module of the change is being imported just now: what it read is not to be seen yet."""

    OTHER = "other"
    """Something comes from neither, and nothing from the new one alone."""

    OLD = "old"
    EITHER = "either"
    """It is loaded, and nothing tells the two apart."""

    NOT_LOADED = "not_loaded"
    """What it loads later, it reads from the disk then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedFiles:
    """What a process says it has loaded of the repository."""

    files: frozenset[str]
    """Python files, relative to the repository; a link by what it leads to."""

    parent: ProcessId | None
    """The process that it was forked from, with everything that was loaded there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveResult:
    """One process's answer to a prepare, swap or rollback."""

    process_id: ProcessId
    outcome: LiveOutcome
    detail: str
    swap_us: int | None = None
    """Time in which functions were actually exchanged, in microseconds."""

    functions: tuple[str, ...] = ()
    """``module:qualname`` of what was exchanged or added."""

    runs: RunningSource | None = None
    """Only a prepare tells it; None also where the process cannot (hot reload is off, a source does not compile)."""
