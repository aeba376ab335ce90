"""Changed defaults of a function, from the text: which there are, and what stands against exchanging them.

The function object holds its defaults, so whoever calls it meets the new ones. Whoever looked at its signature
before does not: where the text shows that somebody might have, it needs a restart.
"""

from __future__ import annotations

import ast

from homeostat_agent.reload.literals import is_fixed_literal, is_literal
from homeostat_agent.reload.newnames import OF_A_PROPERTY
from homeostat_agent.reload.outline import (
    FunctionNode,
    FunctionOutline,
    ModuleOutline,
    names_read,
    owners_of,
    run_with,
)

READ_SIGNATURES = frozenset(
    {
        "signature",
        "getfullargspec",
        "getargspec",
        "getcallargs",
        "get_type_hints",
        "get_annotations",
        "__annotations__",
        "__defaults__",
        "__kwdefaults__",
        "__signature__",
    }
)
KEPT_AS_THEY_ARE = frozenset({"staticmethod", "classmethod"})
_ASKED_ONCE = frozenset({"__new__", "__init__", "__post_init__", "__hash__"})


def defaults_of(node: FunctionNode) -> dict[str, ast.expr]:
    """Return the default of each parameter that has one, by its name."""
    arguments = node.args
    positional = [item.arg for item in (*arguments.posonlyargs, *arguments.args)]
    last = positional[len(positional) - len(arguments.defaults) :]
    keyword = [item.arg for item in arguments.kwonlyargs]
    every = zip((*last, *keyword), (*arguments.defaults, *arguments.kw_defaults))  # noqa: B905  3.9 has no `strict`
    return {name: value for name, value in every if value is not None}


def changed_defaults(old: FunctionNode, new: FunctionNode) -> list[str]:
    """Return the parameters whose defaults differ, or are there on one side only."""
    before, after = defaults_of(old), defaults_of(new)
    return [
        name
        for name in {**before, **after}
        if name not in before or name not in after or ast.dump(before[name]) != ast.dump(after[name])
    ]


def default_obstacle(old: FunctionOutline, new: FunctionOutline, sides: tuple[ModuleOutline, ModuleOutline]) -> str:
    """Return why the defaults of a function of a module or class cannot be exchanged; empty when they can."""
    if not all(isinstance(item, ast.Name) and item.id in KEPT_AS_THEY_ARE for item in new.node.decorator_list):
        return "the defaults of a decorated function changed"
    if new.name in _ASKED_ONCE or (new.name.startswith("__") and new.name.endswith("__")):
        return "the defaults of a special method changed"
    before, after = defaults_of(old.node), defaults_of(new.node)
    for name in changed_defaults(old.node, new.node):
        if name in before and not is_fixed_literal(before[name]):
            return "a default that changed was no constant"
        if name in after and not is_literal(after[name]):
            return "a default that changed is no constant"
    for side in sides:
        reason = seen_at_import(new, side, "its defaults")
        if reason:
            return reason
    return ""


def seen_at_import(
    item: FunctionOutline, side: ModuleOutline, what: str, *, harmless: frozenset[str] = frozenset()
) -> str:
    """Say who may have looked at a function while the module was imported; `harmless` decorate its class unread."""
    for node in ast.walk(side.tree):
        if getattr(node, "attr", getattr(node, "id", getattr(node, "name", ""))) in READ_SIGNATURES:
            return f"{what} changed, and the module looks at signatures"
    path = item.qualname.split(".")
    if len(path) == 1:
        return f"{what} changed, and import hands it on" if item.name in names_read(side.tree.body) else ""
    owners = owners_of(side, item.qualname)
    if any({*owner.decorator_names()} - harmless or owner.node.keywords for owner in owners):
        return f"{what} changed, in a class with decorators or keywords"
    if any(_is_read_at_import(item.name, statement) for statement in side.tree.body):
        return f"{what} changed, and import hands it on"
    given = {name for statement in side.tree.body for name in given_to_calls(statement)}
    return f"{what} changed, and import hands its class on" if not given.isdisjoint(path[:-1]) else ""


def _is_read_at_import(name: str, statement: ast.stmt) -> bool:
    ran = run_with(statement)
    # `@size.setter` makes of a property another one.
    idioms = {
        id(part)
        for node in ran
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == name
        for decorator in node.decorator_list
        if isinstance(decorator, ast.Attribute) and decorator.attr in OF_A_PROPERTY
        for part in (decorator.value,)
    }
    return any(
        (isinstance(node, ast.Attribute) and node.attr == name)
        or (
            isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load) and id(node) not in idioms
        )
        for node in ran
    )


def given_to_calls(statement: ast.stmt) -> set[str]:
    return {
        inner.id
        for node in run_with(statement)
        if isinstance(node, ast.Call)
        for value in (*node.args, *(keyword.value for keyword in node.keywords))
        for inner in ast.walk(value)
        if isinstance(inner, ast.Name)
    }
