"""Names that the new source binds at its top level and the old one does not: imports, constants and classes.

An import of the new source would have bound them. In a module that runs they are bound beside the
rest of the change, where the text shows that nothing which ran at import would have met them.
"""

from __future__ import annotations

import ast
import builtins
from dataclasses import dataclass
from typing import Optional, Union

from homeostat_agent.reload.importtime import looks_at_names, run_at_import
from homeostat_agent.reload.literals import is_literal, is_plain_annotation
from homeostat_agent.reload.outline import ClassOutline, Item, ModuleOutline, Statement, names_read, run_with
from homeostat_agent.reload.syntax import last_name

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_KEPT_AS_THEY_ARE = frozenset({"staticmethod", "classmethod", "property"})
OF_A_PROPERTY = frozenset({"setter", "getter", "deleter"})
_EMPTY = frozenset({"list", "dict", "set", "tuple"})

RUN_BY_CLASS_CREATION = frozenset(
    {
        "__init_subclass__",
        "__set_name__",
        "__prepare__",
        "__mro_entries__",
        "__class_getitem__",
        "mro",
        "_generate_next_value_",
    }
)


@dataclass(frozen=True)
class NewImport:
    """One name that an import binds."""

    name: str
    node: Union[ast.Import, ast.ImportFrom]

    @property
    def modules(self) -> tuple[str, ...]:
        """Dotted names that it may load a module by, with leading dots where they are relative."""
        name = self.node.names[0].name
        if isinstance(self.node, ast.Import):
            return (name,)
        source = "." * self.node.level + (self.node.module or "")
        return (source, source + name if source.endswith(".") else f"{source}.{name}")


@dataclass(frozen=True)
class NewConstant:
    """A name that a literal is assigned to."""

    name: str
    node: ast.Assign


@dataclass(frozen=True)
class NewClass:
    """A class of the module's top level."""

    name: str
    node: ast.ClassDef
    outline: ClassOutline

    @property
    def dataclass_call(self) -> Optional[ast.expr]:
        """The decorator, where there is one: it can only be that of a dataclass."""
        return self.node.decorator_list[0] if self.node.decorator_list else None


NewName = Union[NewImport, NewConstant, NewClass]


def new_name(item: Item) -> NewName | None:
    """Return what a statement of a module's top level binds, where it is of a kind that can be bound later."""
    if isinstance(item, ClassOutline):
        return NewClass(item.name, item.node, item)
    if not isinstance(item, Statement):
        return None
    node = item.node
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        alias = node.names[0]
        of_future = getattr(node, "module", None) == "__future__"
        if alias.name == "*" or (of_future and (alias.name, alias.asname) != ("annotations", None)):
            return None
        return NewImport(alias.asname or alias.name.split(".")[0], node)
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return NewConstant(node.targets[0].id, node) if is_literal(node.value) else None
    return None


def bound_names(tree: ast.Module) -> dict[str, int]:
    """Return how often each name is bound at a module's top level, or by `global` from anywhere."""
    found: dict[str, int] = {}

    def bind(name: str) -> None:
        found[name] = found.get(name, 0) + 1

    def walk(node: ast.AST) -> None:
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            bind(node.name)
            return
        if isinstance(node, ast.Lambda):
            return
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            bind(node.id)
        elif isinstance(node, ast.alias):
            bind((node.asname or node.name).split(".")[0])
        elif isinstance(node, ast.ExceptHandler) and node.name:
            bind(node.name)
        elif type(node).__name__ in ("MatchAs", "MatchStar", "MatchMapping"):
            for name in (getattr(node, "name", None), getattr(node, "rest", None)):
                if name:
                    bind(str(name))
        for child in ast.iter_child_nodes(node):
            walk(child)

    for statement in tree.body:
        walk(statement)
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            for name in node.names:
                bind(name)
    return found


class NameRules:
    """Says of new names what stands against binding them in a running module."""

    def __init__(self, old: ModuleOutline, new: ModuleOutline, names: list[NewName], evaluated: frozenset[int]) -> None:
        """`evaluated` are the annotations, by `id`, that are evaluated when the names are bound."""
        self._names = names
        self._old_bound, self._new_bound = bound_names(old.tree), bound_names(new.tree)
        added = {id(item.node) for item in names}
        rest = [item.node for item in new.items if id(item.node) not in added]
        ran = run_at_import(new.tree)
        running = [
            node for node in ast.walk(new.tree) if isinstance(node, _FUNCTIONS) and (node.name, node.lineno) in ran
        ]
        self._met = names_read(rest, evaluated) | {
            node.id for function in running for node in ast.walk(function) if isinstance(node, ast.Name)
        }
        self._met.update(
            node.value
            for statement in (*rest, *running)
            for node in (run_with(statement, evaluated) if statement in rest else ast.walk(statement))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        )
        self._all_are_met = looks_at_names(new.tree)

    def obstacle(self, item: NewName) -> str:
        """Return why this name cannot be bound later; empty when it can."""
        name = item.name
        if self._old_bound.get(name, 0) or self._new_bound.get(name, 0) != 1:
            return "the new name is bound more than once"
        if name.startswith("__") or hasattr(builtins, name):
            return "the new name has a meaning already"
        if name in self._met or self._all_are_met:
            return "the module's import would use the new name"
        return self._class_obstacle(item) if isinstance(item, NewClass) else ""

    def _class_obstacle(self, item: NewClass) -> str:
        node = item.node
        if node.keywords or getattr(node, "type_params", []):
            return "a new class with keywords or type parameters"
        if not all(_is_dotted(base) for base in node.bases):
            return "a new class with bases that are more than names"
        if len(node.decorator_list) > 1 or not all(_is_dataclass(one) for one in node.decorator_list):
            return "a new class with decorators"
        for part in node.body:
            reason = self._part_obstacle(part, node)
            if reason:
                return reason
        return ""

    def _part_obstacle(self, part: ast.stmt, owner: ast.ClassDef) -> str:
        if isinstance(part, _FUNCTIONS):
            return self._method_obstacle(part)
        if isinstance(part, ast.Pass) or (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant)):
            return ""
        value = getattr(part, "value", None)
        if isinstance(part, ast.Assign) and all(isinstance(target, ast.Name) for target in part.targets):
            names = [target.id for target in part.targets if isinstance(target, ast.Name)]
        elif isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            if not is_plain_annotation(part.annotation):
                return "a new class with annotations that are more than names"
            names = [part.target.id]
        else:
            return "a new class whose body does more than define and assign"
        if any(name.startswith("__") for name in names):
            return "a new class that assigns a special or private name"
        if value is None or is_literal(value) or (owner.decorator_list and _is_field(value)):
            return ""
        return "a new class with values that are not constants"

    def _method_obstacle(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
        if node.name in RUN_BY_CLASS_CREATION or getattr(node, "type_params", []):
            return f"a new class with `{node.name}`"
        for decorator in node.decorator_list:
            plain = isinstance(decorator, ast.Name) and decorator.id in _KEPT_AS_THEY_ARE
            if not plain and not (
                isinstance(decorator, ast.Attribute)
                and decorator.attr in OF_A_PROPERTY
                and isinstance(decorator.value, ast.Name)
                and decorator.value.id == node.name
            ):
                return "a new class with decorated methods"
            if plain and self._new_bound.get(decorator.id, 0):  # type: ignore[attr-defined]
                return f"a new class that uses a `{decorator.id}` of this module"  # type: ignore[attr-defined]
        if not all(value is None or is_literal(value) for value in (*node.args.defaults, *node.args.kw_defaults)):
            return "a new class with defaults that are not constants"
        told = [part.annotation for part in ast.walk(node.args) if isinstance(part, ast.arg)]
        if not all(value is None or is_plain_annotation(value) for value in (*told, node.returns)):
            return "a new class with annotations that are more than names"
        return ""


def _is_dotted(value: ast.expr) -> bool:
    while isinstance(value, ast.Attribute):
        value = value.value
    return isinstance(value, ast.Name)


def _is_dataclass(decorator: ast.expr) -> bool:
    target = decorator.func if isinstance(decorator, ast.Call) else decorator
    if isinstance(decorator, ast.Call) and (
        decorator.args or not all(item.arg and is_literal(item.value) for item in decorator.keywords)
    ):
        return False
    return _is_dotted(target) and last_name(target) == "dataclass"


def _is_field(value: ast.expr) -> bool:
    """Tell whether a value is `field(...)` of constants and empty containers."""
    return (
        isinstance(value, ast.Call)
        and _is_dotted(value.func)
        and last_name(value.func) == "field"
        and not value.args
        and all(
            item.arg is not None
            and (
                is_literal(item.value)
                or (item.arg == "default_factory" and isinstance(item.value, ast.Name) and item.value.id in _EMPTY)
            )
            for item in value.keywords
        )
    )
