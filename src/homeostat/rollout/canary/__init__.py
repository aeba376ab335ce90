"""The judge of a canary: says while two arms run beside each other whether the new code does harm."""

from homeostat.rollout.canary.arms import ArmTick, CanaryTick, arm_tick, together
from homeostat.rollout.canary.forecast import Forecast, time_to_promote
from homeostat.rollout.canary.judge import CanaryJudge
from homeostat.rollout.canary.settings import CanarySettings, Quantile
from homeostat.rollout.canary.verdict import CanaryVerdict, Continue, Evidence, Inconclusive, Promote, Rollback

__all__ = [
    "CanaryJudge",
    "ArmTick",
    "arm_tick",
    "CanaryTick",
    "together",
    "CanarySettings",
    "Quantile",
    "CanaryVerdict",
    "Promote",
    "Rollback",
    "Continue",
    "Inconclusive",
    "Evidence",
    "time_to_promote",
    "Forecast",
]
