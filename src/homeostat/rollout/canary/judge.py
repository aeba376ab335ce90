"""The judge of a canary: both arms, tick by tick; it may be asked after each.

Of `false_rollback` (alpha) each family of tests has its share: what their wagers are worth is added up with these
weights, and the sum takes the change back at 1 / alpha. A weighted sum of e-values is one, however they depend on each
other, so alpha covers the whole canary: all tests, all looks, all steps.

It has no clock and no memory but the ticks that it was fed: a judge that is fed the same ticks says the same.
"""

import math
from collections.abc import Iterable

from homeostat.model.canary import ArmTick
from homeostat.model.latency import buckets_within, quantile_s
from homeostat.rollout.canary.arms import UNNAMED, CanaryTick, Tally
from homeostat.rollout.canary.harm import Block, ErrorHarm, Hits, Past, SlowHarm, SpreadHarm
from homeostat.rollout.canary.margins import Margins
from homeostat.rollout.canary.presence import Presence
from homeostat.rollout.canary.settings import JudgeSettings
from homeostat.rollout.canary.verdict import CanaryVerdict, Continue, Evidence, Inconclusive, Promote, Rollback

ERRORS_WEIGHT, LATENCY_WEIGHT, SPREAD_WEIGHT = 0.7, 0.2, 0.1
"""Shares of alpha. Errors have most: they are rare, and the surest harm."""

_BLOCK = 4.0
"""Ticks are judged together until there are this many units over share x (1 - share): 16 with equal arms."""

_DOUBTFUL = 10.0
"""Evidence of harm at which nothing is promoted; chance alone shows it one time in ten."""

_MOST_NAMED = 5
_TAILS = (0.05, 0.95)


class CanaryJudge:
    """Judges one canary. A new planned share begins a new step.

    Evidence of harm is kept over the steps; what promotes must be shown in each.
    """

    def __init__(self, settings: JudgeSettings | None = None) -> None:
        self.settings = settings or JudgeSettings()
        self._sure = -math.log(self.settings.false_rollback)
        # Half of what is needed: no two ticks, whatever is in them, take a change back.
        most = self._sure / 2
        self._errors = ErrorHarm(most=most)
        self._slow = [SlowHarm(quantile, most=most) for quantile in self.settings.quantiles]
        self._spread = SpreadHarm(Hits(most=most), math.ceil(buckets_within(self.settings.spread_tolerated)))
        self._past = Past()
        self._control, self._canary = Tally(), Tally()
        self._pending = Block(control=Tally(), canary=Tally())
        self._closed = (0, 0)
        self._keyed = False
        self._begin_step(None)
        self.verdict: CanaryVerdict = Continue(reason="nothing was counted yet", evidence=self._evidence())

    @classmethod
    def replay(cls, ticks: Iterable[CanaryTick], settings: JudgeSettings | None = None) -> "CanaryJudge":
        """Return a judge that has seen these ticks."""
        judge = cls(settings)
        for tick in ticks:
            judge.feed(tick)
        return judge

    def observe(
        self, *, control: ArmTick, canary: ArmTick, share: float | None = None, seconds: float = 1.0
    ) -> CanaryVerdict:
        """Take what both arms counted in one tick, and judge by all that was seen so far."""
        return self.feed(CanaryTick(control=control, canary=canary, share=share, seconds=seconds))

    def feed(self, tick: CanaryTick) -> CanaryVerdict:
        """Take one tick, and judge by all that was seen so far."""
        if tick.share is not None and tick.share != self._share:
            # INVARIANT: units that were drawn with different shares are never judged as one block.
            self._judge_pending()
            self._begin_step(tick.share)
        for total, arm in ((self._control, tick.control), (self._canary, tick.canary)):
            total.add(arm)
        for pending, arm in ((self._pending.control, tick.control), (self._pending.canary, tick.canary)):
            pending.add(arm)
        self._step_s += tick.seconds
        self._presence.observe(tick)
        self._keyed = tick.canary.at_risk is not None
        if self._keyed or self._pending.control.units + self._pending.canary.units >= self._block_units():
            self._judge_pending()
        self.verdict = self._judge()
        return self.verdict

    def _begin_step(self, share: float | None) -> None:
        self._share = share
        self._step_s = 0.0
        self._margins = Margins(self.settings)
        self._presence = Presence(share)

    def _block_units(self) -> float:
        """Return from how many units on a block is judged: known before it began, so that chance does not end it."""
        share = self._share
        if share is None:
            canary, control = self._closed
            share = (canary + 1) / (canary + control + 2)
        return _BLOCK / max(share * (1 - share), 1e-4)

    def _judge_pending(self) -> None:
        block = self._pending
        if not (block.control.exposed or block.canary.exposed):
            return
        self._pending = Block(control=Tally(), canary=Tally())
        self._closed = (self._closed[0] + block.canary.units, self._closed[1] + block.control.units)
        # What is expected and the bounds of latencies come from the blocks before, never from the one that is judged.
        if not self._keyed:
            self._margins.rise.observe(block, control=self._errors.control, canary=self._errors.canary)
        self._errors.observe(block)
        wanted = (*(slow.quantile.at for slow in self._slow), *_TAILS)
        found = dict(zip(sorted(wanted), self._past.quantiles(tuple(sorted(wanted))), strict=True))
        for slow, margin in zip(self._slow, self._margins.latency, strict=True):
            slow.observe(block, found[slow.quantile.at])
            margin.observe(block, found[slow.quantile.at])
        self._spread.observe(block, *(found[tail] for tail in _TAILS))
        self._past.add(block.control.latency)

    def _evidence(self) -> Evidence:
        control, canary = self._control.count, self._canary.count
        return Evidence(
            control=control,
            canary=canary,
            against=sum(self._weighed().values()),
            errors=self._errors.hits.wager.value,
            latency={slow.quantile.name: slow.hits.wager.value for slow in self._slow},
            spread=self._spread.hits.wager.value,
            rise=canary.rate - control.rate,
            rise_at_most=self._margins.rise.at_most(sure=self._margins.sure),
            within_margin=self._margins.evidence(),
            share=self._presence.share_evidence,
            only_canary=tuple(sorted(set(self._canary.failures) - {*self._control.failures, UNNAMED})),
        )

    def _weighed(self) -> dict[str, float]:
        """Return what each family adds to the evidence. Only what is felt counts; leaving out can but lower the sum."""
        slow = [one.hits.counts for one in self._slow]
        return {
            "errors": ERRORS_WEIGHT * self._errors.hits.counts if self._errors_felt() else 0.0,
            "latency": LATENCY_WEIGHT * sum(slow) / len(slow) if slow else 0.0,
            "spread": SPREAD_WEIGHT * self._spread.hits.counts if self._spread.is_felt else 0.0,
        }

    def _errors_felt(self) -> bool:
        enough = self._canary.failed >= self.settings.least_failures
        return enough and self._errors.is_felt(self.settings.least_rise, sure=self._sure)

    def _judge(self) -> CanaryVerdict:
        evidence = self._evidence()
        if isinstance(self.verdict, Rollback):
            return Rollback(reason=self.verdict.reason, evidence=evidence)
        least = min(evidence.control.units, evidence.canary.units)
        if evidence.against >= 1 / self.settings.false_rollback and least >= self.settings.least_units:
            return Rollback(reason=self._harm(evidence), evidence=evidence)
        absent = self._presence.trouble(self.settings)
        if absent:
            return Inconclusive(reason=f"{absent}; {_counted(evidence)}", evidence=evidence)
        missing = self._not_shown(evidence)
        if not missing:
            bounds = "the harm is below the margins"
            timed = "" if self._timed else "; latencies were not counted, so nothing is known of them"
            return Promote(reason=f"{bounds}: {_counted(evidence)}{timed}", evidence=evidence)
        if self._step_s >= self.settings.horizon_s:
            open_s = f"neither harm nor its absence is shown in {self._step_s:.0f} s"
            return Inconclusive(reason=f"{open_s} ({missing}); {_counted(evidence)}", evidence=evidence)
        return Continue(reason=f"{missing}; {_counted(evidence)}", evidence=evidence)

    @property
    def _timed(self) -> bool:
        return bool(self._control.latency or self._canary.latency)

    def _not_shown(self, evidence: Evidence) -> str:
        """Say what is missing for a promotion; empty where nothing is."""
        least = self._presence.least_units
        if least < self.settings.promote_units:
            return f"{least} of {self.settings.promote_units} units that each arm needs in this step"
        if evidence.against >= _DOUBTFUL:
            return "there is some evidence of harm, not enough to be sure"
        missing = self._margins.missing(timed=self._timed)
        return f"not yet shown to be below its margin: {', '.join(missing)}" if missing else ""

    def _harm(self, evidence: Evidence) -> str:
        """Say what a change is taken back for: the family that weighs most."""
        slow = max(self._slow, key=lambda one: one.hits.counts, default=None)
        weighed = self._weighed()
        most = max(weighed, key=lambda name: weighed[name])
        if most == "errors":
            said = "more failures than without the change"
        elif most == "spread" or slow is None:
            said = "latencies are spread wider than without the change"
        else:
            at = slow.quantile.at
            with_it, without = (_told(quantile_s(arm.latency, at)) for arm in (self._canary, self._control))
            times = f"more than {slow.quantile.tolerated:g} times"
            said = f"slower at {slow.quantile.name} by {times}, {with_it} with the change and {without} without"
        return f"{said}: {_counted(evidence)}"


def _told(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def _counted(evidence: Evidence) -> str:
    canary, control = evidence.canary, evidence.control
    with_it = f"{canary.failures} of {canary.units} units failed with the change"
    said = f"{with_it}, {control.failures} of {control.units} without"
    if not evidence.only_canary:
        return said
    named = ", ".join(evidence.only_canary[:_MOST_NAMED])
    more = len(evidence.only_canary) - _MOST_NAMED
    return f"{said}; only with the change: {named}{f' and {more} more' if more > 0 else ''}"
