"""Plans a live change of one module: what is swapped, added or migrated, and what needs a restart.

Pure: two texts in, a plan out, no module is run. The plan is made on the hub to tell people, and
again in the host process, with the host's own compiler, to act on. It promises that calls made
after the swap run the new code wherever a function object of the old code is held. It does not
promise that what earlier calls returned or stored is made again; where the source shows that import
itself made such calls, the plan says *restart*.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass, replace

from homeostat_agent.reload.additions import addition_obstacle
from homeostat_agent.reload.annotations import AnnotationRules
from homeostat_agent.reload.compare import Differences, Obstacle, compare
from homeostat_agent.reload.constants import constant_obstacle
from homeostat_agent.reload.defaults import default_obstacle
from homeostat_agent.reload.docstrings import DocstringRules, docstring_changed
from homeostat_agent.reload.importtime import run_at_import, run_inside
from homeostat_agent.reload.newnames import NameRules, NewClass, NewConstant, NewImport
from homeostat_agent.reload.outline import (
    FunctionOutline,
    ModuleOutline,
    annotations_of,
    functions_of,
    outline_module,
)
from homeostat_agent.reload.pairing import Pairing, compile_module, pair
from homeostat_agent.reload.routing import (
    BOTH_ARMS,
    CACHED,
    LOOKS_AT_FRAMES,
    NO_ARM,
    NOTHING_TO_ROUTE,
    ONE_VALUE,
    SEES_FRAMES,
)
from homeostat_agent.reload.syntax import last_name
from homeostat_agent.reload.unbound import unbound_names

SWAP = "swap"
ADD = "add"
MIGRATE = "migrate"
"""What a running module holds is brought to the new source."""

RESTART = "restart"

_SET_ANEW = "a constant: set to the new value where the module still has the old one, and nobody took it along"
_MISSED = "added where no other module that is loaded may have missed it"
_WORDS = {
    NewImport: f"a new import: {_MISSED}, and what it names is loaded or of the standard library",
    NewConstant: f"a new constant: {_MISSED}",
    NewClass: f"a new class: {_MISSED}, and no maker of its bases looks at it",
}
_UNREAD = "exchanged where nobody may have read it before"
_UNASKED = "exchanged where nobody else holds the function, who may have asked for them before"
"""What each process decides by what it has loaded: said beforehand, as the sources alone do not tell."""

_CLEARED_CACHES = frozenset({"lru_cache", "cache"})


@dataclass(frozen=True)
class DefinitionPlan:
    """The verdict on one definition; ``<module>`` stands for the module's top level."""

    qualname: str
    action: str
    line: int
    reason: str = ""
    not_routable: str = ""
    """Why it cannot be tried on a share of the calls, as far as the sources tell."""

    imports: tuple[str, ...] = ()
    """Of a new import: the modules that it may load, as it names them."""


@dataclass(frozen=True)
class ModulePlan:
    """The verdicts on one module, in the order of the new source. Definitions that are the same are left out."""

    path: str
    definitions: tuple[DefinitionPlan, ...]

    @property
    def safe(self) -> bool:
        """Whether everything that changed can be swapped or added."""
        return not self.restart_reasons

    @property
    def restart_reasons(self) -> tuple[str, ...]:
        return tuple(
            f"{self.path}:{item.line}: {item.qualname}: {item.reason}"
            for item in self.definitions
            if item.action == RESTART
        )

    @property
    def routing_obstacles(self) -> tuple[str, ...]:
        """Why a share of the calls cannot have it, though all of them could."""
        return tuple(
            f"{self.path}:{item.line}: {item.qualname}: {item.not_routable}"
            for item in self.definitions
            if item.not_routable
        )


def routing_obstacles(plans: Sequence[ModulePlan]) -> list[str]:
    """Say why a share of the calls cannot have a change of these modules, as far as the sources tell."""
    found = [reason for plan in plans for reason in plan.routing_obstacles]
    actions = {item.action for plan in plans for item in plan.definitions}
    return [NOTHING_TO_ROUTE] if actions and SWAP not in actions else found


@dataclass(frozen=True)
class CompiledPlan:
    """A plan, and with a safe one what it takes to carry it out."""

    plan: ModulePlan
    differences: Differences
    """Without `matched`, which leads to everything in both sources."""

    pairing: Pairing


def plan_module(path: str, old_source: str, new_source: str) -> ModulePlan:
    """Say for each changed definition whether it can be swapped or added, or why it needs a restart.

    Never raises on bad source: what cannot be parsed needs a restart, and says so.
    """
    planned = compile_plan(path, old_source, new_source, filename=path)
    return planned if isinstance(planned, ModulePlan) else planned.plan


def compile_plan(path: str, old_source: str, new_source: str, *, filename: str) -> ModulePlan | CompiledPlan:
    """Plan as `plan_module` does, with code objects for `filename`; only a safe plan comes compiled."""
    try:
        old, new = _parse(old_source), _parse(new_source)
        old_code, new_code = compile_module(old_source, filename), compile_module(new_source, filename)
        found = compare(old, new)
        obstacles = [*found.obstacles, *_import_obstacles(found, old, new), *_cache_obstacles(found, old, new)]
        obstacles.extend(_addition_obstacles(found, new))
        obstacles.extend(_name_obstacles(found, old, new))
        obstacles.extend(_default_obstacles(found, old, new))
        obstacles.extend(_constant_obstacles(found, old, new))
        obstacles.extend(_annotation_obstacles(found, old, new))
        obstacles.extend(_docstring_obstacles(found, old, new))
        if obstacles:
            return _refused(path, obstacles, found, (old, new))
        pairing = pair(old_code, new_code, found)
        if isinstance(pairing, Pairing) and not path.endswith("__init__.py"):
            pairing = unbound_names(pairing, (old, new), old_code) or pairing
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        return _refused(path, [Obstacle("<module>", line, f"the source does not compile: {error}")])
    except (RecursionError, MemoryError):
        return _refused(path, [Obstacle("<module>", 1, "the source is nested too deeply to be compared")])
    if isinstance(pairing, list):
        return _refused(path, pairing, found, (old, new))
    plan = ModulePlan(path, _in_order(_verdicts(found, old, new)))
    # A change that is in force keeps its plan, and a process takes many: the trees of two modules are let go of.
    return CompiledPlan(plan, replace(found, matched=[]), pairing)


def differences(old_source: str, new_source: str) -> Differences:
    """Compare two sources of a module, whatever is to be done about it; raises as a compiler does."""
    return compare(_parse(old_source), _parse(new_source))


def _parse(source: str) -> ModuleOutline:
    return outline_module(ast.parse(source.lstrip("\ufeff")))


def _refused(
    path: str, obstacles: list[Obstacle], found: Differences | None = None, sides: tuple[ModuleOutline, ...] = ()
) -> ModulePlan:
    blocked = [DefinitionPlan(item.qualname, RESTART, item.line, item.reason) for item in dict.fromkeys(obstacles)]
    names = {item.qualname for item in blocked}
    others = [item for item in _verdicts(found, *sides) if item.qualname not in names] if found else []
    return ModulePlan(path, _in_order([*blocked, *others]))


def _verdicts(found: Differences, old: ModuleOutline, new: ModuleOutline) -> list[DefinitionPlan]:
    wrapped = _wrapped_in_caches(new.tree)
    swaps = [
        DefinitionPlan(after.qualname, SWAP, after.node.lineno, not_routable=_routing_obstacle(before, after, wrapped))
        for before, after in found.changed
    ]
    given = {after.node.lineno for _, after in found.defaults}
    swaps = [replace(item, not_routable=NO_ARM) if item.line in given else item for item in swaps]
    placed = {item.line for item in swaps}
    swaps.extend(
        DefinitionPlan(after.qualname, SWAP, after.node.lineno, _its("defaults"), not_routable=NO_ARM)
        for _, after in found.defaults
        if after.node.lineno not in placed
    )
    placed |= given
    described = [(after.qualname, after.node.lineno, _its("annotations")) for _, after in found.annotated]
    described = [item for item in described if item[1] not in placed]
    described.extend((item.qualname, item.new.lineno, _its("annotation")) for item in found.variables)
    described.extend((item.qualname, item.line, _its("docstring")) for item in found.docstrings)
    swaps.extend(DefinitionPlan(name, MIGRATE, line, what) for name, line, what in described)
    adds = [DefinitionPlan(item.qualname, ADD, item.node.lineno, _MISSED) for _, item in found.added]
    met = {node.id for node in ast.walk(old.tree) if isinstance(node, ast.Name)} if found.names else set()
    names = [
        DefinitionPlan(
            item.name,
            ADD,
            item.node.lineno,
            _WORDS[type(item)],
            not_routable=BOTH_ARMS if item.name in met else "",
            imports=item.modules if isinstance(item, NewImport) else (),
        )
        for item in found.names
    ]
    constants = [
        DefinitionPlan(item.name, MIGRATE, item.new.lineno, _SET_ANEW, not_routable=ONE_VALUE)
        for item in found.constants
    ]
    return [*swaps, *adds, *names, *constants]


def _its(what: str) -> str:
    return f"its {what}: {_UNASKED if what.endswith('s') else _UNREAD}"


def _in_order(verdicts: list[DefinitionPlan]) -> tuple[DefinitionPlan, ...]:
    return tuple(sorted(verdicts, key=lambda item: item.line))


def _import_obstacles(found: Differences, old: ModuleOutline, new: ModuleOutline) -> list[Obstacle]:
    ran, would_run = run_at_import(old.tree), run_at_import(new.tree)
    reason = "it runs while the module is imported, and what it made then would stay"
    obstacles = [
        Obstacle(new_item.qualname, new_item.node.lineno, reason)
        for old_item, new_item in (*found.changed, *found.defaults)
        if _place(old_item) in ran or _place(new_item) in would_run
    ]
    obstacles.extend(
        Obstacle(item.qualname, item.node.lineno, "the module's import would use it")
        for _, item in found.added
        if _place(item) in would_run
    )
    return obstacles


def _cache_obstacles(found: Differences, old: ModuleOutline, new: ModuleOutline) -> list[Obstacle]:
    """Refuse what a cache would hide: a cache that cannot be cleared surely, or one around a caller."""
    obstacles = []
    wrapped = _wrapped_in_caches(new.tree)
    for _, item in found.changed:
        names = [*item.decorator_names(), *wrapped.get(item.name, ())]
        caches = [name for name in names if _is_cache(name) and name not in _CLEARED_CACHES]
        if caches:
            obstacles.append(Obstacle(item.qualname, item.node.lineno, f"results kept by `{caches[0]}` would stay"))
    pairs = [*found.changed, *found.defaults]
    touched_old = {_place(pair[0]): pair[1] for pair in pairs}
    touched_new = {_place(item): item for item in [*(pair[1] for pair in pairs), *(a[1] for a in found.added)]}
    for outline, touched in ((old, touched_old), (new, touched_new)):
        for function in functions_of(outline.items):
            if function.name in wrapped or any(_is_cache(name) for name in function.decorator_names()):
                reached = run_inside(outline.tree, [function.node])
                obstacles.extend(
                    Obstacle(item.qualname, item.node.lineno, f"results that `{function.qualname}` caches depend on it")
                    for place, item in touched.items()
                    if place in reached
                )
    return obstacles


def _routing_obstacle(old: FunctionOutline, new: FunctionOutline, wrapped: dict[str, list[str]]) -> str:
    """Say what a dispatcher in the place of a function would spoil; the process decides by what is alive there."""
    if any(map(_is_cache, (*new.decorator_names(), *wrapped.get(new.name, ())))):
        return CACHED
    names = {getattr(node, "attr", getattr(node, "id", "")) for item in (old, new) for node in ast.walk(item.node)}
    return "" if names.isdisjoint(LOOKS_AT_FRAMES) else SEES_FRAMES


def _wrapped_in_caches(tree: ast.Module) -> dict[str, list[str]]:
    """Return what is given to a cache in a call, `lru_cache(maxsize=None)(f)` or so, with the names of the caches."""
    found: dict[str, list[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            cache: ast.expr = node
            while isinstance(cache, ast.Call):
                cache = cache.func
            if _is_cache(last_name(cache)):
                for value in (*node.args, *(keyword.value for keyword in node.keywords)):
                    found.setdefault(last_name(value), []).append(last_name(cache))
    return found


def _addition_obstacles(found: Differences, new: ModuleOutline) -> list[Obstacle]:
    obstacles = []
    for owner, item in found.added:
        reason = addition_obstacle(owner, item, new)
        if reason:
            obstacles.append(Obstacle(item.qualname, item.node.lineno, reason))
    return obstacles


def _default_obstacles(found: Differences, old: ModuleOutline, new: ModuleOutline) -> list[Obstacle]:
    reasons = [(after, default_obstacle(before, after, (old, new))) for before, after in found.defaults]
    return [Obstacle(item.qualname, item.node.lineno, reason) for item, reason in reasons if reason]


def _constant_obstacles(found: Differences, old: ModuleOutline, new: ModuleOutline) -> list[Obstacle]:
    reasons = [(item, constant_obstacle(item, (old.tree, new.tree))) for item in found.constants]
    return [Obstacle(item.name, item.new.lineno, reason) for item, reason in reasons if reason]


def _annotation_obstacles(found: Differences, old: ModuleOutline, new: ModuleOutline) -> list[Obstacle]:
    if not (found.annotated or found.added or found.variables):
        return []
    rules = AnnotationRules(old, new, found.texts)
    pairs = [(after.qualname, after.node, rules.of_function(before, after)) for before, after in found.annotated]
    pairs.extend((item.qualname, item.node, rules.of_addition(owner, item)) for owner, item in found.added)
    variables = [(item.qualname, item.new, rules.of_variable(item)) for item in found.variables]
    return [Obstacle(name, node.lineno, reason) for name, node, reason in (*pairs, *variables) if reason]


def _docstring_obstacles(found: Differences, old: ModuleOutline, new: ModuleOutline) -> list[Obstacle]:
    told = [(before, after) for before, after in found.changed if docstring_changed(before, after)]
    if not told and not found.docstrings:
        return []
    rules = DocstringRules((old, new))
    reasons = [(item.qualname, item.line, rules.of_owner(item)) for item in found.docstrings]
    reasons.extend((after.qualname, after.node.lineno, rules.of_function(after)) for _, after in told)
    return [Obstacle(name, line, reason) for name, line, reason in reasons if reason]


def _name_obstacles(found: Differences, old: ModuleOutline, new: ModuleOutline) -> list[Obstacle]:
    if not found.names:
        return []
    described = [item.node for _, item in (*found.annotated, *found.added)]
    evaluated = [value for node in described for value in annotations_of(node).values()]
    evaluated.extend(item.new.annotation for item in found.variables)
    rules = NameRules(old, new, found.names, frozenset(map(id, evaluated)))
    reasons = [(item, rules.obstacle(item)) for item in found.names]
    return [Obstacle(item.name, item.node.lineno, reason) for item, reason in reasons if reason]


def _place(item: FunctionOutline) -> tuple[str, int]:
    return (item.name, item.node.lineno)


def _is_cache(name: str) -> bool:
    return "cache" in name.lower() or "memo" in name.lower()
