"""The arms of one process in one interval: which requests ran which code, and what is told of it.

A request draws its arm when it comes to code that is under canary, as the agent has it; of a change that
touches several files each request meets one file only.

Where the change is run on copies first, every caller gets what the old code gives, and about half of the calls are
compared: what is found is what the two texts really do.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence

from homeostat_agent.canary.counts import ArmCounts
from homeostat_agent.canary.report import CanaryReport
from homeostat_agent.canary.shadow import ShadowCounts

from homeostat.model.canary import ShadowOutcome
from homeostat.testing.fake_live import Routed
from homeostat.testing.simulation.program import FUNCTION, KINDS, STUCK, Reply, reply

_TAKES_S = 0.004
_COMPARED = 0.5
"""Chance of a call to be compared: others are just being, or were a moment ago."""


class Arms:
    """`change` is the one whose new code a request ran; empty where it ran what everybody does."""

    def __init__(self, sources: Mapping[str, str], routed: Mapping[str, Routed], rng: random.Random) -> None:
        self._sources = sources
        self._rng = rng
        self._routed = routed
        self._new_sources: dict[tuple[str, str], str] = {}
        self._change_of: dict[str, str] = {}
        for change_id, item in routed.items():
            for module in item.modules:
                if sources.get(module.path) == module.old_source != module.new_source:
                    self._change_of[module.path] = change_id
                    self._new_sources[module.path, change_id] = module.new_source
        self._counts = {change_id: {False: ArmCounts(None), True: ArmCounts(None)} for change_id in routed}
        self._shadows = {change_id: ShadowCounts() for change_id, item in routed.items() if item.share.shadowed}

    def split(self, requests: int) -> Counter[tuple[str, int, str]]:
        """Draw what so many requests ask for, as path, kind and change."""
        cells = [(path, kind) for path in self._sources for kind in KINDS]
        asked: Counter[tuple[str, int, str]] = Counter()
        for (path, kind), times in sorted(Counter(self._rng.choices(cells, k=requests)).items()):
            change_id = self._change_of.get(path, "")
            percent = self._routed[change_id].share.percent if change_id else 0
            new = sum(self._rng.random() * 100 < percent for _ in range(times)) if change_id else 0
            asked[path, kind, change_id] += new
            asked[path, kind, ""] += times - new
        return +asked

    def source(self, path: str, change_id: str) -> str:
        return self._new_sources[path, change_id] if change_id else self._sources[path]

    def count(self, path: str, change_id: str, *, times: int, failed: int, error: str) -> None:
        """Note what became of requests on one arm; those that met no code under canary are of none."""
        of_change = self._change_of.get(path)
        if of_change is None:
            return
        arm = self._counts[of_change][bool(change_id)]
        for _ in range(times):
            arm.add_unit(_TAKES_S)
        for _ in range(failed):
            arm.add_failure(error)

    def compare(self, path: str, kind: int, *, times: int) -> None:
        """Run the new code on copies of some of so many calls, where it is to be, and note what is found."""
        change_id = self._change_of.get(path, "")
        name = f"{path}:{FUNCTION}"
        if change_id not in self._shadows or name not in self._routed[change_id].share.shadowed:
            return
        shadow = self._shadows[change_id]
        old, new = (reply(text, path, kind) for text in (self._sources[path], self._new_sources[path, change_id]))
        compared = sum(self._rng.random() < _COMPARED for _ in range(times))
        for _ in range(compared):
            shadow.add(name, *_found(old, new))
        shadow.skipped += times - compared

    def compared(self) -> Mapping[str, Counter[str]]:
        """Return the outcomes of the calls that were compared, by change."""
        found: dict[str, Counter[str]] = {}
        for change_id, shadow in self._shadows.items():
            of_change = found.setdefault(change_id, Counter())
            for (_, outcome, _), times in shadow.found.items():
                of_change[outcome] += times
        return found

    def new(self) -> Mapping[str, tuple[int, int]]:
        """Return units of the new arm and how many of them failed, by change."""
        return {
            change_id: (arms[True].units, sum(arms[True].failures.values())) for change_id, arms in self._counts.items()
        }

    def reports(self) -> Sequence[CanaryReport]:
        return [
            CanaryReport(change_id, self._routed[change_id].share.percent, arms, False, self._shadows.get(change_id))
            for change_id, arms in self._counts.items()
        ]


def _found(old: Reply, new: Reply) -> tuple[str, str]:
    """Return what the agent finds where one call gets these of the two texts: the outcome, and how they differ."""
    if new.value == STUCK:
        return ShadowOutcome.UNFINISHED, ""
    if bool(old.error) != bool(new.error):
        return (ShadowOutcome.RAISED, new.error) if new.error else (ShadowOutcome.RETURNED, old.error)
    if old.error != new.error:
        return ShadowOutcome.RAISED_OTHERWISE, f"{old.error} became {new.error}"
    if old.value != new.value:
        return ShadowOutcome.RESULT, f"{type(old.value).__name__} became {type(new.value).__name__}"
    return ShadowOutcome.SAME, ""
