"""Plans a live change of one module: what is swapped, added or migrated, and what needs a restart.

Pure: two texts in, a plan out, no module is run. The plan is made on the hub to tell people, and
again in the host process, with the host's own compiler, to act on. It promises that calls made
after the swap run the new code wherever a function object of the old code is held. It does not
promise that what earlier calls returned or stored is made again; where the source shows that import
itself made such calls, the plan says *restart*. An ``aggressive`` plan goes further where a safe one
says so (`reload.widening`), and names the risk of each step.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import CodeType

from homeostat_agent.reload.additions import addition_obstacle, looks_of_import
from homeostat_agent.reload.annotations import AnnotationRules
from homeostat_agent.reload.caches import is_cache, wrapped_in_caches
from homeostat_agent.reload.change import AGGRESSIVE, SAFE
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
from homeostat_agent.reload.pairing import Pairing, Skipped, compile_module, pair
from homeostat_agent.reload.risks import BASES, RISK_BLOCK, RISK_CLOSURES, SHAPE
from homeostat_agent.reload.routing import (
    BOTH_ARMS,
    CACHED,
    LOOKS_AT_FRAMES,
    NO_ARM,
    NOTHING_TO_ROUTE,
    ONE_CLASS,
    ONE_MODULE,
    ONE_SHAPE,
    ONE_VALUE,
    SEES_FRAMES,
)
from homeostat_agent.reload.topitems import has_block
from homeostat_agent.reload.unbound import unbound_names
from homeostat_agent.reload.widened import Widened, carried_out
from homeostat_agent.reload.widening import Widening

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


_BLOCK = 'the block of `if __name__ == "__main__"` is not run again'
_Sides = tuple[ModuleOutline, ModuleOutline]
_Codes = tuple[CodeType, CodeType]


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

    risk: str = ""
    """What may go wrong with it all the same: only an aggressive plan takes any."""


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
    widened: Widened
    """What an aggressive plan takes up beyond a safe one."""


def plan_module(path: str, old_source: str, new_source: str, *, mode: str = SAFE) -> ModulePlan:
    """Say for each changed definition whether it can be swapped or added, or why it needs a restart.

    Never raises on bad source: what cannot be parsed needs a restart, and says so.
    """
    planned = compile_plan(path, old_source, new_source, filename=path, mode=mode)
    return planned if isinstance(planned, ModulePlan) else planned.plan


def compile_plan(
    path: str, old_source: str, new_source: str, *, filename: str, mode: str = SAFE
) -> ModulePlan | CompiledPlan:
    """Plan as `plan_module` does, with code objects for `filename`; only a plan without *restart* comes compiled."""
    try:
        sides = (_parse(old_source), _parse(new_source))
        codes = (compile_module(old_source, filename), compile_module(new_source, filename))
        planned = _planned(path, sides, codes)
        if mode != AGGRESSIVE:
            return planned
        if isinstance(planned, ModulePlan):
            planned = _widely_planned(path, sides, codes)
        return planned if isinstance(planned, ModulePlan) else _as_program(planned, sides)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        return _refused(path, [Obstacle("<module>", line, f"the source does not compile: {error}")])
    except (RecursionError, MemoryError):
        return _refused(path, [Obstacle("<module>", 1, "the source is nested too deeply to be compared")])


def _planned(path: str, sides: _Sides, codes: _Codes) -> ModulePlan | CompiledPlan:
    found = compare(*sides)
    obstacles = [*found.obstacles, *_obstacles(found, sides)]
    if obstacles:
        return _refused(path, obstacles, found, sides)
    pairing = _paired(path, sides, codes, found)
    if isinstance(pairing, list):
        return _refused(path, pairing, found, sides)
    plan = ModulePlan(path, _in_order(_verdicts(found, *sides)))
    # A change that is in force keeps its plan, and a process takes many: the trees of two modules are let go of.
    return CompiledPlan(plan, replace(found, matched=[]), pairing, Widened())


def _widely_planned(path: str, sides: _Sides, codes: _Codes) -> ModulePlan | CompiledPlan:
    """Take up one thing after the other that a safe plan refuses, until nothing is left or nothing more can be."""
    wide, grew = Widening(*sides), True
    left: list[Obstacle] = []
    while grew:
        found = compare(*wide.eased(), shapes=frozenset(wide.shapes))
        wide.trim(found)
        left, grew = wide.take([*found.obstacles, *_obstacles(found, sides, wide.eased()[1])], found)
        if not left and not grew:
            pairing = _paired(path, sides, codes, found, wide.skipped())
            left, grew = wide.take(pairing, found) if isinstance(pairing, list) else ([], False)
    if left or isinstance(pairing, list):
        return _refused(path, left, found, sides, _widened_verdicts(wide))
    verdicts = _with_risks(_verdicts(found, *sides), wide)
    plan = ModulePlan(path, _in_order([*verdicts, *_widened_verdicts(wide)]))
    return CompiledPlan(plan, replace(found, matched=[]), pairing, carried_out(wide, pairing, codes))


def _as_program(planned: CompiledPlan, sides: _Sides) -> CompiledPlan:
    """Say what it means where the file is the program itself, as its text says that it may be."""
    if not all(has_block(side.tree) for side in sides):
        return planned
    blocks = [node.lineno for node in sides[1].tree.body if has_block(ast.Module(body=[node], type_ignores=[]))]
    said = DefinitionPlan("<module>", MIGRATE, blocks[0], _BLOCK, risk=RISK_BLOCK)
    plan = replace(planned.plan, definitions=_in_order([*planned.plan.definitions, said]))
    concerned = bool(planned.plan.definitions) or planned.widened.block_changed
    return replace(planned, plan=plan if concerned else planned.plan, widened=replace(planned.widened, is_program=True))


def _paired(
    path: str, sides: _Sides, codes: _Codes, found: Differences, skipped: Skipped | None = None
) -> Pairing | list[Obstacle]:
    pairing = pair(*codes, found, skipped or Skipped())
    if isinstance(pairing, Pairing) and not path.endswith("__init__.py"):
        return unbound_names(pairing, sides, codes[0]) or pairing
    return pairing


def _obstacles(found: Differences, sides: _Sides, eased: ModuleOutline | None = None) -> list[Obstacle]:
    old, new = sides
    return [
        *_import_obstacles(found, old, new),
        *_cache_obstacles(found, old, new),
        *_addition_obstacles(found, new),
        *_name_obstacles(found, old, eased or new),
        *_default_obstacles(found, old, new),
        *_constant_obstacles(found, old, new),
        *_annotation_obstacles(found, old, new),
        *_docstring_obstacles(found, old, new),
    ]


def differences(old_source: str, new_source: str) -> Differences:
    """Compare two sources of a module, whatever is to be done about it; raises as a compiler does."""
    return compare(_parse(old_source), _parse(new_source))


def _parse(source: str) -> ModuleOutline:
    return outline_module(ast.parse(source.lstrip("\ufeff")))


def _refused(
    path: str,
    obstacles: list[Obstacle],
    found: Differences | None = None,
    sides: tuple[ModuleOutline, ...] = (),
    more: Sequence[DefinitionPlan] = (),
) -> ModulePlan:
    blocked = [DefinitionPlan(item.qualname, RESTART, item.line, item.reason) for item in dict.fromkeys(obstacles)]
    names = {item.qualname for item in blocked}
    others = [item for item in _verdicts(found, *sides) if item.qualname not in names] if found else []
    told = {item.qualname for item in more}
    others = [*(item for item in others if item.qualname not in told), *more]
    return ModulePlan(path, _in_order([*blocked, *(item for item in others if item.qualname not in names)]))


def _widened_verdicts(wide: Widening) -> list[DefinitionPlan]:
    shared = {BASES: ONE_CLASS, SHAPE: ONE_SHAPE}
    return [
        DefinitionPlan(
            item.qualname,
            SWAP if item.kind == SHAPE else MIGRATE,
            item.line,
            item.reason,
            not_routable=shared.get(item.kind, ONE_MODULE),
            risk=item.risk,
        )
        for item in wide.said()
    ]


def _with_risks(verdicts: list[DefinitionPlan], wide: Widening) -> list[DefinitionPlan]:
    """Leave out what the widened plan says itself, and name the risk of functions whose work at import runs again."""
    told = {(item.qualname, item.line) for item in wide.said()}
    return [
        replace(item, risk=RISK_CLOSURES, not_routable=ONE_MODULE) if item.qualname in wide.makers else item
        for item in verdicts
        if (item.qualname, item.line) not in told
    ]


def _verdicts(found: Differences, old: ModuleOutline, new: ModuleOutline) -> list[DefinitionPlan]:
    wrapped = wrapped_in_caches(new.tree)
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
        Obstacle(new_item.qualname, new_item.node.lineno, reason, "import")
        for old_item, new_item in (*found.changed, *found.defaults)
        if _place(old_item) in ran or _place(new_item) in would_run
    ]
    obstacles.extend(
        Obstacle(item.qualname, item.node.lineno, "the module's import would use it", "import")
        for _, item in found.added
        if _place(item) in would_run
    )
    return obstacles


def _cache_obstacles(found: Differences, old: ModuleOutline, new: ModuleOutline) -> list[Obstacle]:
    """Refuse what a cache would hide: a cache that cannot be cleared surely, or one around a caller."""
    obstacles = []
    wrapped = wrapped_in_caches(new.tree)
    for _, item in found.changed:
        names = [*item.decorator_names(), *wrapped.get(item.name, ())]
        caches = [name for name in names if is_cache(name) and name not in _CLEARED_CACHES]
        if caches:
            obstacles.append(Obstacle(item.qualname, item.node.lineno, f"results kept by `{caches[0]}` would stay"))
    pairs = [*found.changed, *found.defaults]
    touched_old = {_place(pair[0]): pair[1] for pair in pairs}
    touched_new = {_place(item): item for item in [*(pair[1] for pair in pairs), *(a[1] for a in found.added)]}
    for outline, touched in ((old, touched_old), (new, touched_new)):
        for function in functions_of(outline.items):
            if function.name in wrapped or any(is_cache(name) for name in function.decorator_names()):
                reached = run_inside(outline.tree, [function.node])
                obstacles.extend(
                    Obstacle(item.qualname, item.node.lineno, f"results that `{function.qualname}` caches depend on it")
                    for place, item in touched.items()
                    if place in reached
                )
    return obstacles


def _routing_obstacle(old: FunctionOutline, new: FunctionOutline, wrapped: dict[str, list[str]]) -> str:
    """Say what a dispatcher in the place of a function would spoil; the process decides by what is alive there."""
    if any(map(is_cache, (*new.decorator_names(), *wrapped.get(new.name, ())))):
        return CACHED
    names = {getattr(node, "attr", getattr(node, "id", "")) for item in (old, new) for node in ast.walk(item.node)}
    return "" if names.isdisjoint(LOOKS_AT_FRAMES) else SEES_FRAMES


def _addition_obstacles(found: Differences, new: ModuleOutline) -> list[Obstacle]:
    obstacles = []
    looks, texts = looks_of_import(new) if any(owner for owner, _ in found.added) else ("", frozenset[str]())
    for owner, item in found.added:
        reason = addition_obstacle(owner, item, new)
        if owner and (looks or item.name in texts):
            words = f"may look at all names of its class (`{looks}`)" if looks else "looks it up as text"
            reason = reason or f"a new method, and the module's import {words}"
        if reason:
            obstacles.append(Obstacle(item.qualname, item.node.lineno, reason, "" if owner else "added"))
    return obstacles


def _default_obstacles(found: Differences, old: ModuleOutline, new: ModuleOutline) -> list[Obstacle]:
    reasons = [(after, default_obstacle(before, after, (old, new))) for before, after in found.defaults]
    return [Obstacle(item.qualname, item.node.lineno, reason, "default") for item, reason in reasons if reason]


def _constant_obstacles(found: Differences, old: ModuleOutline, new: ModuleOutline) -> list[Obstacle]:
    reasons = [(item, constant_obstacle(item, (old.tree, new.tree))) for item in found.constants]
    return [Obstacle(item.name, item.new.lineno, reason, "constant") for item, reason in reasons if reason]


def _annotation_obstacles(found: Differences, old: ModuleOutline, new: ModuleOutline) -> list[Obstacle]:
    if not (found.annotated or found.added or found.variables):
        return []
    rules = AnnotationRules(old, new, found.texts)
    pairs = [(after.qualname, after.node, rules.of_function(before, after)) for before, after in found.annotated]
    pairs.extend((item.qualname, item.node, rules.of_addition(owner, item)) for owner, item in found.added)
    variables = [(item.qualname, item.new, rules.of_variable(item)) for item in found.variables]
    return [Obstacle(name, node.lineno, reason, "annotation") for name, node, reason in (*pairs, *variables) if reason]


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
    return [Obstacle(item.name, item.node.lineno, reason, "name") for item, reason in reasons if reason]


def _place(item: FunctionOutline) -> tuple[str, int]:
    return (item.name, item.node.lineno)
