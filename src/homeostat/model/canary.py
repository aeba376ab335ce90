"""A canary: a change that a share of the calls runs, beside the code that it would replace."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from homeostat.core.ids import ProposalId


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Which of the calls run the new code, and for how long unless the hub says so again."""

    percent: int
    """Of the units: requests, or where there are none tasks and outermost calls. 1 to 99."""

    key: str = ""
    """What holds the units of one user together, as ``header:x-user``; empty: each request by itself."""

    lease_s: float
    """After so long without word from the hub, a process gives every call back to the old code by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryStage:
    """How far a canary has come, as its proposal's row says."""

    began_at: datetime
    percent: int
    percent_since: datetime
    passed_at: datetime | None = None
    """When it was found fit for all calls. Only then are branch and files touched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmCount:
    """What one arm counted: how many units, how many of them failed and of what, and how long they took."""

    units: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)
    """Failed units by exception type, or by the status of the answer."""

    latency: Mapping[int, int] = field(default_factory=dict)
    """Units by the index of their bucket (`homeostat.model.latency`)."""

    at_risk: int | None = None
    """Where a key holds the units of a user together: users that had not failed before. Else None: all units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryTick:
    """What one process counted of one change between `start` and `end`, on both arms."""

    change_id: ProposalId
    process_id: str
    start: datetime
    end: datetime
    percent: int
    """Share of the calls that ran the change meanwhile."""

    control: ArmCount
    canary: ArmCount
