"""What the judge of a canary says, and what it rests on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from homeostat.rollout.arms import Count


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that was seen so far. By chance alone an e-value ever reaches 1/a with a chance of at most a."""

    control: Count
    canary: Count
    against: float
    """E-value for harm, over all tests that are felt, less for hits that clump; taken back at 1 / `false_rollback`."""

    errors: float
    """E-value of each test by itself."""

    latency: Mapping[str, float]
    """By quantile."""

    spread: float
    rise: float
    """Failure rate of the canary less the control's, as counted."""

    rise_at_most: float | None
    """With the confidence of a promotion, in the present step; None: not yet bounded."""

    within_margin: Mapping[str, float]
    """E-values that the harm is below its margin, in the present step, by name of what is bounded."""

    share: float
    """E-value that the arms' sizes are not as planned, in the present step."""

    only_canary: tuple[str, ...]
    """Types of exceptions that the canary raised and the control did not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    reason: str
    evidence: Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Promote(_Judged):
    """The harm is shown to be less than the margins: the next step may begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback(_Judged):
    """Take it back. Said once, it stays said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Continue(_Judged):
    """Neither is shown yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inconclusive(_Judged):
    """Hold, and ask a person: it cannot be known as things are. Later ticks may still settle it."""


CanaryVerdict: TypeAlias = Promote | Rollback | Continue | Inconclusive
