"""What a canary's judge is told beforehand: how sure it must be, what is harmless, and how much it must have seen."""

from dataclasses import dataclass

from homeostat.core.errors import InvalidInput
from homeostat.rollout.tolerance import LEAST_FAILURES, LEAST_TOLERATED


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantile:
    """A quantile of the latency that is judged, as ratios of the canary's to the control's."""

    at: float
    tolerated: float
    """Up to this ratio a difference is harmless."""

    margin: float
    """A change is promoted when the ratio is shown to be below this."""

    @property
    def name(self) -> str:
        return f"p{self.at * 100:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeSettings:
    """How a canary is judged."""

    false_rollback: float = 0.01
    """Chance of taking back a harmless change over the whole canary, however often it is looked at (alpha)."""

    false_promotion: float = 0.05
    """Chance of promoting, in one step, a change whose harm is as great as a margin."""

    least_rise: float = LEAST_TOLERATED
    """A rise of the failure rate below this (absolute) is no reason to take a change back, however sure it is."""

    rise_margin: float = 0.01
    """A change is promoted when its rise of the failure rate is shown to be below this (absolute)."""

    quantiles: tuple[Quantile, ...] = (
        Quantile(at=0.5, tolerated=1.1, margin=1.25),
        Quantile(at=0.9, tolerated=1.1, margin=1.25),
        Quantile(at=0.99, tolerated=1.25, margin=1.6),
    )

    spread_tolerated: float = 1.1
    """Latencies count as outside the control's usual range only beyond it by this ratio."""

    least_failures: int = LEAST_FAILURES
    """Fewer failures of the canary than this are never a reason to take it back."""

    least_units: int = 10
    """Units in each arm below which nothing is taken back."""

    promote_units: int = 200
    """Units in each arm, in the present step, below which nothing is promoted."""

    horizon_s: float = 3600.0
    """How long a step may take; then it is inconclusive."""

    silence_s: float = 60.0
    """How long there may be no unit at all; then it is inconclusive until there is one."""

    def __post_init__(self) -> None:
        shares = (self.false_rollback, self.false_promotion)
        if not all(0 < one < 1 for one in shares) or not 0 <= self.least_rise < 1 or not 0 < self.rise_margin < 1:
            raise InvalidInput("bad-setting", "a chance or a rate of the canary is not between 0 and 1")
        if any(not (0 < one.at < 1 and 1 <= one.tolerated < one.margin) for one in self.quantiles):
            raise InvalidInput("bad-setting", "a quantile of the canary needs 1 <= tolerated < margin")
        if self.spread_tolerated < 1:
            raise InvalidInput("bad-setting", "the tolerated spread of the canary is a ratio of at least 1")
