"""Defaults and constants in the process: what is to be exchanged for what, and who may have looked at it."""

from __future__ import annotations

import gc
from types import AsyncGeneratorType, CoroutineType, FrameType, FunctionType, GeneratorType, ModuleType
from typing import Any

from homeostat_agent.reload.census import Census, Load
from homeostat_agent.reload.constants import ChangedConstant
from homeostat_agent.reload.defaults import READ_SIGNATURES, changed_defaults, defaults_of
from homeostat_agent.reload.exchange import Docstring, Value
from homeostat_agent.reload.holders import bound_value
from homeostat_agent.reload.literals import has_value, literal_value
from homeostat_agent.reload.neighbours import Neighbours
from homeostat_agent.reload.outline import FunctionNode, FunctionOutline
from homeostat_agent.reload.spaces import class_dict

LOOK_AT_NOTHING = frozenset(
    {FrameType, GeneratorType, CoroutineType, AsyncGeneratorType, staticmethod, classmethod, Value, Docstring}
)
"""What holds a function while it runs, as its class has it, or for us."""

OLD, NEW, OTHER = "old", "new", "other"


def side_of(function: FunctionType, old: FunctionOutline, new: FunctionOutline) -> str:
    """Tell whose defaults a function has, as far as they differ: those of the old source, the new, or neither."""
    given = present_defaults(function)
    names = changed_defaults(old.node, new.node)
    return next((side for side, item in ((OLD, old), (NEW, new)) if _has(given, item.node, names)), OTHER)


def _has(given: dict[str, Any], node: FunctionNode, names: list[str]) -> bool:
    wanted = defaults_of(node)
    return all(
        (name in given and has_value(given[name], wanted[name])) if name in wanted else name not in given
        for name in names
    )


def side_of_constant(item: ChangedConstant, space: dict[str, Any]) -> str:
    """Tell whose value a name space has of a constant: that of the old source, of the new, or neither."""
    if item.name not in space:
        return OTHER
    for side, literal in zip((OLD, NEW), item.values):  # noqa: B905  3.9 has no `strict`
        if has_value(space[item.name], literal):
            return side
    return OTHER


def constant_value(item: ChangedConstant, space: dict[str, Any], *, back: bool) -> Value:
    """Return what sets a constant to its new value, or back to the old."""
    return Value(space, item.name, space[item.name], literal_value(item.values[0 if back else 1]))


def present_defaults(function: FunctionType) -> dict[str, Any]:
    """Return the defaults that a function has now, by parameter."""
    code, positional = function.__code__, function.__defaults__ or ()
    names = code.co_varnames[: code.co_argcount]
    found = dict(zip(names[len(names) - len(positional) :], positional))  # noqa: B905  3.9 has no `strict`
    found.update(function.__kwdefaults__ or {})
    return found


def default_values(function: FunctionType, before: FunctionOutline, after: FunctionOutline) -> list[Value]:
    """Return what gives a function the defaults of `after`. Those that do not differ stay the objects that they are."""
    given, wanted = present_defaults(function), defaults_of(after.node)
    for name in changed_defaults(before.node, after.node):
        given.pop(name, None)
        if name in wanted:
            given[name] = literal_value(wanted[name])
    arguments = after.node.args
    positional = tuple(given[item.arg] for item in (*arguments.posonlyargs, *arguments.args) if item.arg in given)
    keyword = {item.arg: given[item.arg] for item in arguments.kwonlyargs if item.arg in given}
    return [
        Value(function, "__defaults__", function.__defaults__, positional or None),
        Value(function, "__kwdefaults__", function.__kwdefaults__, keyword or None),
    ]


def looked_at(
    functions: list[FunctionType],
    load: Load,
    census: Census,
    ours: list[Any],
    neighbours: Neighbours,
    *,
    harmless: tuple[type, ...] = (),
) -> dict[int, str]:
    """Say of functions, by `id`, who may have looked at their signature.

    Of those that only names of modules and classes hold, and what is `harmless`, nothing is said.
    """
    reader = neighbours.that_uses(READ_SIGNATURES) if functions else None
    if reader:
        return {id(function): f"{reader} looks at signatures" for function in functions}
    known = {id(item) for item in (*ours, functions, census.functions, census.elsewhere, load.functions)}
    known.update(id(other.functions) for other in census.loads)
    wanted = {id(function): function for function in functions}
    asked = tuple(functions)  # 3.13 makes another of it
    known.update((id(wanted), id(asked)))
    found: dict[int, str] = {}
    for holder in gc.get_referrers(*asked) if asked else ():
        if id(holder) in known or type(holder) in LOOK_AT_NOTHING or type(holder) in harmless:
            continue
        for function in [wanted[id(item)] for item in gc.get_referents(holder) if id(item) in wanted]:
            if type(holder) is not dict or not _is_name_space(holder, function):
                found[id(function)] = f"a {type(holder).__name__} holds it that may have looked at its signature"
    return found


def _is_name_space(holder: dict[Any, Any], function: FunctionType) -> bool:
    """Tell whether a dictionary is that of a module, or that of the class which defines the function."""
    if holder is function.__globals__:
        return True
    owner = bound_value(function.__globals__, function.__qualname__.split(".")[:-1] or [""])
    if isinstance(owner, type) and any(holder is item for item in gc.get_referents(class_dict(owner))):
        return True
    return any(issubclass(type(item), ModuleType) for item in gc.get_referrers(holder))
