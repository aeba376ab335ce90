"""Functions that the new source has and the old has not: what may be added, and how one is made.

An import would have run the `def` statement. Here the code object comes from the compiled module,
and only what the statement itself evaluates is made: constant defaults, and annotations (`reload.annotations`).
"""

from __future__ import annotations

import ast
import builtins
import dis
from types import CellType, CodeType, FunctionType
from typing import Any

from homeostat_agent.reload.importtime import run_at_import
from homeostat_agent.reload.literals import is_fixed_literal
from homeostat_agent.reload.onlookers import look_at_all
from homeostat_agent.reload.outline import (
    ClassOutline,
    FunctionOutline,
    ModuleOutline,
    Statement,
    names_read,
    parameters_of,
    run_with,
)
from homeostat_agent.reload.syntax import is_main_guard, last_name

_LOOK_AT_METHODS = frozenset({"Protocol", "BaseModel", "TypedDict"})
_READ_GLOBALS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})


def addition_obstacle(owner: ClassOutline | None, item: FunctionOutline, new: ModuleOutline) -> str:
    """Return why a new function cannot be put into its running module or class; empty when it can."""
    node = item.node
    scope, items = (new.tree.body, new.items) if owner is None else (owner.node.body, owner.items)
    if sum(not isinstance(other, Statement) and other.name == item.name for other in items) > 1:
        return "is defined more than once in its scope"
    if node.decorator_list or getattr(node, "type_params", []):
        return "a new function with decorators or type parameters"
    if item.name.startswith("__") and item.name.endswith("__"):
        return "a new function with a special name"
    if owner is not None and (
        owner.node.decorator_list or owner.node.keywords or getattr(owner.node, "type_params", [])
    ):
        return "a new method of a class with decorators, keywords or type parameters"
    if owner is not None:
        reason = _maker_obstacle(owner, item.name, new)
        if reason:
            return reason
    if owner is not None and any(_is_private(argument.arg) for argument in parameters_of(node.args)):
        return "a new method with parameters of private names"
    if not all(value is None or is_fixed_literal(value) for value in (*node.args.defaults, *node.args.kw_defaults)):
        return "a new function with defaults that are not constants"
    if item.name in _bound_names(items, new) or item.name in names_read(scope):
        return "the name of a new function has a meaning already"
    return ""


def _maker_obstacle(owner: ClassOutline, name: str, new: ModuleOutline) -> str:
    """Say what the text shows of who makes a class, and would have seen a new method of it then."""
    known = {node.name: node for node in ast.walk(new.tree) if isinstance(node, ast.ClassDef)}
    bases = list(owner.node.bases)
    seen: set[str] = set()
    while bases:
        base = last_name(bases.pop())
        if base in seen:
            continue
        seen.add(base)
        if base.endswith(("Enum", "Flag")) or base in _LOOK_AT_METHODS:
            return f"a new method of a class that `{base}` makes, which looks at methods"
        node = known.get(base)
        if node is None:
            continue
        bases.extend(node.bases)
        for part in node.body:
            if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef)):
                abstract = any(last_name(item) == "abstractmethod" for item in part.decorator_list)
                if part.name == "__init_subclass__" or (part.name == name and abstract):
                    return f"a new method of a class whose base `{base}` looks for it"
    return ""


def looks_of_import(new: ModuleOutline) -> tuple[str, frozenset[str]]:
    """Return what import looks at all names of something with (empty: nothing), and the texts that it may ask by.

    A table that import made of the methods that a class had then would miss a new one.
    """
    ran = run_at_import(new.tree)
    blocks = [item for item in new.tree.body if isinstance(item, ast.If) and is_main_guard(item.test)]
    nodes = [node for item in new.tree.body if item not in blocks for node in run_with(item)]
    for node in ast.walk(new.tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and (node.name, node.lineno) in ran:
            nodes.extend(ast.walk(node))
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return look_at_all(nodes), frozenset(texts)


def attribute_name(owner: ClassOutline | None, item: FunctionOutline) -> str:
    """Return the name under which the function is stored, private names of classes mangled."""
    if owner is None or not item.name.startswith("__") or not owner.name.strip("_"):
        return item.name
    return f"_{owner.name.lstrip('_')}{item.name}"


def make_function(
    item: FunctionOutline, code: CodeType, *, namespace: dict[str, Any], owner: type | None
) -> FunctionType:
    """Make the function that the `def` statement would have made in this namespace or class.

    It has no annotations yet: these may name what the same change binds (`reload.descriptions`). Nothing is stored.
    """
    defaults, keyword_defaults = _defaults(item.node.args)
    closure = tuple(CellType(owner) for _ in code.co_freevars) or None  # at most the cell of `__class__`
    function = FunctionType(code, namespace, item.name, defaults, closure)
    function.__kwdefaults__ = keyword_defaults
    function.__qualname__ = item.qualname
    return function


def is_readable(name: str, namespace: dict[str, Any]) -> bool:
    """Tell whether code with these globals finds the name at this moment."""
    found = namespace.get("__builtins__", builtins)
    return name in namespace or name in (found if isinstance(found, dict) else vars(found))


def global_names(code: CodeType) -> set[str]:
    """Return the global names that code reads, with all code inside it; what the body of a class binds is its own."""
    steps = list(dis.get_instructions(code))
    own = {str(item.argval) for item in steps if item.opname == "STORE_NAME"}
    own.update("__annotations__" for item in steps if item.opname == "SETUP_ANNOTATIONS")
    names = {str(item.argval) for item in steps if item.opname in _READ_GLOBALS} - own
    for value in code.co_consts:
        if isinstance(value, CodeType):
            names |= global_names(value)
    return names


def _bound_names(items: tuple[Any, ...], new: ModuleOutline) -> set[str]:
    """Return names that a scope's statements bind otherwise than by assignment, and those declared global."""
    found: set[str] = set()
    for item in items:
        if isinstance(item, Statement):
            for node in ast.walk(item.node):
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                    found.add(node.name)
                elif isinstance(node, ast.alias):
                    found.add((node.asname or node.name).split(".")[0])
                elif isinstance(node, ast.ExceptHandler) and node.name:
                    found.add(node.name)
                elif type(node).__name__ in ("MatchAs", "MatchStar", "MatchMapping"):
                    found.update(
                        str(name) for name in (getattr(node, "name", None), getattr(node, "rest", None)) if name
                    )
    for node in ast.walk(new.tree):
        if isinstance(node, ast.Global):
            found.update(node.names)
    return found


def _is_private(name: str) -> bool:
    """Tell whether a name may mean another one inside a class."""
    return name.startswith("__")


def _defaults(arguments: ast.arguments) -> tuple[tuple[Any, ...] | None, dict[str, Any] | None]:
    positional = tuple(ast.literal_eval(value) for value in arguments.defaults)
    keywords = {
        argument.arg: ast.literal_eval(value)
        for index, argument in enumerate(arguments.kwonlyargs)
        if (value := arguments.kw_defaults[index]) is not None
    }
    return positional or None, keywords or None
