"""Changed constants of a module's top level: who may have taken the old value along, as far as sources show.

A name that is looked up at each call gives the new value from the next call on. Whatever was computed of
it at import, or is kept by an object, a closure or a cache, would stay as it was.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Union

from homeostat_agent.reload.importtime import looks_at_names, run_at_import, run_inside
from homeostat_agent.reload.literals import is_fixed_literal
from homeostat_agent.reload.newnames import bound_names
from homeostat_agent.reload.outline import FunctionNode, Statement, run_with
from homeostat_agent.reload.syntax import last_name

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_MAKE_OBJECTS = frozenset(
    {"__init__", "__new__", "__post_init__", "__attrs_post_init__", "model_post_init", "__hash__", "__set_name__"}
)


@dataclass(frozen=True)
class ChangedConstant:
    """A name with a literal that cannot be changed itself, on both sides."""

    name: str
    old: Union[ast.Assign, ast.AnnAssign]
    new: Union[ast.Assign, ast.AnnAssign]

    @property
    def values(self) -> tuple[ast.expr, ast.expr]:
        """The old literal and the new one."""
        assert self.old.value is not None and self.new.value is not None
        return self.old.value, self.new.value


def constant_name(item: Statement) -> str:
    """Return the name that a statement gives a fixed literal; empty where it does anything else."""
    node = item.node
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id if is_fixed_literal(node.value) else ""
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.simple:
        return node.target.id if node.value is not None and is_fixed_literal(node.value) else ""
    return ""


def constant_obstacle(item: ChangedConstant, trees: tuple[ast.Module, ast.Module]) -> str:
    """Return why the module itself would keep something of the old value; empty when nothing shows that."""
    if item.name.startswith("__"):
        return "a constant with a special name changed"
    for tree, own in zip(trees, (item.old, item.new)):  # noqa: B905  3.9 has no `strict`
        if bound_names(tree).get(item.name, 0) != 1:
            return "a constant changed that is bound more than once"
        if looks_at_names(tree):
            return "a constant changed, and import looks at all names"
        reason = _kept_by(tree, item.name, own)
        if reason:
            return f"a constant changed, and {reason}"
    return ""


def copied_by(source: str, name: str) -> str:
    """Return why the source of another module may keep the old value of a constant; empty when it cannot."""
    tree = ast.parse(source.lstrip("\ufeff"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and any(alias.name == name for alias in node.names):
            return f"imports `{name}` by its name"
    return _kept_by(tree, name, None, bare=False)


def _kept_by(tree: ast.Module, name: str, own: ast.stmt | None, *, bare: bool = True) -> str:
    """Say what of a module reads the name where the value may stay; `bare`: as a global of its own, too."""

    def mentions(node: ast.AST) -> bool:
        return any(_is_mention(part, name, bare=bare) for part in ast.walk(node))

    if any(isinstance(node, ast.Constant) and node.value == name for node in ast.walk(tree)):
        return f"`{name}` is looked up as text"
    deferred = [node for node in ast.walk(tree) if isinstance(node, _FUNCTIONS) and any(map(mentions, node.body))]
    for statement in tree.body:
        if statement is not own and any(_is_mention(part, name, bare=bare) for part in run_with(statement)):
            return f"import uses `{name}`"
    ran = run_at_import(tree) if deferred else set()
    for function in deferred:
        if (function.name, function.lineno) in ran:
            return f"`{function.name}` uses it, which runs at import"
        if function.name in _MAKE_OBJECTS:
            return f"objects that `{function.name}` made so far would keep the old value"
        inner = [part for statement in function.body for part in ast.walk(statement)]
        if any(isinstance(part, (*_FUNCTIONS, ast.ClassDef, ast.Lambda)) for part in inner):
            return f"what `{function.name}` made so far may keep the old value"
    return _cached(tree, deferred)


def _cached(tree: ast.Module, deferred: list[FunctionNode]) -> str:
    places = {(function.name, function.lineno) for function in deferred}
    wrapped = {
        last_name(value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and _is_cache(node.func)
        for value in node.args
    }
    for node in ast.walk(tree) if places else ():
        if isinstance(node, _FUNCTIONS):
            caches = any(map(_is_cache, node.decorator_list)) or node.name in wrapped
            if caches and (node in deferred or not places.isdisjoint(run_inside(tree, [node]))):
                return f"results that `{node.name}` caches depend on it"
    return ""


def _is_cache(decorator: ast.expr) -> bool:
    while isinstance(decorator, ast.Call):
        decorator = decorator.func
    name = last_name(decorator).lower()
    return "cache" in name or "memo" in name


def _is_mention(node: ast.AST, name: str, *, bare: bool) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr == name
    return bare and isinstance(node, ast.Name) and node.id == name
