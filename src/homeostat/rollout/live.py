"""What of a change can go live: which modules are swapped, and what needs a restart, with the reason.

The verdict on a module is the agent's own (`homeostat_agent.reload.plan`): people are shown here what
the process will decide again, with its own compiler, before it swaps.
"""

from dataclasses import dataclass

from homeostat_agent.reload.plan import ModulePlan, plan_module

from homeostat.model.change import ChangeKind, FileChange, TreeChange

_NEVER_LOADED = frozenset({"tests", "test", "docs", "doc"})
_PROSE = (".md", ".rst", ".txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePlan:
    """What will happen to running processes."""

    modules: tuple[ModulePlan, ...]
    """Changed modules, with the verdict on each definition."""

    restart_reasons: tuple[str, ...]
    """Why running processes cannot take it; empty when they can."""

    @property
    def needs_live(self) -> bool:
        """Whether running processes are concerned at all."""
        return bool(self.modules or self.restart_reasons)


def plan_change(change: TreeChange) -> LivePlan:
    """Plan a change of files for running processes, from the files alone."""
    modules: list[ModulePlan] = []
    reasons: list[str] = []
    for item in change.files:
        if all(_is_never_loaded(path) for path in item.touched_paths):
            continue
        if item.kind is ChangeKind.CREATE and item.path.endswith(".py"):
            # Nothing has imported it yet; whatever imports it now is a change of another module.
            continue
        sources = _sources(item)
        if sources is None:
            reasons.append(f"{item.path}: a {item.kind.value} of this file is read at start only")
            continue
        plan = plan_module(item.path, *sources)
        modules.append(plan)
        reasons += plan.restart_reasons
    return LivePlan(modules=tuple(modules), restart_reasons=tuple(reasons))


def module_sources(change: TreeChange) -> tuple[tuple[str, str, str], ...]:
    """Return (path, old source, new source) of each module that running processes may have loaded."""
    found = ((item.path, _sources(item)) for item in change.files if not _is_never_loaded(item.path))
    return tuple((path, *sources) for path, sources in found if sources is not None)


def _sources(item: FileChange) -> tuple[str, str] | None:
    """Return old and new text of a module changed in its place; None for everything else."""
    if item.kind is not ChangeKind.MODIFY or not item.path.endswith(".py"):
        return None
    assert item.before is not None and item.after is not None
    try:
        return item.before.content.decode("utf-8"), item.after.content.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _is_never_loaded(path: str) -> bool:
    *folders, name = path.split("/")
    is_test = name.endswith(".py") and (name.startswith("test_") or name.endswith("_test.py") or name == "conftest.py")
    return is_test or bool(_NEVER_LOADED & set(folders)) or name.endswith(_PROSE)
