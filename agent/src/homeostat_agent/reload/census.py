"""What is alive in this process: functions, caches, suspended calls, and modules loaded from given files.

Every function object counts, wherever it is held: name spaces, instances, closures, route tables.
They are found in one of three ways, each a few calls of C code:

- *complete*: all that the garbage collector tracks, filtered by type. Some 60 ms on a heap of a
  million objects, in portions that let other threads in.
- *anchored*: what refers to the dictionary of builtins, as every function does from Python 3.10 on.
  One call finds all of them, in some 15 ms on that heap. It misses only functions that were
  made since the last complete pass in a name space with builtins of its own.
- *young*: what was made since an earlier pass, while the collector has moved nothing out of the
  young generations. That is next to nothing. With what is still alive of that pass (`Memory`), it is everything.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import gc
import os
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR
from itertools import compress, repeat
from operator import attrgetter, is_, is_not, itemgetter
from types import AsyncGeneratorType, CodeType, CoroutineType, FrameType, FunctionType, GeneratorType, ModuleType
from typing import Any, Optional, TypeVar

from homeostat_agent.reload.spaces import module_dict

CacheType = type(functools.lru_cache(maxsize=1)(lambda: None))

_SUSPENDS = CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR
_SUSPENDABLE = ((GeneratorType, "gi_"), (CoroutineType, "cr_"), (AsyncGeneratorType, "ag_"))
_PORTION = 20_000
_ANCHORED = any(item is vars(builtins) for item in gc.get_referents(functools.wraps)) and any(
    item is CacheType for item in gc.get_referents(functools.lru_cache(maxsize=1)(lambda: None))
)
"""Whether functions refer to their builtins, and caches to their type: both do from 3.10 on."""

_file_name = attrgetter("__code__.co_filename")
_is_similar = itemgetter(1)

_STARTUP_FROZEN = 2000
"""3.12 starts with some hundred frozen objects of its own; a host that freezes has many thousands."""


_Item = TypeVar("_Item")


@dataclass
class Load:
    """One name space that functions of a file run in, with those functions that are alive."""

    path: str
    filename: str
    """As it stands in the code objects."""

    namespace: dict[str, Any]
    functions: list[FunctionType] = field(default_factory=list)
    module: ModuleType | None = None
    """The module in `sys.modules` that owns the name space, if one does."""

    @property
    def name(self) -> str:
        return str(self.namespace.get("__name__", "?"))


@dataclass
class Census:
    """Everything found in one pass. Holds strong references: drop it before waiting for anything to die."""

    loads: list[Load]
    elsewhere: list[FunctionType]
    """Functions of files that have the name of a wanted file but are not it."""

    functions: list[FunctionType]
    """All that were found; those of other files are left out where they were remembered (see `complete`)."""

    caches: list[Any]
    suspended: int | None
    """Calls that wait in the code that was asked about; None where it was not looked for."""

    anchors: tuple[Any, ...]
    """What leads to every function and cache (see above); empty where there is no such thing."""

    stamp: tuple[int, ...] | None
    """While `_stamp()` stays the same, whatever was made since is in the young generations."""

    complete: bool = True


class Memory:
    """What a census found, without keeping any of it alive; with what is young it is found again."""

    def __init__(self, census: Census, codes: Sequence[CodeType]) -> None:
        """`codes` are those whose suspended calls will be asked for."""
        found = [function for load in census.loads for function in load.functions]
        self._functions = _weak([*found, *census.elsewhere])
        self._caches = _weak(census.caches)
        self._suspended = _weak(_suspended_calls(codes))
        self._stamp = census.stamp
        self.anchors = census.anchors

    def look(self, files: Files, codes: Sequence[CodeType]) -> Census | None:
        """Return all that a census finds now, but for functions of other files; None where that cannot be known."""
        stamp = _stamp()
        functions, caches = _of_generations((0, 1))
        waiting = _suspended_among(_objects_of((0, 1)), codes) if any(map(_can_suspend, codes)) else []
        if stamp is None or stamp != self._stamp or stamp != _stamp():
            return None
        functions = _each_once([*_alive(self._functions), *functions])
        caches = _each_once([*_alive(self._caches), *caches])
        wanted = set(map(id, codes))
        count = sum(map(_waits, _each_once([*_alive(self._suspended), *waiting]), repeat(wanted)))
        loads, elsewhere = _sorted_by_file(functions, files)
        _add_modules(loads, files)
        found = list(loads.values())
        return Census(found, elsewhere, functions, caches, count, self.anchors, stamp, complete=False)


def _weak(items: Iterable[_Item]) -> list[weakref.ref[_Item]]:
    return list(map(weakref.ref, items))


def _alive(references: list[weakref.ref[_Item]]) -> list[_Item]:
    return [item for item in (reference() for reference in references) if item is not None]


def _each_once(items: list[_Item]) -> list[_Item]:
    return list(dict(zip(map(id, items), items)).values())  # noqa: B905  3.9 has no `strict`


class _Meanings(dict[str, tuple[Optional[str], bool]]):
    """For each file name: the wanted path that it means, and whether it is at least named like one."""

    def __init__(self, classify: Callable[[str], tuple[str | None, bool]]) -> None:
        super().__init__()
        self._classify = classify

    def __missing__(self, filename: str) -> tuple[str | None, bool]:
        found = self[filename] = self._classify(filename)
        return found


class Files:
    """Tells which wanted file of the repository a file name means.

    `real_paths` is a cache that outlives this object: what a name meant when its code was loaded.
    """

    def __init__(self, repository: str, paths: tuple[str, ...], real_paths: dict[str, str]) -> None:
        self._real_paths = real_paths
        self._by_real = {os.path.realpath(os.path.join(repository, path)): path for path in paths}
        self._basenames = {os.path.basename(real) for real in self._by_real}
        self._basenames |= {os.path.basename(path) for path in paths}
        self._meanings = _Meanings(self._classify)

    @property
    def real(self) -> list[str]:
        """Where the wanted files really lay when this was made."""
        return list(self._by_real)

    def path_of(self, filename: str) -> str | None:
        """Return the wanted path that the file name means."""
        return self._meanings[filename][0]

    def pick(self, items: list[_Item], filenames: Iterable[str]) -> list[_Item]:
        """Return those items whose file is wanted, or is at least named like one. `filenames` stand beside them."""
        return list(compress(items, map(_is_similar, map(self._meanings.__getitem__, filenames))))

    def _classify(self, filename: str) -> tuple[str | None, bool]:
        found = None if filename.startswith("<") else self._find(filename)
        return found, found is not None or os.path.basename(filename) in self._basenames

    def _find(self, filename: str) -> str | None:
        real = self._real_paths.get(filename)
        if real is None:
            real = self._real_paths[filename] = self._real_path(filename)
        found = self._by_real.get(real)
        if found is None and not os.path.isabs(filename) and not os.path.exists(filename):
            # Compiled under a relative name, and the host has changed its folder since. Taking it
            # for the file is safe: what it loaded is verified; missing it would leave stale code.
            tail = os.sep + os.path.normpath(filename)
            matching = [path for real, path in self._by_real.items() if real.endswith(tail)]
            found = matching[0] if len(matching) == 1 else None
        return found

    def _real_path(self, filename: str) -> str:
        # Every look at the disk lets the host's threads in, and a process has a thousand file names in
        # a hundred folders: each folder is resolved once.
        if not os.path.isabs(filename) or os.path.islink(filename):
            return os.path.realpath(filename)
        folder, name = os.path.split(filename)
        real = self._real_paths.get(folder + os.sep)
        if real is None:
            real = self._real_paths[folder + os.sep] = os.path.realpath(folder)
        return os.path.normpath(os.path.join(real, name))


def take_census(
    files: Files, *, since: Census | None = None, anchors: tuple[Any, ...] = (), codes: Sequence[CodeType] = ()
) -> Census:
    """Look through the process once. Functions made by other threads meanwhile may be missed.

    With `since`, at least everything made after that census began is looked at; with `anchors` (of
    an earlier census of the same files) everything is, by the anchored way; else by the complete one.
    """
    stamp = _stamp()
    waiting = None
    if since is not None and stamp is not None and since.stamp == stamp:
        functions, caches = _of_generations((0, 1))
    elif anchors:
        with _thawed():
            found = gc.get_referrers(*anchors, *filter(_can_suspend, codes))
        functions, others = _functions_and_others(found)
        caches = _of_type(others, CacheType)
        waiting = len(_suspended_among(others, codes)) if codes else None
        del found, others
    else:
        functions, caches = _of_generations((0, 1, 2))
    loads, elsewhere = _sorted_by_file(functions, files)
    if loads or since is None:  # a module without functions of its own does not come up between two looks
        _add_modules(loads, files)
    found_loads = list(loads.values())
    return Census(found_loads, elsewhere, functions, caches, waiting, anchors or _anchors_of(found_loads), stamp)


def suspended(codes: Sequence[CodeType]) -> int:
    """Count generators and coroutines that wait in one of these code objects, begun and not ended."""
    return len(_suspended_calls(codes))


def _suspended_calls(codes: Sequence[CodeType]) -> list[Any]:
    able = list(filter(_can_suspend, codes))
    if not able:  # most functions: the whole heap need not be looked through for them
        return []
    with _thawed():
        return _suspended_among(gc.get_referrers(*able), able)


def _can_suspend(code: CodeType) -> bool:
    return bool(code.co_flags & _SUSPENDS)


def _suspended_among(holders: list[Any], codes: Sequence[CodeType]) -> list[Any]:
    wanted = set(map(id, codes))
    return [item for kind, _ in _SUSPENDABLE for item in _of_type(holders, kind) if _waits(item, wanted)]


def _waits(item: Any, wanted: set[int]) -> bool:
    prefix = next(prefix for kind, prefix in _SUSPENDABLE if type(item) is kind)
    return id(getattr(item, prefix + "code")) in wanted and getattr(item, prefix + "frame") is not None


def running(codes: set[int]) -> int:
    """Count frames on the stacks of all threads that run one of these code objects (given by `id`)."""
    count = 0
    frame: FrameType | None
    # Popped, and not kept in a second variable: one of them is this very frame, and a circle of it with itself
    # would keep alive what all callers hold until the next collection.
    frames = list(sys._current_frames().values())
    while frames:
        frame = frames.pop()
        while frame is not None:
            count += id(frame.f_code) in codes
            frame = frame.f_back
    return count


def is_quiet(codes: Sequence[CodeType]) -> bool:
    """Tell whether no call runs or waits on any of these code objects."""
    return running(set(map(id, codes))) == 0 and suspended(codes) == 0


def is_importing(namespace: dict[str, Any]) -> bool:
    """Tell whether this module's top level is running at the moment."""
    return bool(getattr(namespace.get("__spec__"), "_initializing", False))


def has_gil() -> bool:
    """Tell whether one lock covers all threads: without it an exchange is not atomic."""
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


def keeps_generations() -> bool:
    """Tell whether what was made since a census can be told by its generation."""
    return _stamp() is not None


def _stamp() -> tuple[int, ...] | None:
    # An object gets into the oldest generation only by a collection of the one before it or of all.
    # From 3.14 the generations mean something else; and freezing moves everything at once.
    if sys.version_info >= (3, 14) or gc.get_freeze_count() > _STARTUP_FROZEN:
        return None
    return tuple(item["collections"] for item in gc.get_stats()[1:])


def _of_generations(generations: tuple[int, ...]) -> tuple[list[FunctionType], list[Any]]:
    functions: dict[int, FunctionType] = {}
    caches: dict[int, Any] = {}
    with _thawed():
        # Youngest first: an object that grows older meanwhile is met again, not missed. The young
        # generations are small, so short-lived objects of the host are held only for a moment.
        for generation in generations:
            items = gc.get_objects(generation=generation)
            # C code alone is some three times as fast as a loop here, but lets nobody in, so it
            # gets small portions (about a millisecond).
            for start in range(0, len(items), _PORTION):
                part = items[start : start + _PORTION]
                found, others = _functions_and_others(part)
                functions.update(zip(map(id, found), found))  # noqa: B905  3.9 has no `strict`
                kept = _of_type(others, CacheType)
                caches.update(zip(map(id, kept), kept))  # noqa: B905
            del items
    return list(functions.values()), list(caches.values())


def _objects_of(generations: tuple[int, ...]) -> list[Any]:
    # No list of ours is there before the first is asked for: it would be among the objects, hold itself and so all.
    if not generations:
        return []
    found = gc.get_objects(generation=generations[0])
    return found + _objects_of(generations[1:])


def _anchors_of(loads: list[Load]) -> tuple[Any, ...]:
    if not _ANCHORED:
        return ()
    own = {id(space): space for load in loads for space in map(attrgetter("__builtins__"), load.functions)}
    own.pop(id(vars(builtins)), None)
    return (vars(builtins), CacheType, *own.values())


@contextlib.contextmanager
def _thawed() -> Iterator[None]:
    # A host that forks after `gc.freeze()` has put its functions where no pass sees them. They are
    # thawed for the pass and frozen again; a cycle that is garbage just now then stays, once.
    frozen = gc.get_freeze_count() > _STARTUP_FROZEN
    if frozen:
        gc.unfreeze()
    try:
        yield
    finally:
        if frozen:
            gc.freeze()


def _functions_and_others(items: list[Any]) -> tuple[list[FunctionType], list[Any]]:
    types = list(map(type, items))
    # As one step: between two, another thread may have its turn.
    functions, others = map(
        list,
        (
            compress(items, map(is_, types, repeat(FunctionType))),
            compress(items, map(is_not, types, repeat(FunctionType))),
        ),
    )
    return functions, others


def _of_type(items: list[Any], kind: type) -> list[Any]:
    # Types are compared by identity: a metaclass may define equality.
    return list(compress(items, map(is_, map(type, items), repeat(kind))))


def _sorted_by_file(
    functions: list[FunctionType], files: Files
) -> tuple[dict[tuple[int, str], Load], list[FunctionType]]:
    loads: dict[tuple[int, str], Load] = {}
    elsewhere = []
    for function in files.pick(functions, map(_file_name, functions)):
        name = function.__code__.co_filename
        path = files.path_of(name)
        if path is None:
            elsewhere.append(function)
            continue
        space = function.__globals__
        load = loads.setdefault((id(space), name), Load(path, name, space))
        load.functions.append(function)
    return loads, elsewhere


def _add_modules(loads: dict[tuple[int, str], Load], files: Files) -> None:
    """Note which module owns which name space, and the modules of the files that have no function alive."""
    modules = list(sys.modules.copy().values())
    # A stand-in that is no module may run host code when looked at.
    modules = list(compress(modules, map(issubclass, map(type, modules), repeat(ModuleType))))
    origins: list[Any] = [space.get("__file__") if space is not None else None for space in map(module_dict, modules)]
    has_file = list(map(isinstance, origins, repeat(str)))
    for module in files.pick(list(compress(modules, has_file)), compress(origins, has_file)):
        space = module_dict(module)
        origin = space["__file__"]
        path = files.path_of(origin)
        if path is None:
            continue
        owned = [load for (space_id, _), load in loads.items() if space_id == id(space) and load.path == path]
        for load in owned or [loads.setdefault((id(space), origin), Load(path, origin, space))]:
            load.module = module
