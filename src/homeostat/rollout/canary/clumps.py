"""How much the hits of one arm clump together, beyond what chance and the other arm explain.

A bet takes units as drawn one by one. Where one user makes fifty failures, or one worker of an arm has a bad minute,
they are not, and fifty hits are hardly more than one. So what a wager has won (in nats) is divided by how
often the difference of the arms jumps from one stretch to the next: its mean square over what independent units would
have, as the dispersion of a quasi-likelihood (Wedderburn, 1974). By successive differences (von Neumann, 1941) a
harm that begins once and stays is one jump; what both arms suffer is none. Dividing can but lower what was won, so a
bet that is valid stays so.
"""

import math

_STRETCHES = (1, 2, 4, 8)
"""Lengths, in blocks, at which clumps are looked for."""

_LEAST_JUMPS = 4
"""Fewer say nothing."""


class _Stretch:
    """The jumps between stretches of one length."""

    __slots__ = ("_blocks", "_expected", "_greatest", "_jumps", "_last", "_length", "_now", "_seen")

    def __init__(self, length: int) -> None:
        self._length = length
        self._now = (0, 0, 0, 0)
        self._blocks = 0
        self._last: tuple[int, int, int, int] | None = None
        self._seen = self._expected = self._greatest = 0.0
        self._jumps = 0

    def add(self, counts: tuple[int, int, int, int]) -> None:
        """Add a block: our hits, our units, their hits, their units."""
        now = self._now
        self._now = (now[0] + counts[0], now[1] + counts[1], now[2] + counts[2], now[3] + counts[3])
        self._blocks += 1
        if self._blocks < self._length:
            return
        last, now = self._last, self._now
        self._last, self._now, self._blocks = now, (0, 0, 0, 0), 0
        if last is None or not (last[1] and last[3] and now[1] and now[3]) or not (last[0] + last[2] + now[0] + now[2]):
            return
        jump = now[0] / now[1] - now[2] / now[3] - last[0] / last[1] + last[2] / last[3]
        variance = 0.0
        for hits, units in ((0, 1), (2, 3)):
            both = last[units] + now[units]
            rate = (last[hits] + now[hits]) / both
            variance += rate * (1 - rate) * both / (both - 1) * (1 / last[units] + 1 / now[units])
        weight = 1 / (1 / last[1] + 1 / last[3] + 1 / now[1] + 1 / now[3])
        self._seen += weight * jump * jump
        self._expected += weight * variance
        self._greatest = max(self._greatest, weight * (jump * jump - variance))
        self._jumps += 1

    @property
    def factor(self) -> float:
        """Return the dispersion, less what chance may make of so few jumps."""
        if self._jumps < _LEAST_JUMPS or self._expected <= 0:
            return 1.0
        # One jump is what a harm makes that begins: it is taken for an ordinary one.
        return (self._seen - self._greatest) / self._expected / (1 + math.sqrt(3 / self._jumps))


class Clumps:
    """What was won is divided by `factor`, at least 1."""

    def __init__(self) -> None:
        self._stretches = tuple(_Stretch(length) for length in _STRETCHES)

    def add(self, our_hits: int, ours: int, their_hits: int, theirs: int) -> None:
        for stretch in self._stretches:
            stretch.add((our_hits, ours, their_hits, theirs))

    @property
    def factor(self) -> float:
        return max(1.0, *(stretch.factor for stretch in self._stretches))
