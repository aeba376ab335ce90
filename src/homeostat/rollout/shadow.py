"""Running the new code of pure functions on copies, before any caller gets what it gives: which, and what follows.

A difference is not harm by itself: a fix is meant to differ. So it is shown, and a person asked, unless the settings
say otherwise; and that all was the same is said only of calls that were compared.
"""

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from homeostat_agent.reload.outline import functions_of, outline_module
from homeostat_agent.reload.plan import SWAP

from homeostat.model.canary import Shadowed, ShadowOutcome, ShadowTick
from homeostat.model.change import TreeChange
from homeostat.model.settings import CanarySettings
from homeostat.rollout.live import LivePlan, module_sources
from homeostat.rollout.sequential import upper_bound

DIFFERS = frozenset(
    {ShadowOutcome.RESULT, ShadowOutcome.ARGUMENTS, ShadowOutcome.RETURNED, ShadowOutcome.RAISED_OTHERWISE}
)
"""Compared, and otherwise: as may be meant."""

RAISES = frozenset({ShadowOutcome.RAISED})
_COMPARED = DIFFERS | RAISES | {ShadowOutcome.SAME, ShadowOutcome.UNFINISHED}
_CONFIDENCE = 0.95
_MOST_SHOWN = 3
_INSIDE = ".<locals>"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowPlan:
    """Which functions of a change run on copies first."""

    functions: tuple[str, ...]
    """As ``path.py:qualname``; empty: none does, and there is no such step."""

    left_out: Mapping[str, str]
    """Functions that are declared pure and cannot be compared, and why."""


@dataclass(slots=True)
class ShadowTally:
    """What was found so far, over all processes."""

    calls: dict[Shadowed, int] = field(default_factory=dict)
    control_s: float = 0.0
    canary_s: float = 0.0

    def add(self, tick: ShadowTick) -> None:
        for kind, count in tick.calls.items():
            self.calls[kind] = self.calls.get(kind, 0) + count
        self.control_s += tick.control_s
        self.canary_s += tick.canary_s

    def count(self, *outcomes: ShadowOutcome) -> int:
        return sum(count for kind, count in self.calls.items() if kind.outcome in outcomes)

    @property
    def compared(self) -> int:
        return self.count(*_COMPARED)

    @property
    def not_compared(self) -> int:
        """Calls that were taken up, and of which nothing is known."""
        return sum(self.calls.values()) - self.compared - self.count(ShadowOutcome.SKIPPED)

    def most(self, *outcomes: ShadowOutcome) -> Sequence[tuple[Shadowed, int]]:
        """Return what was found of these outcomes, what was found most often first."""
        found = [(kind, count) for kind, count in self.calls.items() if kind.outcome in outcomes]
        return sorted(found, key=lambda item: (-item[1], item[0].function, item[0].outcome, item[0].difference))


def plan_shadow(change: TreeChange, live: LivePlan, settings: CanarySettings) -> ShadowPlan:
    """Say which functions of a change run on copies first: those declared pure whose body is exchanged.

    The declaration is the operator's: nothing in a patch can make a function pure. What shows that it is not, is
    left out.
    """
    functions: list[str] = []
    left_out: dict[str, str] = {}
    sources = {path: (old, new) for path, old, new in module_sources(change)}
    for plan in live.modules if settings.pure else ():
        swapped = {item.qualname for item in plan.definitions if item.action == SWAP}
        declared = {name for name in swapped if _is_declared(f"{plan.path}:{name}", settings.pure)}
        if not declared or plan.path not in sources or not plan.safe:
            continue
        reasons: dict[str, str] = {}
        for source in sources[plan.path]:
            for item in functions_of(outline_module(ast.parse(source)).items):
                if item.qualname in declared and not reasons.get(item.qualname):
                    reasons[item.qualname] = _why_not(item.qualname, item.node)
        for name, reason in reasons.items():
            if reason:
                left_out[f"{plan.path}:{name}"] = reason
            else:
                functions.append(f"{plan.path}:{name}")
    return ShadowPlan(functions=tuple(functions), left_out=left_out)


def qualnames_in(tree: ast.Module) -> list[str]:
    """Return the qualified name of every function of a source."""
    return [item.qualname for item in functions_of(outline_module(tree).items)]


def unmatched(pure: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return what is declared pure and is none of these names (``path.py:qualname``): mistyped, or gone."""
    return [item for item in pure if not any(_is_declared(name, (item,)) for name in names)]


def _is_declared(name: str, pure: Sequence[str]) -> bool:
    """Tell whether a function, or one around it, is declared pure."""
    return any(fnmatchcase(known, item) for known in (name, name.partition(_INSIDE)[0]) for item in pure)


def _why_not(qualname: str, node: ast.AST) -> str:
    """Say why calls of a function cannot be compared; empty where they can."""
    if _INSIDE in qualname:
        return "a call of another function makes it, and shares its variables with it"
    if _yields(node):
        return "a generator has no one result that could be compared"
    if any(isinstance(item, ast.Global) for item in ast.walk(node)):
        return "it sets names of its module"
    return ""


def say_what_was_found(seen: ShadowTally) -> str:
    """Say in one line how many calls were compared and how they differ, with what is known of the rate."""
    compared, differing = seen.compared, seen.compared - seen.count(ShadowOutcome.SAME)
    parts = []
    if compared:
        low, high = rate_of_difference(seen)
        parts.append(f"{differing} of {compared} calls differ ({low:.1%} to {high:.1%}, 95 % sure)")
    else:
        parts.append("no call was compared")
    found = seen.most(*(DIFFERS | RAISES | {ShadowOutcome.UNFINISHED}))
    parts.extend(f"{count} {told_of(kind)}" for kind, count in found[:_MOST_SHOWN])
    if len(found) > _MOST_SHOWN:
        parts.append(f"and {len(found) - _MOST_SHOWN} kinds more")
    if seen.not_compared:
        kinds = sorted({kind.outcome.value.replace("_", " ") for kind in seen.calls if _is_open(kind)})
        parts.append(f"{seen.not_compared} could not be compared: {', '.join(kinds)}")
    return "; ".join(parts)


def rate_of_difference(seen: ShadowTally) -> tuple[float, float]:
    """Return bounds of the rate of differing calls, among calls like those compared (Clopper and Pearson)."""
    compared, same = seen.compared, seen.count(ShadowOutcome.SAME)
    each = (1 - _CONFIDENCE) / 2
    return 1 - upper_bound(same, compared, alpha=each), upper_bound(compared - same, compared, alpha=each)


def told_of(kind: Shadowed) -> str:
    """Say one kind of what was found, in words."""
    words = {
        ShadowOutcome.RESULT: "another result",
        ShadowOutcome.ARGUMENTS: "its arguments otherwise afterwards",
        ShadowOutcome.RAISED: "raised, the old code did not",
        ShadowOutcome.RETURNED: "returned, the old code raised",
        ShadowOutcome.RAISED_OTHERWISE: "raised otherwise",
        ShadowOutcome.UNFINISHED: "took too long, and was ended",
    }
    said = words.get(kind.outcome, kind.outcome.value.replace("_", " "))
    return f"{kind.function}: {said}{f' ({kind.difference})' if kind.difference else ''}"


def _is_open(kind: Shadowed) -> bool:
    return kind.outcome not in _COMPARED and kind.outcome is not ShadowOutcome.SKIPPED


def _yields(node: ast.AST) -> bool:
    """Tell whether a function's own body yields."""
    waiting = list(getattr(node, "body", []))
    while waiting:
        item = waiting.pop()
        if isinstance(item, ast.Yield | ast.YieldFrom):
            return True
        if not isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            waiting.extend(ast.iter_child_nodes(item))
    return False
