"""The other modules that this process has loaded, by their sources: who might have looked at something at import."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from homeostat_agent.reload.constants import copied_by
from homeostat_agent.reload.fingerprint import same_constant

if TYPE_CHECKING:
    from homeostat_agent.reload.census import Load

_STANDARD = os.path.realpath(os.path.dirname(os.__file__)) + os.sep
_NOT_STANDARD = (os.sep + "site-packages" + os.sep, os.sep + "dist-packages" + os.sep)

_module_dict = type.__getattribute__(ModuleType, "__dict__")["__dict__"].__get__


def is_standard(name: str) -> bool:
    """Tell whether a module is of the standard library, and not another one of its name."""
    top = name.partition(".")[0]
    found = sys.modules.get(top)
    spec: Any = _module_dict(found).get("__spec__") if isinstance(found, ModuleType) else None
    if spec is None:
        if found is not None or not top:
            return False
        spec = _spec_of(top)
    origin = getattr(spec, "origin", None)
    if origin in ("built-in", "frozen"):
        return True
    if not isinstance(origin, str):
        return False
    real = os.path.realpath(origin)
    return real.startswith(_STANDARD) and not any(part in real for part in _NOT_STANDARD)


def _spec_of(top: str) -> Any:
    try:
        return importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None


class Neighbours:
    """Reads the sources of loaded modules that lie in the repository, each once as long as it stays the same."""

    def __init__(self, repository: str) -> None:
        self._root = os.path.realpath(repository) + os.sep
        self._texts: dict[str, tuple[tuple[int, int], str]] = {}

    def that_mentions(self, word: str, *, below: str = "") -> str | None:
        """Return the name of a loaded module of the repository whose source has this word, if there is one.

        A module that has no source to be read is taken for one that has it. With `below` (a module), modules of
        other places than its own and the repository count, too.
        """
        for name, _, text in self.sources(below=below):
            if text is None or word in text:
                return name
        return None

    def that_mentions_any(self, words: Iterable[str]) -> str | None:
        """Return the name of a loaded module of the repository whose source has one of these words, if there is one."""
        return next((found for word in words if (found := self.that_mentions(word)) is not None), None)

    def sources(self, *, below: str = "") -> list[tuple[str, str, str | None]]:
        """Return name, path and source of loaded modules: the repository's, and those of the package of `below`."""
        top = below.partition(".")[0]
        found = []
        for name, module in sys.modules.copy().items():
            if not issubclass(type(module), ModuleType):
                continue  # a stand-in that is no module may run host code when looked at
            origin = _module_dict(module).get("__file__")
            if not isinstance(origin, str):
                continue
            real = os.path.realpath(origin)
            inside = real.startswith(self._root) and not any(part in real for part in _NOT_STANDARD)
            if inside or (top and name.partition(".")[0] == top):
                found.append((name, real, self._text(real)))
        return found

    def that_copied(self, name: str, value: Any, load: Load) -> str:
        """Say which other module may have taken a constant of this one along; empty where none shows it."""
        own = os.path.realpath(str(load.namespace.get("__file__")))
        known = set()
        for module, path, text in self.sources():
            known.add(module)
            if path == own:
                continue
            try:
                reason = "has no source to be read" if text is None else copied_by(text, name, load.name)
            except (SyntaxError, ValueError, RecursionError):
                reason = "has a source that does not compile"
            if reason:
                return f"{module} {reason}"
        for module, found in sys.modules.copy().items():
            if module not in known and issubclass(type(found), ModuleType):
                space = _module_dict(found)
                if space is not load.namespace and name in space and same_constant(space[name], value):
                    return f"{module} has it by the same name"
        return ""

    def _text(self, path: str) -> str | None:
        try:
            facts = os.stat(path)
            stamp = (facts.st_mtime_ns, facts.st_size)
            kept = self._texts.get(path)
            if kept is None or kept[0] != stamp:
                with open(path, encoding="utf-8", errors="replace") as file:
                    kept = self._texts[path] = (stamp, file.read())
            return kept[1] if path.endswith(".py") else None
        except OSError:
            return None
