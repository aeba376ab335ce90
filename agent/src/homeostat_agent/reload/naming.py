"""Added functions and other new names in one name space: what is bound, what is in the way, and what is taken back.

A change owns the names that it bound, and no others. A name that is there otherwise (a submodule, a star import, what
the host set) is neither covered nor, at a rollback, taken away.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Sequence
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from homeostat_agent.reload.additions import attribute_name, make_function
from homeostat_agent.reload.bindings import CannotBind, binding_of, is_bound, is_given_otherwise
from homeostat_agent.reload.census import Load
from homeostat_agent.reload.change import Change
from homeostat_agent.reload.exchange import Binding
from homeostat_agent.reload.holders import bound_value, class_obstacle
from homeostat_agent.reload.match import same_code
from homeostat_agent.reload.neighbours import Watch
from homeostat_agent.reload.newnames import NewName
from homeostat_agent.reload.onlookers import onlooker
from homeostat_agent.reload.outline import ClassOutline
from homeostat_agent.reload.spaces import class_dict

if TYPE_CHECKING:
    from homeostat_agent.reload.work import Returned, Target, Work


_mro_of = type.__dict__["__mro__"].__get__


def old_texts(change: Change, repository: str) -> dict[str, str]:
    """Return the old sources of a change by real path: what the statements of its modules ran from."""
    return {os.path.realpath(os.path.join(repository, item.path)): item.old_source for item in change.modules}


def stars_of(sources: tuple[str, str]) -> list[ast.ImportFrom]:
    """Return each `from ... import *` of both sources of a module."""
    nodes = [node for source in sources if "*" in source for node in ast.walk(ast.parse(source.lstrip("\ufeff")))]
    return [node for node in nodes if isinstance(node, ast.ImportFrom) and node.names[0].name == "*"]


def add_functions(load: Load, target: Target, work: Work) -> None:
    watch = _Watching(load, target)
    for owner, item in target.differences.added:
        holder, name = _holder(load, owner), attribute_name(owner, item)
        code = target.pairing.added[item.qualname]
        where = f"{load.name}:{item.qualname}"
        if load.module is None:
            work.restart.append(f"{where}: its name space belongs to no module, so nothing can be added to it")
            continue
        if owner is not None:
            reason = class_obstacle(holder, load.name, owner.qualname, name)
            if reason:
                work.restart.append(f"{where}: {reason}")
                continue
        value = _bound(holder, name)
        if _is_of_new_source(value, load, code):
            continue
        if value is not None or _has(holder, name):
            work.restart.append(f"{where}: `{name}` is there already")
            continue
        missed = watch.missed(name, is_member=owner is not None)
        if missed:
            work.restart.append(f"{where}: a new name, and {missed}")
            continue
        kept = watch.kept(name) if isinstance(holder, type) and is_inherited(name, holder) else ""
        if kept:
            work.restart.append(f"{where}: takes the place of what is inherited, and {kept}")
            continue
        assert holder is not None
        function = make_function(
            item, code, namespace=load.namespace, owner=holder if isinstance(holder, type) else None
        )
        work.added.append((load, item, function))
        work.exchange.bindings.append(Binding(holder, name, function))
        work.names.append(where)


def bind_names(naming: Sequence[tuple[Load, Target, bool]], work: Work) -> None:
    """Add the other new names of all modules, each given with whether it runs the old source.

    One module may import what another one gets, and they come in no order: a module that lacks something is tried again
    as long as others get on. Each must have all its names at once: two that lack something of each other could not be
    imported either.
    """
    left = list(naming)
    while left:
        lacking, reasons = [], []
        for load, target, runs_old in left:
            found, lacks = _names_of(load, target, work, runs_old=runs_old)
            if lacks:
                lacking.append((load, target, runs_old))
                reasons.extend(lacks)
                continue
            work.exchange.bindings.extend(found)
            work.names.extend(f"{load.name}:{binding.name}" for binding in found)
        if len(lacking) == len(left):
            work.restart.extend(reasons)
            return
        left = lacking


def _names_of(load: Load, target: Target, work: Work, *, runs_old: bool) -> tuple[list[Binding], list[str]]:
    """Return the bindings of one module's new names, and what is in the way of others."""
    watch = _Watching(load, target)
    found: list[Binding] = []
    lacks = []
    for item in target.differences.names:
        where = f"{load.name}:{item.name}"
        code = target.pairing.added.get(item.name)
        if is_own(item.name, load, work) or (not runs_old and _came_with_it(item, load, code, target)):
            continue
        try:
            binding = binding_of(item, load, code, [*work.exchange.bindings, *found], target.neighbours)
        except CannotBind as error:
            lacks.append(f"{where}: {error}")
            continue
        missed = watch.missed(item.name)
        if missed:
            lacks.append(f"{where}: a new name, and {missed}")
        else:
            found.append(binding)
    return found, lacks


def _came_with_it(item: NewName, load: Load, code: CodeType | None, target: Target) -> bool:
    """Tell whether a name is as the new source binds it and nothing else explains it, where no function tells."""
    return is_bound(item, load.namespace, code, as_written=True) and not is_given_otherwise(
        item.name, load.namespace, target.stars
    )


def bindings_to_remove(load: Load, target: Target, returned: Returned, work: Work) -> list[Binding]:
    """Return the added names of this name space that go with the change; what cannot go is noted in `work`.

    Those that this change bound do. Of others only those that were there from the start of a module that was loaded
    from the new source, and that nothing else explains: what the host had, it keeps.
    """
    found = []
    watch = _Watching(load, target)
    for owner, item in target.differences.added:
        holder, name = _holder(load, owner), attribute_name(owner, item)
        value = _bound(holder, name)
        if _is_of_new_source(value, load, target.pairing.added[item.qualname]):
            assert holder is not None
            found.append(Binding(holder, name, value))
            work.stays.extend(watch.notes(name, item.qualname, is_member=owner is not None))
    touched = any(binding.holder is load.namespace for binding in work.bound)
    read_new = not touched and _reads_new(load, target, returned)
    for new in target.differences.names:
        if is_own(new.name, load, work):
            work.stays.extend(watch.notes(new.name, new.name))
            continue  # taken back with all that the change bound
        if not is_bound(new, load.namespace, target.pairing.added.get(new.name), as_written=False):
            continue
        notes = watch.notes(new.name, new.name)
        if notes or not read_new or is_given_otherwise(new.name, load.namespace, target.stars):
            work.stays.extend(notes or [f"{load.name}:{new.name}: it stays, as the host may have had it before"])
        else:
            found.append(Binding(load.namespace, new.name, load.namespace[new.name]))
    return found


def is_own(name: str, load: Load, work: Work) -> bool:
    """Tell whether a name of this name space means what this change bound it to."""
    return any(binding.is_at(load.namespace, name) for binding in work.bound)


def _reads_new(load: Load, target: Target, returned: Returned) -> bool:
    """Tell whether functions show that the module was loaded from the new source, and not brought to it."""
    if any(id(function) in returned for function in load.functions):
        return False
    standings = [target.standing(target.routes.new_of(function.__code__)) for function in load.functions]
    return any(standing.old is None and standing.new is not None for standing in standings)


def _is_of_new_source(value: Any, load: Load, code: CodeType) -> bool:
    return isinstance(value, FunctionType) and value.__globals__ is load.namespace and same_code(value.__code__, code)


def is_inherited(name: str, owner: type) -> bool:
    """Tell whether a class, or an heir of it, has something by a name that the class itself does not bind."""
    kinds: list[type] = [owner]
    for kind in kinds:
        heirs: list[type] = type.__subclasses__(kind)
        kinds.extend(heir for heir in heirs if all(heir is not known for known in kinds))
    return any(name in class_dict(base) for kind in kinds for base in _mro_of(kind) if base is not owner)


class _Watching:
    """Asks what other modules may have met of one; reads their sources only where it is asked."""

    def __init__(self, load: Load, target: Target) -> None:
        self._load, self._target = load, target
        self._watch: Watch | None = None

    def missed(self, name: str, *, is_member: bool = False) -> str:
        return self._asked().missed(name, is_member=is_member)

    def kept(self, name: str) -> str:
        """Say who may hold what was inherited by this name so far: a module of the repository, or this one."""
        if name in onlooker(self._target.sources[0]).kept:
            return f"{self._load.name} may keep a `{name}`"
        return self._asked().kept(name)

    def _asked(self) -> Watch:
        if self._watch is None:
            self._watch = self._target.neighbours.watch(self._load, self._target.texts)
        return self._watch

    def notes(self, name: str, qualname: str, *, is_member: bool = False) -> list[str]:
        """Return what a rollback is to say of a name that others may have met."""
        reason = self.missed(name, is_member=is_member)
        return [f"{self._load.name}:{qualname}: {reason}"] if reason else []


def _holder(load: Load, owner: ClassOutline | None) -> dict[str, Any] | type | None:
    if owner is None:
        return load.namespace
    value = bound_value(load.namespace, owner.qualname.split("."))
    return value if isinstance(value, type) else None


def _has(holder: dict[str, Any] | type | None, name: str) -> bool:
    return holder is not None and name in (holder if isinstance(holder, dict) else vars(holder))


def _bound(holder: dict[str, Any] | type | None, name: str) -> Any:
    if holder is None:
        return None
    return holder.get(name) if isinstance(holder, dict) else vars(holder).get(name)
