"""The arms of one process in one interval: which requests ran which code, and what is told of it.

A request draws its arm when it comes to code that is under canary, as the agent has it; of a change that
touches several files each request meets one file only.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence

from homeostat_agent.canary.counts import ArmCounts
from homeostat_agent.canary.report import CanaryReport

from homeostat.testing.fake_live import Routed
from homeostat.testing.simulation.program import KINDS

_TAKES_S = 0.004


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

    def new(self) -> Mapping[str, tuple[int, int]]:
        """Return units of the new arm and how many of them failed, by change."""
        return {
            change_id: (arms[True].units, sum(arms[True].failures.values())) for change_id, arms in self._counts.items()
        }

    def reports(self) -> Sequence[CanaryReport]:
        return [
            CanaryReport(change_id, self._routed[change_id].share.percent, arms, False)
            for change_id, arms in self._counts.items()
        ]
