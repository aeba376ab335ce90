"""Annotations and docstrings in the process: whose are there, what takes their place, and who may have read them.

Those of functions, classes and modules. Under a canary they stay as they are: both arms have one set of them, and
what was promoted gets the new ones. The docstring of a function goes with its code (`work`).
"""

from __future__ import annotations

import abc
import ast
import enum
import gc
from collections.abc import Callable, Mapping
from types import CellType, FunctionType, GetSetDescriptorType, MemberDescriptorType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from homeostat_agent.reload.annotations import (
    ChangedVariable,
    evaluated,
    evaluated_variable,
    names_in_annotations,
    same_annotations,
)
from homeostat_agent.reload.census import Census, Load
from homeostat_agent.reload.defaults import READ_SIGNATURES
from homeostat_agent.reload.docstrings import READ_DOCSTRINGS, ChangedDocstring, kept_docstring
from homeostat_agent.reload.exchange import Value
from homeostat_agent.reload.holders import bound_value, maker_obstacle
from homeostat_agent.reload.outline import FunctionOutline, annotations_of
from homeostat_agent.reload.spaces import class_dict
from homeostat_agent.reload.values import LOOK_AT_NOTHING, NEW, OLD, OTHER, looked_at

if TYPE_CHECKING:
    from homeostat_agent.reload.work import Target, Work

EITHER = "either"
"""Both sources give the same, as far as can be told."""

_PLAIN = (type, abc.ABCMeta)
_TELL_WHAT_THEY_ARE = (type, abc.ABCMeta, type(enum.Enum))


class _Given(NamedTuple):
    """What a source gives, and the names that it takes for that; `make` goes by those of the module and those given."""

    make: Callable[[Mapping[str, Any]], Any]
    uses: set[str]


class _Told(NamedTuple):
    """One docstring, one annotation or one set of them."""

    qualname: str
    what: str
    holder: Any
    """None where there is none that could take another."""

    name: str
    sources: tuple[_Given, _Given]

    @property
    def value(self) -> Value:
        return Value(self.holder, self.name, None, None)

    @property
    def side(self) -> str:
        """Tell whose is there: that of the old source, of the new, of both, or of neither."""
        if self.holder is None:
            return OTHER
        present = self.value.present
        is_old, is_new = (_is_given(present, source) for source in self.sources)
        return EITHER if is_old and is_new else OLD if is_old else NEW if is_new else OTHER


def _is_given(present: Any, source: _Given) -> bool:
    try:
        return same_annotations(present, source.make({}))
    except Exception:  # evaluating runs subscripts of the host's objects, and a new name may not be bound yet
        return False


def describe(load: Load, target: Target, census: Census, work: Work, *, routed: bool) -> None:
    """Plan the new annotations and docstrings of a name space; after its new names, which they may name.

    With `routed` what stands against them is noted, and no more.
    """
    different = target.differences
    alive = target.alive(load, different.annotated)
    functions = [function for function, _, _ in alive]
    ours = [work.exchange.functions, functions, alive, *alive]
    seen = looked_at(functions, load, census, ours, target.neighbours, harmless=(property,))
    for function, before, after in alive:
        reason = seen.get(id(function), "")
        if sum(other is after for _, _, other in alive) > 1:
            reason = "there are several of it"
        _give(_function(function, before, after, different.texts, load), reason, load, work, routed=routed)
    for item in different.variables:
        _give(_variable(item, different.texts, load), _variable_obstacle(item, load, target), load, work, routed=routed)
    for told in different.docstrings:
        _give(_docstring(told, load), _docstring_obstacle(told, load, target), load, work, routed=routed)
    for other, outline, function in work.added:
        if other is load and annotations_of(outline.node):
            source = _of_function(outline, different.texts[1], load)
            made = _Told(outline.qualname, "annotations", function, "__annotations__", (source, source))
            _plan(made, load, work, routed=False, named=False)


def describe_back(load: Load, target: Target, work: Work) -> None:
    """Plan the old annotations and docstrings where the new ones are."""
    different = target.differences
    alive = target.alive(load, different.annotated)
    for told in [
        *(_function(function, before, after, different.texts, load) for function, before, after in alive),
        *told_of_scopes(different.variables, different.docstrings, different.texts, load),
    ]:
        if told.side != NEW:
            continue
        where = f"{load.name}:{told.qualname}"
        try:
            old = told.sources[0].make({})
            work.exchange.values.extend(
                Value(holder, told.name, Value(holder, told.name, None, None).present, old, where)
                for holder in _with_wrapper(told, load)
            )
            work.names.append(where)
        except Exception as error:  # as above
            work.stays.append(f"{where}: its {told.what} cannot be evaluated ({type(error).__name__})")


def told_of_scopes(
    variables: list[ChangedVariable], docstrings: list[ChangedDocstring], texts: tuple[bool, bool], load: Load
) -> list[_Told]:
    """Return what a module and its classes have of these."""
    return [*(_variable(item, texts, load) for item in variables), *(_docstring(item, load) for item in docstrings)]


def side_of_annotations(
    function: FunctionType, old: FunctionOutline, new: FunctionOutline, texts: tuple[bool, bool], load: Load
) -> str:
    """Tell whose annotations a function has."""
    return _function(function, old, new, texts, load).side


def _give(told: _Told, reason: str, load: Load, work: Work, *, routed: bool) -> None:
    side = told.side
    if side in (NEW, EITHER):
        return
    if side == OTHER and not reason:
        reason = "it is another than its source gives"
    if reason:
        work.restart.append(f"{load.name}:{told.qualname}: its {told.what} changed, and {reason}")
        return
    _plan(told, load, work, routed=routed)


def _plan(told: _Told, load: Load, work: Work, *, routed: bool, named: bool = True) -> None:
    where, source = f"{load.name}:{told.qualname}", told.sources[1]
    bound = [binding for binding in work.exchange.bindings if binding.holder is load.namespace]
    # A class of the same change is made with the exchange; until then another one stands for it.
    names = {item.name: item.value if item.make is None else type(item.name, (), {}) for item in bound}
    try:
        new = source.make(names)
    except Exception as error:  # as above
        work.restart.append(f"{where}: its {told.what} cannot be evaluated ({type(error).__name__})")
        return
    if routed:
        return
    late = any(item.make is not None and item.name in source.uses for item in bound)
    make = (lambda: source.make({})) if late else None
    work.exchange.values.extend(
        Value(holder, told.name, Value(holder, told.name, None, None).present, new, where, make)
        for holder in _with_wrapper(told, load)
    )
    if named:
        work.names.append(where)


def _with_wrapper(told: _Told, load: Load) -> list[Any]:
    """Return what holds it, and the names of a static or class method, which has its annotations from the function."""
    wrapper = bound_value(load.namespace, told.qualname.split(".")) if type(told.holder) is FunctionType else None
    if isinstance(wrapper, (staticmethod, classmethod)) and wrapper.__func__ is told.holder:
        space: dict[str, Any] = getattr(wrapper, "__dict__", {})
        return [told.holder, space] if told.name in space else [told.holder]
    return [told.holder]


def _function(
    function: FunctionType, old: FunctionOutline, new: FunctionOutline, texts: tuple[bool, bool], load: Load
) -> _Told:
    sources = (_of_function(old, texts[0], load), _of_function(new, texts[1], load))
    return _Told(new.qualname, "annotations", function, "__annotations__", sources)


def _of_function(item: FunctionOutline, as_text: bool, load: Load) -> _Given:
    uses = set() if as_text else names_in_annotations(list(annotations_of(item.node).values()))
    own = _names_of_class(load, item.qualname, uses)
    return _Given(
        lambda names: evaluated(item.node, as_text=as_text, namespace=load.namespace, names={**names, **own}), uses
    )


def _names_of_class(load: Load, qualname: str, names: set[str]) -> dict[str, Any]:
    """Return what the body of the class around a definition gives these names."""
    owner = bound_value(load.namespace, qualname.split(".")[:-1]) if "." in qualname else None
    space: Any = class_dict(owner) if isinstance(owner, type) else {}
    return {name: space[name] for name in names if name in space}


def _variable(item: ChangedVariable, texts: tuple[bool, bool], load: Load) -> _Told:
    space: Any = load.namespace if load.module is not None else {}
    if item.owners is not None:
        owner = bound_value(load.namespace, item.owners[1].qualname.split("."))
        space = class_dict(owner) if isinstance(owner, type) else {}
    held = space.get("__annotations__")
    holder = held if type(held) is dict and item.name in held else None
    old, new = (_of_variable(node, item.qualname, as_text, load) for node, as_text in item.given(texts))
    return _Told(item.qualname, "annotation", holder, item.name, (old, new))


def _of_variable(node: ast.AnnAssign, qualname: str, as_text: bool, load: Load) -> _Given:
    uses = set() if as_text else names_in_annotations([node.annotation])
    own = _names_of_class(load, qualname, uses)
    return _Given(
        lambda names: evaluated_variable(node, as_text=as_text, namespace=load.namespace, names={**names, **own}), uses
    )


def _docstring(item: ChangedDocstring, load: Load) -> _Told:
    holder: Any = load.namespace if load.module is not None else None
    if item.owners is not None:
        holder = bound_value(load.namespace, item.qualname.split("."))
        holder = holder if isinstance(holder, type) else None
    return _Told(item.qualname, "docstring", holder, "__doc__", (_of_text(item.old), _of_text(item.new)))


def _of_text(written: str | None) -> _Given:
    kept = kept_docstring(written)
    return _Given(lambda _: kept, set())


def _docstring_obstacle(item: ChangedDocstring, load: Load, target: Target) -> str:
    """Say who may have read the docstring of a module or class, or makes one of his own."""
    if item.owners is not None:
        owner = bound_value(load.namespace, item.qualname.split("."))
        reason = maker_obstacle(owner, load.name, item.qualname, _TELL_WHAT_THEY_ARE)
        if reason:
            return reason
        if None in (item.old, item.new) and (isinstance(owner, type(enum.Enum)) or _is_named_tuple(owner)):
            return f"`{item.qualname}` has one where none is written"
    reader = target.neighbours.that_uses(READ_DOCSTRINGS, but=load.name)
    return f"{reader} reads docstrings" if reader else ""


def _variable_obstacle(item: ChangedVariable, load: Load, target: Target) -> str:
    """Say who may have read the annotation of a variable of a module or class."""
    reader = target.neighbours.that_uses(READ_SIGNATURES)
    if reader:
        return f"{reader} looks at signatures"
    if item.owners is None:
        return ""
    qualname = item.owners[1].qualname
    owner = bound_value(load.namespace, qualname.split("."))
    reason = maker_obstacle(owner, load.name, qualname, _PLAIN)
    if reason:
        return reason
    if _is_named_tuple(owner) or "__dataclass_fields__" in class_dict(owner):
        return f"`{qualname}` was made of it"
    heirs: list[type] = type.__subclasses__(owner)
    if heirs:
        return f"`{heirs[0].__qualname__}`, which is made of `{qualname}`, may have read it"
    holder = _holder_of_class(owner, load)
    return f"a {holder} holds `{qualname}` that may have read it" if holder else ""


def _is_named_tuple(owner: type) -> bool:
    return tuple in owner.__bases__ and "_fields" in class_dict(owner)


def _holder_of_class(owner: type, load: Load) -> str:
    """Return the type of what holds a class otherwise than Python itself and the names of modules and classes do."""
    usual = (*LOOK_AT_NOTHING, CellType, GetSetDescriptorType, MemberDescriptorType)
    for holder in gc.get_referrers(owner):
        kind = type(holder)
        if kind in usual or kind is owner or holder is owner.__mro__ or holder is load.namespace:
            continue
        # Names of a module or class; annotations of a function.
        above = gc.get_referrers(holder) if kind in (dict, tuple) else []
        if any(type(item) is FunctionType or issubclass(type(item), (ModuleType, type)) for item in above):
            continue
        return kind.__name__
    return ""
