"""A canary: a change that a share of the calls runs, beside the code that it would replace."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from homeostat_agent.canary import comparing

from homeostat.core.errors import InvalidInput
from homeostat.core.ids import ProposalId


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Which of the calls run the new code, and for how long unless the hub says so again."""

    percent: int
    """Of the units: requests, or where there are none tasks and outermost calls. 1 to 99, or 0 to shadow alone."""

    key: str = ""
    """What holds the units of one user together, as ``header:x-user``; empty: each request by itself."""

    lease_s: float
    """After so long without word from the hub, a process gives every call back to the old code by itself."""

    shadowed: tuple[str, ...] = ()
    """While no unit runs the new code: functions, as ``path.py:qualname``, whose new code runs beside the old on copies
    of the arguments, and is compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryStage:
    """How far a canary has come, as its proposal's row says."""

    began_at: datetime
    percent: int
    """0 while it is shadowed alone, and before it begins."""

    shadowed: tuple[str, ...] = ()
    """Functions whose calls were or are compared before the first share; empty where there was no such step."""

    widened_at: tuple[datetime, ...] = ()
    """When the share became larger than the first one, oldest first."""

    passed_at: datetime | None = None
    """When it was found fit for all calls. Only then are branch and files touched."""

    @property
    def percent_since(self) -> datetime:
        return self.widened_at[-1] if self.widened_at else self.began_at

    @property
    def is_shadow(self) -> bool:
        """Whether every caller still gets what the old code gives, and the new one runs beside it."""
        return bool(self.shadowed) and not self.widened_at


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmTick:
    """What one arm counted in one tick.

    The unit is whatever the arm is drawn for: a request, a task of a worker. Where a key (a user) keeps its arm, its
    requests are no longer drawn one by one, so a key is the unit and counts once, with its first request. Its later
    requests may count, too, for a rollback: then a key is in `failures` when it first fails, and `at_risk` says among
    how many. How great a part of the keys will have failed in the end is not known from that, so nothing is promoted.
    """

    units: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)
    """Failed units by type of exception; a unit counts once."""

    latency: Mapping[int, int] = field(default_factory=dict)
    """Units by bucket of their latency (`homeostat_agent.canary.histogram`); of as many units as were timed."""

    at_risk: int | None = None
    """With keys: those that had not failed before this tick, the new ones among them. None: the units themselves."""

    def __post_init__(self) -> None:
        counts = (self.units, *self.failures.values(), *self.latency.values(), self.exposed)
        if any(count < 0 for count in counts):
            raise InvalidInput("bad-tick", "a tick has a negative count")
        if self.failed > self.exposed:
            raise InvalidInput("bad-tick", f"{self.failed} units failed of {self.exposed}")
        if sum(self.latency.values()) > self.units:
            raise InvalidInput("bad-tick", "there are more latencies than units")

    @property
    def failed(self) -> int:
        """Units that failed, of whatever type."""
        return sum(self.failures.values())

    @property
    def exposed(self) -> int:
        """Units that could have failed."""
        return self.units if self.at_risk is None else self.at_risk


class ShadowOutcome(StrEnum):
    """What was found of one call whose new code ran beside the old, on a copy of its arguments.

    The words are the agent's, and what each means stands there.
    """

    SAME = comparing.SAME
    RESULT = comparing.RESULT
    ARGUMENTS = comparing.ARGUMENTS
    RAISED = comparing.RAISED
    RETURNED = comparing.RETURNED
    RAISED_OTHERWISE = comparing.RAISED_OTHERWISE
    UNFINISHED = comparing.UNFINISHED
    UNREPEATABLE = comparing.UNREPEATABLE
    NOT_COPIED = comparing.NOT_COPIED
    NOT_COMPARABLE = comparing.NOT_COMPARABLE
    INTERRUPTED = comparing.INTERRUPTED
    SKIPPED = "skipped"
    """Not compared: another call was just being, or was too short a time before. Told as one count by the agent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadowed:
    """One kind of what was found. It holds no value of the host: kinds, and names that are in its code."""

    function: str
    outcome: ShadowOutcome
    difference: str = ""
    """Where and how they differ, or the type of what was raised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowTick:
    """What was found by comparing calls in one tick."""

    calls: Mapping[Shadowed, int]
    control_s: float = 0.0
    """What the compared calls took on the old code."""

    canary_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessTick:
    """What one process counted of one change between `start` and `end`, on both arms."""

    change_id: ProposalId
    process_id: str
    start: datetime
    end: datetime
    percent: int
    """Share of the calls that ran the change meanwhile."""

    control: ArmTick
    canary: ArmTick
    shadow: ShadowTick | None = None

    def __post_init__(self) -> None:
        check_same_units(self.control, self.canary)


def check_same_units(control: ArmTick, canary: ArmTick) -> None:
    """Raise where one arm counts keys and the other does not: they cannot be compared."""
    if (control.at_risk is None) != (canary.at_risk is None):
        raise InvalidInput("bad-tick", "one arm counts keys and the other does not")
