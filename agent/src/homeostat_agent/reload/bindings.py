"""New names of a module in the process: what an import of the new source would bind them to, and what is bound already.

Values are looked up before anything is changed. Only a class is made later, with the exchange itself: one that is
made for nothing would be seen among the heirs of its bases.
"""

from __future__ import annotations

import abc
import ast
import builtins
import dataclasses
import enum
import functools
import importlib
import importlib.util
import sys
from collections.abc import Sequence
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

from homeostat_agent.reload.census import Load, is_importing
from homeostat_agent.reload.exchange import Binding
from homeostat_agent.reload.fingerprint import children
from homeostat_agent.reload.literals import has_value, is_as_written, literal_value
from homeostat_agent.reload.match import same_code
from homeostat_agent.reload.neighbours import Neighbours, is_standard
from homeostat_agent.reload.newnames import NewClass, NewConstant, NewImport, NewName
from homeostat_agent.reload.spaces import class_dict, module_dict

_MISSING = object()
_STEADY = (type, FunctionType, BuiltinFunctionType, ModuleType)
"""What a name of a module stands for as long as it runs. Any other value may have been another when it was imported."""

_NEVER_IMPORTED = frozenset({"antigravity", "this", "idlelib", "turtledemo", "test", "__main__", "__hello__"})
"""Modules of the standard library that do something when they are imported."""

_METACLASSES = (type, abc.ABCMeta, type(enum.Enum))


class CannotBind(Exception):
    """A name cannot be bound as an import would bind it; the text says why."""


def binding_of(
    item: NewName, load: Load, code: CodeType | None, earlier: list[Binding], neighbours: Neighbours
) -> Binding:
    """Return what is to be bound. `earlier` are bindings of this change that come before.

    `code` is that of the body of a class. Raises `CannotBind`, also where the name is there, whatever it means:
    what the host bound is neither covered nor, at a rollback, taken away.
    """
    if load.module is None:
        raise CannotBind("its name space belongs to no module, so nothing can be added to it")
    space = load.namespace
    if item.name in space:
        raise CannotBind(f"`{item.name}` is there already")
    if isinstance(item, NewConstant):
        return Binding(space, item.name, literal_value(item.node.value))
    if isinstance(item, NewImport):
        return _import_of(item, space, earlier)
    assert code is not None
    names = _Names(space, earlier)
    bases = [names.value_of(base) for base in item.node.bases]
    for base in bases:
        _check_base(base, item, neighbours)
    if item.dataclass_call is not None:
        _check_dataclass(item, names)
    return Binding(space, item.name, make=lambda: _made_class(item, code, space))


def is_bound(item: NewName, space: dict[str, Any], code: CodeType | None, *, as_written: bool) -> bool:
    """Tell whether a name means what an import of the new source would have bound it to.

    What can be changed may have been changed since; with `as_written`, it has to be what it was then.
    """
    value = space.get(item.name, _MISSING)
    if value is _MISSING:
        return False
    if isinstance(item, NewConstant):
        return (is_as_written if as_written else has_value)(value, item.node.value)
    if isinstance(item, NewImport):
        try:
            return _imported(item.node, space) is value
        except CannotBind:
            return False
    assert code is not None
    return (
        isinstance(value, type)
        and value.__module__ == space.get("__name__")
        and value.__qualname__ == item.name
        and _has_methods_of(value, code)
    )


def is_given_otherwise(name: str, space: dict[str, Any], stars: Sequence[ast.ImportFrom]) -> bool:
    """Tell whether a name may be there though no statement binds it: by a submodule, or one of these `import *`."""
    below = f"{space.get('__name__')}.{name}"
    value = space.get(name)
    if below in sys.modules or (issubclass(type(value), ModuleType) and module_dict(value).get("__name__") == below):
        return True
    for star in stars:
        try:
            source = _source_module(star, space)
        except CannotBind:
            return True
        if name in module_dict(source):
            return True
    return False


def _has_methods_of(value: type, code: CodeType) -> bool:
    """Tell whether every method that stands in the body of a class is that of this class."""
    wanted = [inner for inner in children(code) if not inner.co_name.startswith("<")]
    live = [
        function.__code__
        for held in class_dict(value).values()
        for function in (held, *(getattr(held, name, None) for name in ("__func__", "fget", "fset", "fdel")))
        if type(function) is FunctionType
    ]
    return all(any(same_code(inner, code) for code in live) for inner in wanted)


def _import_of(item: NewImport, space: dict[str, Any], earlier: list[Binding]) -> Binding:
    source = _source_module(item.node, space)
    if isinstance(item.node, ast.ImportFrom):
        name = item.node.names[0].name
        for other in earlier:  # the same change adds it there
            if other.holder is module_dict(source) and other.name == name and name not in module_dict(source):
                return Binding(space, item.name, make=functools.partial(getattr, other, "value"))
    return Binding(space, item.name, _imported(item.node, space))


def _imported(node: ast.Import | ast.ImportFrom, space: dict[str, Any]) -> Any:
    alias, source = node.names[0], _source_module(node, space)
    if isinstance(node, ast.Import):
        return source if alias.asname else sys.modules[alias.name.split(".")[0]]
    value = module_dict(source).get(alias.name, _MISSING)
    if value is _MISSING:
        value = sys.modules.get(f"{source.__name__}.{alias.name}", _MISSING)
    if value is _MISSING:
        raise CannotBind(f"`{source.__name__}` has no `{alias.name}` in this process")
    if not issubclass(type(value), _STEADY) and not is_standard(source.__name__):
        raise CannotBind(f"`{alias.name}` of `{source.__name__}` may have been another value at its import")
    return value


def _source_module(node: ast.Import | ast.ImportFrom, space: dict[str, Any]) -> ModuleType:
    """Return the module that an import names: one that is loaded, or one of the standard library."""
    name = node.names[0].name if isinstance(node, ast.Import) else node.module or ""
    if isinstance(node, ast.ImportFrom) and node.level:
        package = space.get("__package__")
        if not isinstance(package, str) or not package:
            raise CannotBind("it has no package that a relative import could go by")
        try:
            name = importlib.util.resolve_name("." * node.level + name, package)
        except (ImportError, ValueError) as error:
            raise CannotBind(str(error)) from error
    found = sys.modules.get(name)
    if found is None and is_standard(name) and name.split(".")[0] not in _NEVER_IMPORTED:
        try:
            found = importlib.import_module(name)
        except Exception as error:  # a part of the library that is not there, or a warning that is an error
            raise CannotBind(f"`{name}` cannot be imported ({type(error).__name__})") from error
    if not isinstance(found, ModuleType):
        raise CannotBind(f"`{name}` is not loaded here, and what its import does is not known")
    if is_importing(module_dict(found)):
        raise CannotBind(f"`{name}` is being imported just now")
    return found


class _Names:
    """Looks dotted names up as a statement of the module would, new names of the same change among them."""

    def __init__(self, space: dict[str, Any], earlier: list[Binding]) -> None:
        self._space = space
        self._new = {binding.name: binding for binding in earlier if binding.holder is space}

    def value_of(self, value: ast.expr) -> Any:
        """Return the value, or the binding of a class that is not made yet."""
        if isinstance(value, ast.Attribute):
            holder = self.value_of(value.value)
            if not isinstance(holder, ModuleType):
                raise CannotBind(f"`{value.attr}` is not looked up in a module")
            found = module_dict(holder).get(value.attr, _MISSING)
        else:
            assert isinstance(value, ast.Name)
            new = self._new.get(value.id)
            if new is not None:
                return new if new.make is not None else new.value
            found = self._space.get(value.id, vars(builtins).get(value.id, _MISSING))
        if found is _MISSING:
            raise CannotBind(f"the running module has no `{ast.unparse(value)}`")
        return found


def _check_base(base: Any, item: NewClass, neighbours: Neighbours) -> None:
    if isinstance(base, Binding):
        return  # a class of the same change, of the same rules
    name = getattr(base, "__qualname__", "?")
    if not isinstance(base, type) or type(base) not in _METACLASSES:
        raise CannotBind(f"the metaclass of `{name}` would have seen the new class")
    own = {part.name for part in item.node.body if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef))}
    for parent in base.__mro__:
        if "__init_subclass__" in class_dict(parent) and parent is not object and parent.__module__ != "enum":
            raise CannotBind(f"`{parent.__qualname__}` looks at new classes")
        standard = is_standard(parent.__module__)
        if isinstance(parent, type(enum.Enum)) and not standard:
            raise CannotBind(f"the members of `{item.name}` would be made by `{parent.__qualname__}`")
        if parent is object:
            continue
        walker = neighbours.that_mentions("__subclasses__", below="" if standard else parent.__module__)
        if walker is not None:
            raise CannotBind(f"{walker} may look at the heirs of `{parent.__qualname__}`")
    if isinstance(base, type(enum.Enum)) and not own.isdisjoint({"__init__", "__new__", "_missing_"}):
        raise CannotBind(f"the members of `{item.name}` would be made by its own methods")


def _check_dataclass(item: NewClass, names: _Names) -> None:
    assert item.dataclass_call is not None
    decorator = item.dataclass_call
    target = decorator.func if isinstance(decorator, ast.Call) else decorator
    if names.value_of(target) is not dataclasses.dataclass:
        raise CannotBind("its decorator is not that of a dataclass")
    for part in item.node.body:
        value = getattr(part, "value", None)
        if isinstance(part, (ast.Assign, ast.AnnAssign)) and isinstance(value, ast.Call):
            if names.value_of(value.func) is not dataclasses.field:
                raise CannotBind("a value of its body is not a field of a dataclass")
            for keyword in value.keywords:
                if isinstance(keyword.value, ast.Name) and not isinstance(names.value_of(keyword.value), type):
                    raise CannotBind("a factory of its body is no type")


def _made_class(item: NewClass, code: CodeType, space: dict[str, Any]) -> type:
    """Make the class that the statement would have made. Its bases are looked up anew: some may be of this change."""
    names = _Names(space, [])
    bases = [names.value_of(base) for base in item.node.bases]
    made: type = builtins.__build_class__(FunctionType(code, space, item.name), item.name, *bases)
    if item.dataclass_call is None:
        return made
    decorator = item.dataclass_call
    given = decorator.keywords if isinstance(decorator, ast.Call) else []
    options = {str(keyword.arg): literal_value(keyword.value) for keyword in given}
    decorated: type = dataclasses.dataclass(**options)(made)
    return decorated
