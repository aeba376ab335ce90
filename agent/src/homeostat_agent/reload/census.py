"""What is alive in this process: functions, caches, suspended calls, and modules loaded from given files.

One pass over what the garbage collector tracks finds every function object, wherever it is held:
name spaces, instances, closures, route tables. On a heap of a million objects `gc.get_objects`
holds the interpreter for some 15 ms, as `gc.get_referrers` does for one target; the latter's cost
grows with the number of targets, and a change has many (all functions below it in the file move).
The filter after it lets other threads in.
"""

from __future__ import annotations

import functools
import gc
import os
import sys
from dataclasses import dataclass, field
from itertools import compress
from types import AsyncGeneratorType, CodeType, CoroutineType, FrameType, FunctionType, GeneratorType, ModuleType
from typing import Any

CacheType = type(functools.lru_cache(maxsize=1)(lambda: None))

_WANTED_TYPES = frozenset(map(id, (FunctionType, CoroutineType, GeneratorType, AsyncGeneratorType, CacheType)))
_PORTION = 20_000

_STARTUP_FROZEN = 2000
"""3.12 starts with some hundred frozen objects of its own; a host that freezes has many thousands."""


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
    caches: list[Any]
    suspended: list[CodeType]
    """Code of generators and coroutines that have begun and not ended."""

    stamp: tuple[int, ...] | None
    """While `_stamp()` stays the same, whatever was made since is in the young generations."""


class Files:
    """Tells which wanted file of the repository a file name means.

    `real_paths` is a cache that outlives this object: what a name meant when its code was loaded.
    """

    def __init__(self, repository: str, paths: tuple[str, ...], real_paths: dict[str, str]) -> None:
        self._real_paths = real_paths
        self._by_real = {os.path.realpath(os.path.join(repository, path)): path for path in paths}
        self._basenames = {os.path.basename(real) for real in self._by_real}
        self._basenames |= {os.path.basename(path) for path in paths}
        self._known: dict[str, tuple[str | None, bool]] = {}

    def path_of(self, filename: str) -> str | None:
        return self.classify(filename)[0]

    def classify(self, filename: str) -> tuple[str | None, bool]:
        """Return the wanted path that the file name means, and whether it is at least named like one."""
        known = self._known.get(filename)
        if known is None:
            found = self._find(filename)
            known = self._known[filename] = (found, os.path.basename(filename) in self._basenames)
        return known

    def _find(self, filename: str) -> str | None:
        real = self._real_paths.get(filename)
        if real is None:
            real = self._real_paths[filename] = os.path.realpath(filename)
        found = self._by_real.get(real)
        if found is None and not os.path.isabs(filename) and not os.path.exists(filename):
            # Compiled under a relative name, and the host has changed its folder since. Taking it
            # for the file is safe: what it loaded is verified; missing it would leave stale code.
            tail = os.sep + os.path.normpath(filename)
            matching = [path for real, path in self._by_real.items() if real.endswith(tail)]
            found = matching[0] if len(matching) == 1 else None
        return found


def take_census(files: Files, *, since: Census | None = None) -> Census:
    """Look through the process once. Functions made by other threads meanwhile may be missed.

    With `since`, at least everything made after that census began is looked at, and where the
    collector's state allows it not much more: that takes a small part of the time.
    """
    stamp = _stamp()
    young_only = since is not None and stamp is not None and since.stamp == stamp
    functions, caches, suspended = _alive((0, 1) if young_only else (0, 1, 2))
    loads: dict[tuple[int, str], Load] = {}
    elsewhere = []
    for function in functions:
        filename = function.__code__.co_filename
        path, is_similar = files.classify(filename)
        if path is not None:
            space = function.__globals__
            load = loads.setdefault((id(space), filename), Load(path, filename, space))
            load.functions.append(function)
        elif is_similar:
            elsewhere.append(function)
    for module in sys.modules.copy().values():
        if not issubclass(type(module), ModuleType):  # a stand-in may run host code when looked at
            continue
        space = vars(module)
        origin = space.get("__file__")
        if not isinstance(origin, str):
            continue
        path = files.path_of(origin)
        if path is None:
            continue
        owned = [load for (space_id, _), load in loads.items() if space_id == id(space) and load.path == path]
        for load in owned or [loads.setdefault((id(space), origin), Load(path, origin, space))]:
            load.module = module
    return Census(list(loads.values()), elsewhere, functions, caches, suspended, stamp)


def running(codes: set[int]) -> int:
    """Count frames on the stacks of all threads that run one of these code objects (given by `id`)."""
    count = 0
    for top in sys._current_frames().values():
        frame: FrameType | None = top
        while frame is not None:
            count += id(frame.f_code) in codes
            frame = frame.f_back
    return count


def is_importing(namespace: dict[str, Any]) -> bool:
    """Tell whether this module's top level is running at the moment."""
    return bool(getattr(namespace.get("__spec__"), "_initializing", False))


def has_gil() -> bool:
    """Tell whether one lock covers all threads: without it an exchange is not atomic."""
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


def _stamp() -> tuple[int, ...] | None:
    # An object gets into the oldest generation only by a collection of the one before it or of all.
    # From 3.14 the generations mean something else; and freezing moves everything at once.
    if sys.version_info >= (3, 14) or gc.get_freeze_count() > _STARTUP_FROZEN:
        return None
    return tuple(item["collections"] for item in gc.get_stats()[1:])


def _alive(generations: tuple[int, ...]) -> tuple[list[FunctionType], list[Any], list[CodeType]]:
    # A host that forks after `gc.freeze()` has put its functions where no pass sees them. They are
    # thawed for the pass and frozen again; a cycle that is garbage just now then stays, once.
    frozen = gc.get_freeze_count() > _STARTUP_FROZEN
    if frozen:
        gc.unfreeze()
    functions: list[FunctionType] = []
    caches: list[Any] = []
    suspended: list[CodeType] = []
    try:
        # Youngest first: an object that grows older meanwhile is met again, not missed. The young
        # generations are small, so short-lived objects of the host are held only for a moment.
        for generation in generations:
            found = _of_wanted_types(gc.get_objects(generation=generation))
            for item in found:
                if isinstance(item, FunctionType):
                    functions.append(item)
                elif isinstance(item, CacheType):
                    caches.append(item)
                else:
                    suspended.extend(_code_of_suspended(item))
            del found
    finally:
        if frozen:
            gc.freeze()
    unique = {id(function): function for function in functions}
    return list(unique.values()), caches, suspended


def _of_wanted_types(items: list[Any]) -> list[Any]:
    # C code alone is some three times as fast as a loop here, but lets nobody in, so it gets small
    # portions (about a millisecond). Types are compared by `id`: a metaclass may define equality.
    found: list[Any] = []
    for start in range(0, len(items), _PORTION):
        part = items[start : start + _PORTION]
        found.extend(compress(part, map(_WANTED_TYPES.__contains__, map(id, map(type, part)))))
    return found


def _code_of_suspended(item: Any) -> list[CodeType]:
    if isinstance(item, GeneratorType):
        return [item.gi_code] if item.gi_frame is not None else []
    if isinstance(item, CoroutineType):
        return [item.cr_code] if item.cr_frame is not None else []
    return [item.ag_code] if item.ag_frame is not None else []
