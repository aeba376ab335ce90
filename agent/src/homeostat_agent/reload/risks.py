"""The steps of an aggressive change, their risks in words, and what it refuses of classes and signatures."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from homeostat_agent.reload.defaults import changed_defaults, defaults_of, seen_at_import
from homeostat_agent.reload.literals import is_fixed_literal, is_literal
from homeostat_agent.reload.newnames import bound_names
from homeostat_agent.reload.outline import ClassOutline, FunctionOutline, ModuleOutline

_OBJECT = ("object", "builtins.object")

AGAIN = "again"
BASES = "bases"
SHAPE = "shape"
GONE = "gone"

RISK_AGAIN = (
    "what it did before is not undone, and whoever took along what it made keeps that; "
    "while it runs, calls may meet the new code with what was made before; "
    "a rollback puts the names back, and undoes nothing else that it does now"
)
RISK_REGISTERED = (
    "what the old decorators registered stays registered, with the new body; "
    "a rollback puts the name back, and what the new ones registered stays"
)
RISK_ADDED = "what its statement registers is not undone by a rollback"
RISK_GONE = "what it did is not undone, and the names that it bound stay"
RISK_BASES = (
    "objects made so far did not run what the new bases do when one is made, "
    "and whoever kept an answer about the bases (`isinstance`, `singledispatch`) keeps it"
)
RISK_SHAPE = "calls in flight, and callers that the change leaves as they are, fail where they pass the old arguments"
RISK_CLOSURES = "closures that it made before and that somebody else holds stay as they are"
RISK_BLOCK = "where the file is the program itself, its block has run, or runs: what it made so far stays"


@dataclass(frozen=True)
class Again:
    """A statement of the new source that is to run in the module: again, or for the first time."""

    label: str
    node: ast.stmt
    reason: str
    risk: str
    through_calls: frozenset[str] = frozenset()
    """Names of the module that functions which it calls bind, as they declare them ``global``."""

    @property
    def binds(self) -> frozenset[str]:
        return self.through_calls.union(bound_names(ast.Module(body=[self.node], type_ignores=[])))


@dataclass(frozen=True)
class ChangedBases:
    """A class that gets other bases, on both sides."""

    old: ClassOutline
    new: ClassOutline


@dataclass(frozen=True)
class Said:
    """What the plan says of a definition, and the risk that is taken with it."""

    qualname: str
    line: int
    kind: str
    reason: str
    risk: str


def shape_obstacle(old: FunctionOutline, new: FunctionOutline, sides: tuple[ModuleOutline, ModuleOutline]) -> str:
    """Return why the signature of a function cannot change in place; empty when it can."""
    for item in (old, new):
        if not set(item.decorator_names()) <= {"staticmethod", "classmethod"}:
            return "its signature changed, and what decorates it has read the old one"
    if old.header()["kind"] != new.header()["kind"]:
        return "it became another kind of function (plain, generator, coroutine)"
    if new.name.startswith("__") and new.name.endswith("__"):
        return "the signature of a special method changed"
    before, after = defaults_of(old.node), defaults_of(new.node)
    for name in changed_defaults(old.node, new.node):
        if (name in before and not is_fixed_literal(before[name])) or (name in after and not is_literal(after[name])):
            return "its signature changed, and a default that is no constant"
    return next((words for side in sides if (words := seen_at_import(new, side, "its signature"))), "")


def bases_obstacle(old: ClassOutline, new: ClassOutline) -> str:
    before, after = old.node, new.node
    if [ast.dump(item) for item in before.keywords] != [ast.dump(item) for item in after.keywords]:
        return "its metaclass or keywords changed, and it was made by the old ones"
    if before.keywords or before.decorator_list or after.decorator_list:
        return "its bases changed, and its keywords or decorators have read the old ones"
    for node in (before, after):
        names = [ast.unparse(base) for base in node.bases]
        if not names or set(names) <= set(_OBJECT):
            return "its bases changed from or to `object` alone, which the interpreter refuses"
        if not all(isinstance(base, (ast.Name, ast.Attribute)) and first_name(base) for base in node.bases):
            return "its bases changed, and are more than names"
        if any(
            isinstance(one, ast.Name) and one.id == "__slots__" and isinstance(one.ctx, ast.Store)
            for one in ast.walk(node)
        ):
            return "its bases changed, and `__slots__` lay its objects out when it is made"
    return ""


def first_name(base: ast.expr) -> str:
    while isinstance(base, ast.Attribute):
        base = base.value
    return base.id if isinstance(base, ast.Name) else ""
