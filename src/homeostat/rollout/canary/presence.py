"""Whether both arms are there, in the planned proportion. What does not answer is never taken for well."""

import math

from homeostat.rollout.canary.arms import CanaryTick
from homeostat.rollout.canary.settings import JudgeSettings
from homeostat.rollout.wagers import Wager, share_gains

SHARE_ALPHA = 0.001
"""Chance, in one step, of calling the arms' sizes wrong when they are as planned."""

_TOLERATED_ODDS = 1.1
_ABSENT = 10.0
"""Units that an arm would have had on average while it had none; by chance it happens one time in 20,000."""

_UNKNOWN_SHARE = 0.1


class Presence:
    """The units of one step, and how they are shared between the arms."""

    def __init__(self, share: float | None) -> None:
        self._planned = share
        self._more, self._fewer = Wager(), Wager()
        self._units = [0, 0]
        """The control's, the canary's."""

        self._since = [0, 0]
        """Units of the other arm since each arm had one."""

        self._silent_s = 0.0

    def observe(self, tick: CanaryTick) -> None:
        control, canary = tick.control.units, tick.canary.units
        self._silent_s = 0.0 if control or canary else self._silent_s + tick.seconds
        self._since = [0 if control else self._since[0] + canary, 0 if canary else self._since[1] + control]
        self._units = [self._units[0] + control, self._units[1] + canary]
        if tick.share is not None and self._planned is not None and 0 < self._planned < 1 and control + canary:
            planned, rest = self._planned, 1 - self._planned
            whole = control + canary
            self._more.bet(share_gains(planned, rest, whole, canary, tolerated=_TOLERATED_ODDS))
            self._fewer.bet(share_gains(rest, planned, whole, control, tolerated=_TOLERATED_ODDS))

    @property
    def least_units(self) -> int:
        return min(self._units)

    @property
    def share_evidence(self) -> float:
        """E-value that the arms are not drawn as planned: the mean of one for each direction."""
        return (self._more.value + self._fewer.value) / 2

    def trouble(self, settings: JudgeSettings) -> str:
        """Say why the arms cannot be compared now; empty where they can."""
        if self._silent_s >= settings.silence_s:
            return f"no unit at all for {self._silent_s:.0f} s, and silence is no evidence"
        share = self._share()
        for name, missed, odds in (
            ("without the change", self._since[0], (1 - share) / share),
            ("with the change", self._since[1], share / (1 - share)),
        ):
            if missed * odds >= _ABSENT:
                return f"no unit {name} while there were {missed} of the other kind"
        if max(self._more.best, self._fewer.best) - math.log(2) >= -math.log(SHARE_ALPHA):
            return self._mismatch()
        return ""

    def _share(self) -> float:
        """Return the share to expect of the canary: planned, else counted, else a tenth; never quite 0 or 1."""
        share = self._planned
        if share is None:
            control, canary = self._units
            share = canary / (control + canary) if control and canary else _UNKNOWN_SHARE
        return min(max(share, 1e-6), 1 - 1e-6)

    def _mismatch(self) -> str:
        control, canary = self._units
        planned = f"{self._planned:.1%}" if self._planned is not None else ""
        return f"the change has {canary / (control + canary):.1%} of the units where {planned} were planned"
