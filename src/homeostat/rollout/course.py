"""The course of a canary: when a larger share of the calls runs a change, when all do, and when it is given back."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeAlias

from homeostat_agent.canary.histogram import bucket_of

from homeostat.model.canary import ArmTick, CanaryStage, ProcessTick, ShadowOutcome
from homeostat.model.settings import CanarySettings, Reaction
from homeostat.rollout.canary import (
    CanaryJudge,
    CanaryVerdict,
    Continue,
    Inconclusive,
    JudgeSettings,
    Promote,
    Rollback,
)
from homeostat.rollout.canary.arms import Tally
from homeostat.rollout.shadow import DIFFERS, RAISES, ShadowTally, say_what_was_found


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """It goes on as it is."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Widen:
    percent: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """All calls may run it."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveBack:
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """It is not known, and may never be: a person decides. More evidence may still do so before."""

    reason: str


_SETTLING = timedelta(seconds=5)

Course: TypeAlias = Wait | Widen | Pass | GiveBack | Ask


def judged_by(settings: CanarySettings) -> JudgeSettings:
    """Return what the judge is told of the settings."""
    return JudgeSettings(false_rollback=settings.false_rollback, horizon_s=settings.max_s)


def quickest(settings: CanarySettings) -> int:
    """Return the bucket that takes all quick calls."""
    return bucket_of(settings.quick_ms / 1000)


class Judging:
    """One canary as its ticks come in, from all processes: what the judge says of them, and what both arms counted."""

    def __init__(self, settings: CanarySettings) -> None:
        self._judge = CanaryJudge(judged_by(settings))
        self._quick = quickest(settings)
        self._percent = 0
        self._settled_at: dict[tuple[str, int], datetime] = {}
        self._until: datetime | None = None
        self._control, self._canary = Tally(), Tally()
        self._shadow = ShadowTally()

    @property
    def processes(self) -> frozenset[str]:
        """Ids of all that have told anything."""
        return frozenset(process_id for process_id, _ in self._settled_at)

    @property
    def verdict(self) -> CanaryVerdict:
        return self._judge.verdict

    @property
    def control(self) -> Tally:
        return _copy(self._control)

    @property
    def canary(self) -> Tally:
        return _copy(self._canary)

    @property
    def shadow(self) -> ShadowTally:
        return replace(self._shadow, calls=dict(self._shadow.calls))

    def feed(self, tick: ProcessTick) -> None:
        """Take what one process counted. Ticks come in any order, but for each process in that of time.

        Shares only ever grow, and a process that hears of one later must not seem to begin the last one anew. In what
        it counts just after it heard there are units that had drawn their arm before: nothing is said of their shares.
        """
        settled_at = self._settled_at.setdefault((tick.process_id, tick.percent), tick.start + _SETTLING)
        if tick.shadow is not None:
            self._shadow.add(tick.shadow)
        if not tick.percent:
            return  # every caller got what the old code gave: there is nothing to be judged
        self._percent = max(self._percent, tick.percent)
        told = tick.percent == self._percent and tick.start >= settled_at
        self._judge.observe(
            control=self._arm(tick.control),
            canary=self._arm(tick.canary),
            share=tick.percent / 100 if told else None,
            seconds=self._time_passed_s(tick),
        )
        self._control.add(tick.control)
        self._canary.add(tick.canary)

    def _time_passed_s(self, tick: ProcessTick) -> float:
        """Return what this tick adds to the time that was watched: processes count side by side, and not in turn."""
        begun = tick.start if self._until is None else max(tick.start, self._until)
        self._until = tick.end if self._until is None else max(tick.end, self._until)
        return max((tick.end - begun).total_seconds(), 0.0)

    def _arm(self, count: ArmTick) -> ArmTick:
        """Return the count with all quick calls in one bucket: a tenth more of next to nothing is nobody's harm."""
        latency: dict[int, int] = {}
        for bucket, units in count.latency.items():
            latency[max(bucket, self._quick)] = latency.get(max(bucket, self._quick), 0) + units
        return ArmTick(units=count.units, failures=count.failures, latency=latency, at_risk=count.at_risk)


def plan_course(stage: CanaryStage, verdict: CanaryVerdict, *, now: datetime, settings: CanarySettings) -> Course:
    """Say what follows from a verdict. What is promoted has the next larger share, after `step_s` at the least."""
    tried_s = (now - stage.percent_since).total_seconds()
    match verdict:
        case Rollback(reason=reason):
            return GiveBack(reason=reason)
        case Inconclusive(reason=reason):
            return Ask(reason=reason)
        case Continue(reason=reason):
            # The judge knows only of time in which something was counted.
            return Wait(reason=reason) if tried_s < settings.max_s else Ask(reason=f"after {tried_s:.0f} s: {reason}")
        case Promote(reason=reason):
            if tried_s < settings.step_s:
                left_s = settings.step_s - tried_s
                return Wait(reason=f"{left_s:.0f} s are left of the time at {stage.percent} %; {reason}")
            wider = next((percent for percent in settings.steps if percent > stage.percent), None)
            return Pass(reason=reason) if wider is None else Widen(percent=wider, reason=reason)


def plan_after_shadow(stage: CanaryStage, seen: ShadowTally, *, now: datetime, settings: CanarySettings) -> Course:
    """Say what follows from what was found on copies. What was compared often enough, and is the same, goes on."""
    tried_s = (now - stage.percent_since).total_seconds()
    told = say_what_was_found(seen)
    open_questions = []
    if seen.count(ShadowOutcome.UNFINISHED):
        open_questions.append(told)
    for outcomes, reaction in ((RAISES, settings.shadow_raises), (DIFFERS, settings.shadow_differs)):
        if seen.count(*outcomes) and reaction is Reaction.TAKE_BACK:
            return GiveBack(reason=f"on copies of the arguments: {told}")
        if seen.count(*outcomes) and reaction is Reaction.ASK:
            open_questions.append(told)
    if open_questions:
        return Ask(reason=f"on copies of the arguments: {open_questions[0]}")
    if seen.compared < settings.shadow_calls:
        missing = f"{seen.compared} of {settings.shadow_calls} calls compared on copies of the arguments; {told}"
        return Wait(reason=missing) if tried_s < settings.max_s else Ask(reason=f"after {tried_s:.0f} s: {missing}")
    if tried_s < settings.step_s:
        return Wait(reason=f"{settings.step_s - tried_s:.0f} s are left of the time on copies; {told}")
    reason = f"on copies of the arguments: {told}"
    return Widen(percent=settings.steps[0], reason=reason) if settings.steps else Pass(reason=reason)


def _copy(tally: Tally) -> Tally:
    return replace(tally, failures=dict(tally.failures), latency=dict(tally.latency))
