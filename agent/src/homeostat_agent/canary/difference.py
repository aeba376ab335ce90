"""Where two values differ, told by kinds and names of attributes alone: no value is told.

What is compared are contents: sequences in their order, mappings by key, sets, and any other object by what it
says of its own state when it is pickled. The host's `__eq__` is not asked: it may be missing, or do anything.
"""

from __future__ import annotations

import cmath
import math
from enum import Enum
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, Optional

from homeostat_agent.canary.interrupting import Interrupted

MOST_COMPARED = 20_000
_MOST_DEPTH = 100
_MOST_CHARS = 160
_MOST_NAME_CHARS = 40

CLOSE = 1e-9
"""Numbers with a fraction are the same when they differ by no more than this part of themselves."""

_LEAST = 1e-12
_PLAIN = frozenset({int, bool, str, bytes, bytearray, type(None), type(Ellipsis), type(NotImplemented), range, slice})
_KEYS = frozenset({int, bool, str, bytes, type(None), float})
_BY_IDENTITY = (FunctionType, BuiltinFunctionType, MethodType, ModuleType, type)


class Incomparable(Exception):
    """Nothing tells whether these are the same; says why, by kinds alone."""


def first_difference(old: Any, new: Any, *, where: str = "") -> str:
    """Say where two values differ first, and how, beginning at `where`; empty where they are the same.

    `Incomparable` where that cannot be told. Runs what the host's objects do when they are pickled, which may raise.
    """
    found = _Comparison().compare(old, new, where, 0)
    return (found or "")[:_MOST_CHARS]


class _Comparison:
    def __init__(self) -> None:
        self._left = MOST_COMPARED
        self._seen: set[tuple[int, int]] = set()
        self._alive: list[Any] = []
        """What was made on the way: its ids must not pass to other objects."""

    def compare(self, old: Any, new: Any, where: str, depth: int) -> Optional[str]:
        if old is new:
            return None
        self._left -= 1
        if self._left < 0 or depth > _MOST_DEPTH:
            raise Incomparable("too large")
        kind = type(old)
        if type(new) is not kind:
            return _told(where, f"{_name(kind)} became {_name(type(new))}")
        if kind in _PLAIN:
            return None if old == new else _told(where, f"another {_name(kind)}")
        if kind is float or kind is complex:
            return None if _close(old, new) else _told(where, f"another {_name(kind)}")
        if (id(old), id(new)) in self._seen:
            return None
        self._seen.add((id(old), id(new)))
        if kind is list or kind is tuple:
            return self._sequences(old, new, where, depth)
        if kind is dict:
            return self._mappings(old, new, where, depth)
        if kind is set or kind is frozenset:
            return self._sets(old, new, where)
        return self._objects(old, new, where, depth)

    def _sequences(self, old: Any, new: Any, where: str, depth: int) -> Optional[str]:
        if len(old) != len(new):
            return _told(where, f"{_name(type(old))} of {len(old)} became one of {len(new)}")
        for one, other in map(_pair, old, new):
            found = self.compare(one, other, f"{where}[]", depth + 1)
            if found:
                return found
        return None

    def _mappings(self, old: dict[Any, Any], new: dict[Any, Any], where: str, depth: int) -> Optional[str]:
        if len(old) != len(new):
            return _told(where, f"dict of {len(old)} became one of {len(new)}")
        if not all(_is_plain_key(key) for item in (old, new) for key in item):
            raise Incomparable("a dict whose keys are objects")
        if old.keys() != new.keys():
            return _told(where, "dict with other keys")
        for key, value in old.items():
            found = self.compare(value, new[key], f"{where}{{}}", depth + 1)
            if found:
                return found
        return None

    def _sets(self, old: Any, new: Any, where: str) -> Optional[str]:
        kind = _name(type(old))
        if len(old) != len(new):
            return _told(where, f"{kind} of {len(old)} became one of {len(new)}")
        if not all(_is_plain_key(key) for item in (old, new) for key in item):
            raise Incomparable(f"a {kind} of objects")
        return None if old == new else _told(where, f"another {kind}")

    def _objects(self, old: Any, new: Any, where: str, depth: int) -> Optional[str]:
        """Compare objects by what they would be made of again."""
        kind = type(old)
        if issubclass(kind, _BY_IDENTITY) or kind is object:
            raise Incomparable(f"a {_name(kind)} is itself alone")
        if issubclass(kind, Enum):
            return _told(where, f"another {_name(kind)}")
        made = []
        for value in (old, new):
            try:
                parts = value.__reduce_ex__(4)
            except Interrupted:
                raise
            except BaseException:  # the host's own, or a kind that cannot be taken apart
                raise Incomparable(f"a {_name(kind)} cannot be taken apart") from None
            if isinstance(parts, tuple):
                parts = (*parts[:3], *(self._listed(part) for part in parts[3:5]))
            made.append(parts)
        self._alive.extend(made)
        first, second = made
        if not isinstance(first, tuple) or not isinstance(second, tuple):
            return None if first == second else _told(where, f"another {_name(kind)}")
        if len(first) != len(second) or first[0] is not second[0]:
            return _told(where, f"another {_name(kind)}")
        found = self.compare(first[1], second[1], f"{where}({_name(kind)})", depth + 1)
        if not found and len(first) > 2:
            found = self._states(kind, first[2], second[2], where, depth + 1)
        for one, other in map(_pair, first[3:], second[3:]):
            found = found or self.compare(one, other, where, depth + 1)
        return found

    def _listed(self, items: Any) -> Any:
        """Return the items that an object adds to itself as a list, or as a dict of pairs."""
        if items is None:
            return None
        listed = []
        for item in items:
            self._left -= 1
            if self._left < 0:
                raise Incomparable("too large")
            listed.append(item)
        return listed

    def _states(self, kind: type, old: Any, new: Any, where: str, depth: int) -> Optional[str]:
        if type(old) is tuple and type(new) is tuple and len(old) == len(new) == 2:  # plain attributes and slots
            return self._states(kind, old[0], new[0], where, depth) or self._states(kind, old[1], new[1], where, depth)
        if {type(old), type(new)} == {dict, type(None)}:  # an object without attributes has no state
            old, new = old or {}, new or {}
        if type(old) is not dict or type(new) is not dict:
            return self.compare(old, new, where, depth)
        for name in (*old, *new):
            if name not in old or name not in new:
                return _told(f"{where}{_attribute(kind, name)}", "only one of both has it")
        for name, value in old.items():
            found = self.compare(value, new[name], f"{where}{_attribute(kind, name)}", depth)
            if found:
                return found
        return None


def _pair(one: Any, other: Any) -> tuple[Any, Any]:
    return one, other


def _close(old: Any, new: Any) -> bool:
    if isinstance(old, complex):
        same_nan = cmath.isnan(old) and cmath.isnan(new)
        return same_nan or cmath.isclose(old, new, rel_tol=CLOSE, abs_tol=_LEAST)
    return (old != old and new != new) or math.isclose(old, new, rel_tol=CLOSE, abs_tol=_LEAST)


def _is_plain_key(key: Any) -> bool:
    if type(key) is tuple or type(key) is frozenset:
        return all(map(_is_plain_key, key))
    return (type(key) in _KEYS and key == key) or issubclass(type(key), (Enum, type))


def _attribute(kind: type, name: Any) -> str:
    # An attribute may be named by what the host was given: only names that its class has in its code are told.
    return f".{name}" if isinstance(name, str) and _is_told(name) and _is_in_code(kind, name) else ".(...)"


def _is_in_code(kind: type, name: str) -> bool:
    for one in type.__dict__["__mro__"].__get__(kind):
        members = type.__dict__["__dict__"].__get__(one)
        if name in members or name in members.get("__annotations__", ()) or name in members.get("__slots__", ()):
            return True
        if any(type(item) is FunctionType and name in item.__code__.co_names for item in members.values()):
            return True
    return False


def _is_told(name: str) -> bool:
    return name.isidentifier() and name.isascii() and len(name) <= _MOST_NAME_CHARS


def _name(kind: type) -> str:
    # A class may be named so as well, where it is made from data.
    name: str = type.__dict__["__name__"].__get__(kind)[:_MOST_NAME_CHARS]
    return name if _is_told(name) else "(...)"


def _told(where: str, what: str) -> str:
    return f"{where[-80:]}: {what}" if where else what
