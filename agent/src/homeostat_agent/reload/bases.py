"""Other bases of a live class: which it has, which it is to get, and whether the interpreter would take them."""

from __future__ import annotations

import ast
import builtins
from collections import deque
from itertools import starmap
from types import ModuleType
from typing import Any

from homeostat_agent.reload.census import Load
from homeostat_agent.reload.exchange import Value, bases_of
from homeostat_agent.reload.holders import bound_value
from homeostat_agent.reload.risks import ChangedBases
from homeostat_agent.reload.spaces import class_dict, module_dict


class CannotGive(Exception):
    """A class cannot get its bases; the text says why."""


def new_bases(item: ChangedBases, load: Load) -> Value | None:
    """Return what gives a class its new bases; None where it has them. Raises `CannotGive`."""
    owner, old, new = _found(item, load)
    present = bases_of(owner)
    if present == new:
        return None
    if present != old:
        raise CannotGive("its bases are not those of its source")
    if type(owner) is not type or any(type(base) is not type for base in new):
        raise CannotGive("the metaclass of it, or of a base, would have seen the new bases")
    if "__slots__" in class_dict(owner):
        raise CannotGive("`__slots__` lay its objects out when it is made")
    for base in (*old, *new):
        for parent in base.__mro__:
            if parent is not object and "__init_subclass__" in class_dict(parent):
                raise CannotGive(f"`{parent.__qualname__}` looks at its heirs when they are made")
    try:
        # As one call of C code that evaluates no bytecode: nobody sees the class in between. A first step that is
        # refused changes nothing, and the second puts back what was there.
        deque(starmap(type.__setattr__, [(owner, "__bases__", new), (owner, "__bases__", present)]), maxlen=0)
    except TypeError as error:
        raise CannotGive(f"the interpreter refuses them ({error})") from error
    return Value(owner, "__bases__", present, new, f"{load.name}:{item.new.qualname}")


def old_bases(item: ChangedBases, load: Load) -> Value | None:
    """Return what gives a class its old bases back; None where it has none but these. Raises `CannotGive`."""
    owner, old, new = _found(item, load)
    if bases_of(owner) != new:
        return None
    return Value(owner, "__bases__", bases_of(owner), old, f"{load.name}:{item.new.qualname}")


def _found(item: ChangedBases, load: Load) -> tuple[type, tuple[type, ...], tuple[type, ...]]:
    owner = bound_value(load.namespace, item.new.qualname.split("."))
    if not isinstance(owner, type) or owner.__qualname__ != item.new.qualname or owner.__module__ != load.name:
        raise CannotGive(f"`{item.new.qualname}` is not the class of that name")
    return owner, _given(item.old.node, load), _given(item.new.node, load)


def _given(node: ast.ClassDef, load: Load) -> tuple[type, ...]:
    found = tuple(_value_of(base, load.namespace) for base in node.bases)
    if not all(isinstance(base, type) for base in found):
        raise CannotGive("a base of it is no class")
    return found


def _value_of(value: ast.expr, space: dict[str, Any]) -> Any:
    """Look a dotted name up as the class statement would, without running host code."""
    if isinstance(value, ast.Attribute):
        holder = _value_of(value.value, space)
        held = module_dict(holder) if isinstance(holder, ModuleType) else {}
        if isinstance(holder, type):
            held = class_dict(holder)
        name = value.attr
    else:
        assert isinstance(value, ast.Name)
        held, name = {**vars(builtins), **space}, value.id
    if name not in held:
        raise CannotGive(f"the running module has no `{ast.unparse(value)}`")
    return held[name]
