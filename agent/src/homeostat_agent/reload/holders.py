"""Objects around functions that keep something of them: caches, docstrings, wrappers, classes."""

from __future__ import annotations

import abc
import enum
import functools
import gc
import typing
from itertools import compress, repeat
from operator import is_not
from types import CellType, CodeType, FunctionType, MethodType
from typing import Any

from homeostat_agent.reload.census import CacheType
from homeostat_agent.reload.spaces import class_dict

_MAX_DEPTH = 8
_LOOK_AT_NO_HEIRS = (object, typing.Generic, enum.Enum)
"""Their `__init_subclass__` takes nothing of what an heir tells of itself."""

_CALLABLES = (FunctionType, CacheType, MethodType, staticmethod, classmethod, functools.partial)
_CALL_WHAT_THEY_HOLD = (*_CALLABLES, property, type)


def caches_around(caches: list[Any], functions: list[FunctionType]) -> list[Any]:
    """Return those `functools` caches through which a call of one of the functions may go."""
    wanted = {id(function) for function in functions}
    if not wanted:
        return []
    found = []
    for index, inner in enumerate(_wrapped(caches)):
        # Most caches are around a plain function, and there are hundreds.
        if type(inner) is FunctionType and inner.__closure__ is None and not hasattr(inner, "__wrapped__"):
            leads = id(inner) in wanted
        else:
            leads = _leads_to(caches[index], wanted)
        if leads:
            found.append(caches[index])
    return found


def wrappers_of(function: FunctionType, functions: list[FunctionType], caches: list[Any]) -> list[Any]:
    """Return functions and caches whose chain of `__wrapped__` leads to the function."""
    found = []
    for items in (functions, caches):
        wrapped = _wrapped(items)
        for index in compress(range(len(items)), map(is_not, wrapped, repeat(None))):
            inner = wrapped[index]
            for _ in range(_MAX_DEPTH):
                if inner is function:
                    found.append(items[index])
                    break
                inner = getattr(inner, "__wrapped__", None) if isinstance(inner, (FunctionType, CacheType)) else None
    return found


def _wrapped(items: list[Any]) -> list[Any]:
    # Asked for in this way, a function that has no dictionary of its own need not make one.
    return list(map(getattr, items, repeat("__wrapped__"), repeat(None)))


def docstring_of(code: CodeType) -> str | None:
    """Return the docstring that a function made from this code gets; the rule differs between versions."""
    closure = tuple(CellType() for _ in code.co_freevars)
    return FunctionType(code, {}, code.co_name, None, closure).__doc__


def bound_value(namespace: dict[str, Any], names: list[str]) -> Any:
    """Follow names through a module and its classes without running host code; None when they lead nowhere."""
    value: Any = namespace.get(names[0])
    for name in names[1:]:
        if not isinstance(value, type):
            return None
        value = class_dict(value).get(name)
    return value


def compiled_copy_reason(value: Any) -> str:
    """Say why what a name is bound to may run a compiled copy of a function (numba and its like); empty: it does not.

    What is called through Python code, or through the types of Python itself, calls the function it holds.
    """
    for special in ("__call__", "__get__"):
        for kind in type.__dict__["__mro__"].__get__(type(value)):
            if special in class_dict(kind):
                if kind not in _CALL_WHAT_THEY_HOLD and type(class_dict(kind)[special]) is not FunctionType:
                    return f"it is wrapped in a {type(value).__name__}, which may hold a compiled copy of it"
                break
    return ""


def maker_obstacle(owner: Any, module_name: str, qualname: str, metaclasses: tuple[type, ...]) -> str:
    """Say why something may have read a live class when it was made; empty when that did no more than make it."""
    if not isinstance(owner, type) or owner.__qualname__ != qualname or owner.__module__ != module_name:
        return f"`{qualname}` is not the class of that name"
    if type(owner) not in metaclasses:
        return f"the metaclass of `{qualname}` may have read it"
    if any("__init_subclass__" in class_dict(base) for base in owner.__mro__ if base not in _LOOK_AT_NO_HEIRS):
        return f"a base of `{qualname}` looks at new classes"
    return ""


def class_obstacle(owner: Any, module_name: str, qualname: str, name: str) -> str:
    """Say why a live class cannot take a new method; empty when setting it does all that its making would have."""
    if not isinstance(owner, type) or owner.__qualname__ != qualname or owner.__module__ != module_name:
        return f"`{qualname}` is not the class of that name"
    if type(owner) not in (type, abc.ABCMeta):
        return f"the metaclass of `{qualname}` would have seen the new method"
    if any("__init_subclass__" in class_dict(base) for base in owner.__mro__ if base is not object):
        return f"a base of `{qualname}` looks at new classes"
    family: list[type] = [owner]
    for item in family:  # grows while it is walked
        heirs: list[type] = type.__subclasses__(item)
        family.extend(heir for heir in heirs if heir not in family)
    if any(name in getattr(item, "__abstractmethods__", ()) for item in family):
        return f"`{name}` is abstract in a class related to `{qualname}`"
    return ""


def _leads_to(start: Any, wanted: set[int]) -> bool:
    seen: set[int] = set()
    stack = [(start, 0)]
    while stack:
        item, depth = stack.pop()
        if id(item) in wanted:
            return True
        if id(item) in seen or depth > _MAX_DEPTH:
            continue
        seen.add(id(item))
        for inner in _held_by(item):
            stack.append((inner, depth + 1))
    return False


def _held_by(item: Any) -> list[Any]:
    """Return callables that a callable holds: what it wraps, and what its closure captured."""
    if isinstance(item, CacheType) and hasattr(item, "__wrapped__"):
        values: list[Any] = [item.__wrapped__]  # its referents are all that it has cached, too
    elif isinstance(item, FunctionType):
        values = [getattr(item, "__wrapped__", None)]
        for cell in item.__closure__ or ():
            try:
                values.append(cell.cell_contents)
            except ValueError:  # not filled yet
                continue
    else:
        values = gc.get_referents(item)
    return [value for value in values if issubclass(type(value), _CALLABLES)]
