"""What of a change can go live: which modules are swapped, and what needs a restart, with the reason.

The verdict on a module is the agent's own (`homeostat_agent.reload.plan`): people are shown here what
the process will decide again, with its own compiler, before it swaps.
"""

import io
import tokenize
from dataclasses import dataclass

from homeostat_agent.reload.plan import ModulePlan, plan_module

from homeostat.model.change import ChangeKind, FileChange, TreeChange
from homeostat.model.settings import HmrMode

_TOP_FOLDERS_FOR_PEOPLE = frozenset({"test", "docs", "doc", ".github"})
_TOP_FILES_FOR_PEOPLE = frozenset(
    {"README", "CHANGELOG", "CHANGES", "HISTORY", "NEWS", "CONTRIBUTING", "AUTHORS", "LICENSE", "SECURITY"}
)
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


def plan_change(change: TreeChange, *, mode: HmrMode = HmrMode.SAFE) -> LivePlan:
    """Plan a change of files for running processes, from the files alone; `mode` is the one that it will be sent in.

    What a process may have read and cannot read anew needs a restart; that is every file that is not
    known to be for people or tests only. A new Python file needs nothing: whatever imports it from
    now on is itself a changed module, and has its own verdict. At a module's top level it cannot: no process
    has the file loaded, and what its import does is not known.
    """
    modules: list[ModulePlan] = []
    reasons: list[str] = []
    fresh: list[str] = []
    for item in change.files:
        if all(_is_never_loaded(path) for path in item.touched_paths) or _has_same_content(item):
            continue
        if _is_new_module(item):
            fresh.append(item.path)
            continue
        sources = _sources(item)
        if sources is None:
            reasons.append(f"{item.path}: what a process may have read of it is read anew at its start only")
            continue
        plan = plan_module(item.path, *sources, mode=mode.value)
        modules.append(plan)
        reasons += plan.restart_reasons
    reasons += [reason for plan in modules for reason in _imports_of_new_files(plan, fresh)]
    return LivePlan(modules=tuple(modules), restart_reasons=tuple(reasons))


def _imports_of_new_files(plan: ModulePlan, fresh: list[str]) -> list[str]:
    files = {f".{path.removesuffix('.py').replace('/', '.')}" for path in fresh}
    package = plan.path.split("/")[:-1]
    reasons = []
    for item in plan.definitions:
        for written in item.imports:
            name = written.lstrip(".")
            level = len(written) - len(name)
            whole = ".".join([*package[: len(package) - level + 1], name]) if level else name
            if any(file.endswith(f".{whole}") for file in files):
                reasons.append(f"{plan.path}:{item.line}: {item.qualname}: it imports a file that the change makes")
    return list(dict.fromkeys(reasons))


def module_sources(change: TreeChange) -> tuple[tuple[str, str, str], ...]:
    """Return (path, old source, new source) of each module that running processes may have loaded."""
    found = (
        (item.path, _sources(item))
        for item in change.files
        if not _is_never_loaded(item.path) and not _has_same_content(item)
    )
    return tuple((path, *sources) for path, sources in found if sources is not None)


def read_at_start(change: TreeChange) -> tuple[str, ...]:
    """Return the files of a change that a process reads when it starts, if at all, and that nothing can exchange."""
    return tuple(
        item.path
        for item in change.files
        if not all(_is_never_loaded(path) for path in item.touched_paths)
        and not _has_same_content(item)
        and not item.path.endswith(".py")
    )


def _sources(item: FileChange) -> tuple[str, str] | None:
    """Return old and new text of a module changed in its place; None for everything else."""
    if item.kind is not ChangeKind.MODIFY or not item.path.endswith(".py"):
        return None
    assert item.before is not None and item.after is not None
    before, after = source_text(item.before.content), source_text(item.after.content)
    return None if before is None or after is None else (before, after)


def source_text(content: bytes) -> str | None:
    """Decode as the compiler would: by byte order mark, coding comment, or UTF-8; None when it could not."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        return content.decode(encoding)
    except (SyntaxError, UnicodeDecodeError, LookupError):
        return None


def _has_same_content(item: FileChange) -> bool:
    """Tell whether only the mode differs, which no running process sees."""
    if item.kind is not ChangeKind.MODIFY:
        return False
    assert item.before is not None and item.after is not None
    return item.before.content == item.after.content


def _is_new_module(item: FileChange) -> bool:
    # A new `__init__.py` changes what its folder is to a process that has imported from it already.
    return item.kind is ChangeKind.CREATE and item.path.endswith(".py") and not item.path.endswith("/__init__.py")


def _is_never_loaded(path: str) -> bool:
    """Tell whether a file is for people, tests or tools only. A text inside a package may be a prompt or a page."""
    *folders, name = path.split("/")
    is_test = name.endswith(".py") and (name.startswith("test_") or name.endswith("_test.py") or name == "conftest.py")
    if is_test or "tests" in folders or name.endswith(".pyi"):
        return True
    if folders:
        return folders[0] in _TOP_FOLDERS_FOR_PEOPLE
    stem, dot, kind = name.partition(".")
    return stem.upper() in _TOP_FILES_FOR_PEOPLE and dot + kind in ("", *_PROSE)
