"""Compares two outlines: which functions changed, which are new, and what forbids a swap."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterable
from dataclasses import dataclass, field

from homeostat_agent.reload.annotations import ChangedVariable, tells_all_as_text, variable_name
from homeostat_agent.reload.constants import ChangedConstant, constant_name
from homeostat_agent.reload.docstrings import ChangedDocstring
from homeostat_agent.reload.newnames import RUN_BY_CLASS_CREATION, NewName, bound_names, new_name
from homeostat_agent.reload.outline import (
    ClassOutline,
    FunctionOutline,
    Item,
    ModuleOutline,
    Statement,
    annotations_of,
    docstring_of_items,
)

_SAME_NAME_DECORATORS = frozenset({"setter", "getter", "deleter", "register", "overload"})
"""Idioms in which one scope rightly has several definitions of a name; each has its function object."""

_ANSWERS_ARE_KEPT = frozenset({"__hash__", "__instancecheck__", "__subclasscheck__", "__subclasshook__"})
"""By sets and dictionaries, and by abstract classes."""

_ONLY_LOOK = frozenset({"isinstance", "issubclass", "len", "callable", "hasattr", "type", "abs", "min", "max"})
_MAKE_OBJECTS = frozenset({"__init__", "__new__", "__post_init__", "__attrs_post_init__", "model_post_init"})


@dataclass(frozen=True)
class Obstacle:
    """Why a definition, or the module's top level, cannot be brought to the new source in place."""

    qualname: str
    line: int
    reason: str
    part: str = ""
    """What of it stands against it, where an aggressive change may go on from there (see `reload.widening`)."""


@dataclass
class Differences:
    """What two outlines differ in, as far as a running module is concerned."""

    matched: list[tuple[FunctionOutline, FunctionOutline]] = field(default_factory=list)
    """Every function with its successor, except those inside a function whose own part changed."""

    changed: list[tuple[FunctionOutline, FunctionOutline]] = field(default_factory=list)
    """Those whose own part changed."""

    defaults: list[tuple[FunctionOutline, FunctionOutline]] = field(default_factory=list)
    """Those whose defaults changed; their own part may have changed as well."""

    annotated: list[tuple[FunctionOutline, FunctionOutline]] = field(default_factory=list)
    """Those whose annotations give other values; their own part and their defaults may have changed as well."""

    variables: list[ChangedVariable] = field(default_factory=list)
    """Variables of the module and of its classes whose annotations give other values."""

    docstrings: list[ChangedDocstring] = field(default_factory=list)
    """Those of the module and of its classes that changed."""

    texts: tuple[bool, bool] = (False, False)
    """Whether annotations are kept as texts (`from __future__ import annotations`), in the old source and the new."""

    added: list[tuple[ClassOutline | None, FunctionOutline]] = field(default_factory=list)
    """New functions, with the class (in the new outline) that they belong to."""

    names: list[NewName] = field(default_factory=list)
    """Other new names of the module's top level, in the order of the source."""

    constants: list[ChangedConstant] = field(default_factory=list)
    """Constants of the module's top level that changed."""

    shapes: frozenset[str] = frozenset()
    """Qualified names of functions that may get another signature."""

    obstacles: list[Obstacle] = field(default_factory=list)


def compare(old: ModuleOutline, new: ModuleOutline, *, shapes: frozenset[str] = frozenset()) -> Differences:
    """Compare two outlines of one module. The signatures of functions named in `shapes` may differ."""
    found = Differences(shapes=shapes)
    known = bound_names(old.tree)
    named = {id(item): name for item in new.items if (name := new_name(item)) is not None and name.name not in known}
    found.names.extend(named.values())
    rest = tuple(item for item in new.items if id(item) not in named)
    found.texts = (tells_all_as_text(old.tree), tells_all_as_text(new.tree))
    _compare_items(old.items, rest, scope="<module>", owners=None, found=found)
    return found


def _compare_items(
    old: tuple[Item, ...],
    new: tuple[Item, ...],
    *,
    scope: str,
    owners: tuple[ClassOutline, ClassOutline] | None,
    found: Differences,
) -> None:
    owner = owners[1] if owners is not None else None
    told = (docstring_of_items(old), docstring_of_items(new))
    if told[0] != told[1]:
        found.docstrings.append(ChangedDocstring(owners, *told))
    old, new = old[told[0] is not None :], new[told[1] is not None :]
    old_names = {item.name for item in old if not isinstance(item, Statement)}
    kept = []
    for item in new:
        if isinstance(item, FunctionOutline) and item.name not in old_names:
            found.added.append((owner, item))
        else:
            kept.append(item)
    # INVARIANT: apart from added functions, a scope has the same kinds and names in the same order,
    # so the n-th item of one is the n-th of the other. Anything else is an obstacle.
    label = label_of_module if scope == "<module>" else _label
    if [label(item) for item in old] != [label(item) for item in kept]:
        found.obstacles.extend(_order_obstacles(old, kept, scope))
        for item, other in _same_names(old, kept):  # for the reader: what else would have to be said
            _compare_item(item, other, repeated=set(), owners=owners, found=found)
        return
    repeated = _repeated_names(old)
    for index, item in enumerate(old):
        _compare_item(item, kept[index], repeated=repeated, owners=owners, found=found)


def _compare_item(
    item: Item,
    other: Item,
    *,
    repeated: set[str],
    owners: tuple[ClassOutline, ClassOutline] | None,
    found: Differences,
) -> None:
    if isinstance(item, FunctionOutline) and isinstance(other, FunctionOutline):
        _compare_functions(item, other, found=found)
        differ = (*found.changed, *found.defaults, *found.annotated)
        if item.name in repeated and any(changed[0] is item for changed in differ):
            found.obstacles.append(_obstacle(other, "is defined more than once in its scope"))
    elif isinstance(item, Statement) and isinstance(other, Statement):
        _compare_statements(item, other, owners=owners, found=found)
    elif isinstance(item, ClassOutline) and isinstance(other, ClassOutline):
        found.obstacles.extend(_header_obstacles(item, other))
        _compare_items(item.items, other.items, scope=item.qualname, owners=(item, other), found=found)


def _compare_statements(
    old: Statement, new: Statement, *, owners: tuple[ClassOutline, ClassOutline] | None, found: Differences
) -> None:
    before, after = old.node, new.node
    if isinstance(before, ast.AnnAssign) and isinstance(after, ast.AnnAssign) and variable_name(old):
        if ast.dump(before.annotation) != ast.dump(after.annotation) or _become_texts(found):
            found.variables.append(ChangedVariable(variable_name(old), owners, before, after))
    elif _become_texts(found) and _has_annotations(after):
        place = owners[1].qualname if owners is not None else "<module>"
        found.obstacles.append(Obstacle(place, after.lineno, "annotations inside of another statement become texts"))
    if not isinstance(before, (ast.Assign, ast.AnnAssign)) or not isinstance(after, (ast.Assign, ast.AnnAssign)):
        return
    if before.value and after.value and ast.dump(before.value) != ast.dump(after.value):
        found.constants.append(ChangedConstant(constant_name(old), before, after))


def _become_texts(found: Differences) -> bool:
    return found.texts[0] != found.texts[1]


def _has_annotations(node: ast.AST) -> bool:
    return any(
        getattr(part, "annotation", None) is not None or getattr(part, "returns", None) is not None
        for part in ast.walk(node)
    )


def _compare_functions(old: FunctionOutline, new: FunctionOutline, *, found: Differences) -> None:
    found.matched.append((old, new))
    before, after = old.header(), new.header()
    differ = [part for part, text in before.items() if after[part] != text]
    if _become_texts(found) and annotations_of(new.node) and "annotations" not in differ:
        differ.append("annotations")
    allowed = {"defaults", "annotations", *(["signature"] if new.qualname in found.shapes else [])}
    if not {*differ} <= allowed or ("annotations" in differ and "<locals>" in new.qualname):
        found.obstacles.extend(_obstacle(new, f"its {part} changed", part) for part in differ)
    else:
        found.defaults.extend([(old, new)] if "defaults" in differ else [])
        found.annotated.extend([(old, new)] if "annotations" in differ else [])
    if old.own != new.own:
        found.changed.append((old, new))
        reason = _special_reason(old, new)
        if reason:
            found.obstacles.append(_obstacle(new, reason))
        return
    # Equal own parts have the same definitions in the same order.
    for index, item in enumerate(old.inner):
        _compare_item(item, new.inner[index], repeated=set(), owners=None, found=found)


def _header_obstacles(old: FunctionOutline | ClassOutline, new: FunctionOutline | ClassOutline) -> list[Obstacle]:
    before, after = old.header(), new.header()
    return [_obstacle(new, f"its {part} changed", part) for part, text in before.items() if after[part] != text]


def _special_reason(old: FunctionOutline, new: FunctionOutline) -> str:
    if new.name in RUN_BY_CLASS_CREATION:
        return "it runs while classes are made, and those made so far would keep what it did"
    if new.name in _ANSWERS_ARE_KEPT:
        return "what it answered so far is kept in sets, dictionaries or abstract classes"
    if new.name in _MAKE_OBJECTS and _Checks().without(old) != _Checks().without(new):
        return "objects made so far would keep what the old one gave them"
    return ""


def _order_obstacles(old: tuple[Item, ...], new: list[Item], scope: str) -> list[Obstacle]:
    """Say in what the order differs, the plainest first."""
    new_names = {item.name for item in new if not isinstance(item, Statement)}
    old_names = {item.name for item in old if not isinstance(item, Statement)}
    found = [
        _obstacle(item, "was removed") for item in old if not isinstance(item, Statement) and item.name not in new_names
    ]
    found.extend(
        _obstacle(item, "is a new class")
        for item in new
        if not isinstance(item, Statement) and item.name not in old_names
    )
    old_texts = [item.text for item in old if isinstance(item, Statement)]
    new_texts = [item.text for item in new if isinstance(item, Statement)]
    place = "the module's top level" if scope == "<module>" else "the body of the class"
    if old_texts != new_texts:
        index = next((i for i, text in enumerate(new_texts) if i >= len(old_texts) or text != old_texts[i]), None)
        statements = [item for item in new if isinstance(item, Statement)]
        line = statements[index].node.lineno if index is not None else 1
        found.append(Obstacle(scope, line, f"a statement of {place} changed", "statements"))
    if not found:
        found.append(Obstacle(scope, 1, f"definitions in {place} have another order, kind or number"))
    return found


def _same_names(old: tuple[Item, ...], new: list[Item]) -> list[tuple[Item, Item]]:
    """Pair the definitions whose names occur once on each side."""

    def unique(items: Iterable[Item]) -> dict[str, Item]:
        names = [item.name for item in items if not isinstance(item, Statement)]
        return {item.name: item for item in items if not isinstance(item, Statement) and names.count(item.name) == 1}

    olds, news = unique(old), unique(new)
    return [(item, news[name]) for name, item in olds.items() if name in news]


def _label(item: Item) -> tuple[str, str]:
    if isinstance(item, Statement):
        name = variable_name(item)
        if name:
            value = getattr(item.node, "value", None)
            return ("variable", f"{name} {ast.dump(value) if value is not None else ''}")
        return ("statement", item.text)
    # A function that became a class, or async, is shown as a changed header where that says more.
    return ("class" if isinstance(item, ClassOutline) else "function", item.name)


def label_of_module(item: Item) -> tuple[str, str]:
    """Return what items of a module's top level have to have in common to be compared with one another."""
    name = constant_name(item) if isinstance(item, Statement) else ""
    kind = "annotated constant" if name and isinstance(item.node, ast.AnnAssign) else "constant"
    return (kind, name) if name else _label(item)


def _repeated_names(items: tuple[Item, ...]) -> set[str]:
    """Return names that a scope defines more than once, but for the idioms that do so rightly."""
    groups: dict[str, list[Item]] = {}
    for item in items:
        if not isinstance(item, Statement):
            groups.setdefault(item.name, []).append(item)
    return {name for name, group in groups.items() if sum(not _is_idiom(item) for item in group) > 1}


def _is_idiom(item: Item) -> bool:
    return isinstance(item, FunctionOutline) and not _SAME_NAME_DECORATORS.isdisjoint(item.decorator_names())


def _obstacle(item: FunctionOutline | ClassOutline, reason: str, part: str = "") -> Obstacle:
    return Obstacle(item.qualname, item.node.lineno, reason, part)


class _Checks(ast.NodeTransformer):
    """Leaves out of a body what only refuses, where nobody catches it, and the docstring.

    That is `raise`, `assert`, and an `if` around nothing else.
    """

    def without(self, function: FunctionOutline) -> str:
        body = copy.deepcopy(function.node.body)
        if ast.get_docstring(function.node) is not None:
            body = body[1:]
        return ast.dump(self.visit(ast.Module(body=body, type_ignores=[])))

    def visit_Raise(self, node: ast.Raise) -> ast.AST | None:
        return None

    def visit_Assert(self, node: ast.Assert) -> ast.AST | None:
        return None if _is_pure(node.test) else node

    def visit_If(self, node: ast.If) -> ast.AST | None:
        self.generic_visit(node)
        return None if not node.body and not node.orelse and _is_pure(node.test) else node

    def visit_Try(self, node: ast.Try) -> ast.AST:
        # What its body raises may be caught, and an object made all the same; `finally` may swallow the rest.
        if not node.finalbody:
            node.handlers = [self.visit(handler) for handler in node.handlers]
        return node

    def visit_TryStar(self, node: ast.TryStar) -> ast.AST:
        return node

    def visit_With(self, node: ast.With) -> ast.AST:
        return node  # `suppress` and the like catch, too


def _is_pure(test: ast.expr) -> bool:
    for part in ast.walk(test):
        if isinstance(part, (ast.NamedExpr, ast.Await, ast.Yield, ast.YieldFrom)):
            return False
        if isinstance(part, ast.Call) and not (isinstance(part.func, ast.Name) and part.func.id in _ONLY_LOOK):
            return False
    return True
