"""Which frames of an exception lie in the host's repository, and where in it."""

from __future__ import annotations

import os
import re
import sys
from collections import deque
from types import CodeType, TracebackType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple, Optional
else:
    from homeostat_agent.record import NamedTuple

MAX_FRAMES = 30
MARK = ".pick"
"""A local variable that only a canary's dispatcher code has: its frames are left out, they are nobody's lines."""

_MAX_STEPS = 20_000
_MAX_CAUSES = 5
_MAX_CACHED = 5_000
_NOT_THEIRS = frozenset(
    {"site-packages", "dist-packages", "node_modules", ".git", ".homeostat", ".tox", ".nox", ".eggs"}
)
_REMOTE = frozenset({"RemoteTraceback", "_RemoteTraceback"})
_REMOTE_FRAME = r'(?m)^  File "([^"\n]{1,1000})", line (\d{1,9}), in (\S{1,200})$'
"""Not compiled before it is needed: most programs have no workers that send exceptions."""

_MAX_REMOTE_CHARS = 65_536
_ENVIRONMENT_MARKS = ("pyvenv.cfg", "conda-meta")


class Frame(NamedTuple):
    """A place in the repository; `path` is relative, with forward slashes."""

    path: str
    line: int
    function: str


def function_name(code: CodeType) -> str:
    """Return the qualified name where this Python knows it (3.11 and later), else the bare one."""
    name: str = getattr(code, "co_qualname", code.co_name)
    return name[:200]


class Repository:
    """Tells the files of the host's repository from everything else that may lie below its root.

    Virtual environments, installed packages, tools' folders, the interpreter, and the agent itself are not
    the repository even where they are inside it. Answers are kept by file name, so the disk is asked once.
    """

    def __init__(self, root: str) -> None:
        self._root = os.path.realpath(root)
        here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        foreign = {os.path.realpath(path) for path in (here, sys.prefix, sys.base_prefix, os.path.dirname(os.__file__))}
        self._foreign = tuple(path + os.sep for path in foreign if self._inside(path))
        self._known: dict[str, str] = {}

    def relative(self, filename: str) -> str:
        """Return the path inside the repository, or an empty text for a file that is not part of it."""
        known = self._known.get(filename)
        if known is None:
            known = self._relative(filename)
            if len(self._known) >= _MAX_CACHED:
                self._known.clear()
            self._known[filename] = known
        return known

    def _inside(self, path: str) -> bool:
        return path.startswith(self._root.rstrip(os.sep) + os.sep)

    def _relative(self, filename: str) -> str:
        if not filename or filename.startswith("<"):
            return ""
        path = os.path.realpath(filename)
        if not self._inside(path) or path.startswith(self._foreign):
            return ""
        relative = os.path.relpath(path, self._root)
        folder = self._root
        for part in relative.split(os.sep)[:-1]:
            folder = os.path.join(folder, part)
            if part in _NOT_THEIRS or any(os.path.exists(os.path.join(folder, mark)) for mark in _ENVIRONMENT_MARKS):
                return ""
        return relative.replace(os.sep, "/")[:400]

    def trace(self, error: BaseException) -> tuple[Frame, ...]:
        """Return the frames inside the repository, outermost first, the innermost `MAX_FRAMES` of them.

        When none of the error's own frames lies inside, those of what caused it are taken: a library that
        wraps the host's exception is not where the defect is. Of a group, the first leaf is read.
        """
        current: Optional[BaseException] = first_leaf(error)
        for _ in range(_MAX_CAUSES):
            if current is None:
                break
            frames = (*self._frames(current.__traceback__), *self._remote_frames(current.__cause__))
            if frames:
                return frames[-MAX_FRAMES:]
            current = current.__cause__ or current.__context__
        return ()

    def _frames(self, step: Optional[TracebackType]) -> tuple[Frame, ...]:
        found: deque[Frame] = deque(maxlen=MAX_FRAMES)
        for _ in range(_MAX_STEPS):
            if step is None:
                break
            code = step.tb_frame.f_code
            path = self.relative(code.co_filename)
            if path and MARK not in code.co_varnames:
                found.append(Frame(path, step.tb_lineno or 0, function_name(code)))
            step = step.tb_next
        return tuple(found)

    def _remote_frames(self, cause: Optional[BaseException]) -> tuple[Frame, ...]:
        """Return the frames in a pool's worker, which hands on its traceback as text."""
        text = getattr(cause, "tb", None) if type(cause).__name__ in _REMOTE else None
        if not isinstance(text, str):
            return ()
        last = text[-_MAX_REMOTE_CHARS:].rpartition("Traceback (most recent call last):")[2]
        named = ((self.relative(path), int(line), name) for path, line, name in re.findall(_REMOTE_FRAME, last))
        return tuple(Frame(path, line, name) for path, line, name in named if path)


def members(error: BaseException) -> tuple[BaseException, ...]:
    """Return what an exception group holds; empty for any other exception. Knows the backport by its name."""
    if not any(base.__name__ == "BaseExceptionGroup" for base in type(error).__mro__):
        return ()
    inner = getattr(error, "exceptions", ())
    return tuple(item for item in inner if isinstance(item, BaseException)) if isinstance(inner, (tuple, list)) else ()


def first_leaf(error: BaseException) -> BaseException:
    """Return the first exception that is not a group, of a group of any sane depth."""
    for _ in range(_MAX_CAUSES * 4):
        inner = members(error)
        if not inner:
            break
        error = inner[0]
    return error
