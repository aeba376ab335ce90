"""Copies of what a call was given and gave, made at once and within bounds: by pickling, which C code does.

A copy is for this process alone, and is thawed in it. What is what it is by identity, and not by its content
(functions, classes, modules, bare objects), is kept as it is.
"""

from __future__ import annotations

import pickle
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, NamedTuple, Optional

MOST_OBJECTS = 5_000
MOST_BYTES = 1 << 20

_PLAIN = frozenset({int, str, float, bool, bytes, type(None)})
_BY_REFERENCE = frozenset({FunctionType, BuiltinFunctionType, ModuleType, object})


class Frozen(NamedTuple):
    """A copy at rest."""

    data: bytes
    kept: list[Any]


class _TooLarge(Exception):
    pass


def freeze(value: Any) -> Optional[Frozen]:
    """Copy a value as it is now; None where it is too large, or cannot be copied.

    Objects say themselves how they are copied (`__reduce__`, `__getstate__`): that runs code of the host.
    """
    sink = _Sink()
    try:
        pickler = _Pickler(sink)
        pickler.dump(value)
    except Exception:  # of the host's own objects; or `_TooLarge`
        return None
    return Frozen(b"".join(sink.parts), pickler.kept)


def thaw(frozen: Frozen) -> Any:
    """Return a new copy; raises whatever the host's own objects raise."""
    unpickler = _Unpickler(_Source(frozen.data))
    unpickler.kept = frozen.kept
    return unpickler.load()


class _Pickler(pickle.Pickler):
    def __init__(self, sink: _Sink) -> None:
        super().__init__(sink, protocol=5)
        self.kept: list[Any] = []
        self._left = MOST_OBJECTS

    def persistent_id(self, value: Any) -> Optional[int]:
        self._left -= 1
        if self._left < 0:
            raise _TooLarge
        kind = type(value)
        if kind in _PLAIN:
            if (kind is str or kind is bytes) and len(value) > MOST_BYTES:  # before it is encoded
                raise _TooLarge
            return None
        if not (
            kind in _BY_REFERENCE or issubclass(kind, type)
        ):  # not `isinstance`: an object may say that it is a class
            return None
        self.kept.append(value)
        return len(self.kept) - 1


class _Unpickler(pickle.Unpickler):
    kept: list[Any]

    def persistent_load(self, pid: Any) -> Any:
        return self.kept[pid]


class _Sink:
    """Takes what a pickler writes, up to a bound."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self._left = MOST_BYTES

    def write(self, part: Any) -> int:
        size = memoryview(part).nbytes
        self._left -= size
        if self._left < 0:
            raise _TooLarge
        self.parts.append(bytes(part))
        return size


class _Source:
    """Gives an unpickler what it reads."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        end = len(self._data) if size < 0 else self._at + size
        part, self._at = self._data[self._at : end], min(end, len(self._data))
        return part

    def readline(self) -> bytes:
        end = self._data.find(b"\n", self._at) + 1
        return self.read((end or len(self._data)) - self._at)
