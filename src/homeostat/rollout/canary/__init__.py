"""The judge of a canary: says while two arms run beside each other whether the new code does harm."""

from homeostat.model.canary import ArmTick
from homeostat.rollout.canary.arms import CanaryTick, arm_tick, together
from homeostat.rollout.canary.forecast import Forecast, time_to_promote
from homeostat.rollout.canary.judge import CanaryJudge
from homeostat.rollout.canary.settings import JudgeSettings, Quantile
from homeostat.rollout.canary.verdict import CanaryVerdict, Continue, Evidence, Inconclusive, Promote, Rollback

__all__ = [
    "CanaryJudge",
    "ArmTick",
    "arm_tick",
    "CanaryTick",
    "together",
    "JudgeSettings",
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
