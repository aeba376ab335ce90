"""The other modules that this process has loaded, by their sources: who might have looked at something at import."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from homeostat_agent.reload.constants import copied_by
from homeostat_agent.reload.fingerprint import same_constant
from homeostat_agent.reload.onlookers import Onlooker, onlooker
from homeostat_agent.reload.spaces import module_dict

if TYPE_CHECKING:
    from homeostat_agent.reload.census import Load

_STANDARD = os.path.realpath(os.path.dirname(os.__file__)) + os.sep
_NOT_STANDARD = (os.sep + "site-packages" + os.sep, os.sep + "dist-packages" + os.sep)

_AGENT = os.path.dirname(os.path.dirname(os.path.realpath(__file__))) + os.sep
"""The agent's own modules take nothing of the host's along, and are not swapped. A copy of them that `homeostat run`
lends lies in the state directory, which is in the repository as a rule."""

_MAX_ONLOOKERS = 2000
"""Sources that are remembered as read; more are read anew."""


def is_standard(name: str) -> bool:
    """Tell whether a module is of the standard library, and not another one of its name."""
    top = name.partition(".")[0]
    found = sys.modules.get(top)
    spec: Any = module_dict(found).get("__spec__") if isinstance(found, ModuleType) else None
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


class Watch:
    """What the other modules of the repository may have met of one module, as far as their sources show."""

    def __init__(
        self,
        module: str,
        known_as: frozenset[str],
        is_package: bool,
        found: Sequence[tuple[str, str | None, Onlooker | None]],
        modules: frozenset[str],
    ) -> None:
        self.modules = modules
        """All that were looked at, by name."""

        self._module, self._known_as, self._is_package, self._found = module, known_as, is_package, found

    def missed(self, name: str, *, is_member: bool = False) -> str:
        """Say who may have met the absence of a name of the module; `is_member`: of a class of it."""
        return self._first(lambda _, seen: seen.missed(name, self._known_as, is_member=is_member))

    def kept(self, name: str) -> str:
        """Say who may hold what a class, or an object of it, had by this name so far."""
        return self._first(lambda _, seen: f"may keep a `{name}`" if name in seen.kept else "", everybody=True)

    def took(self, name: str) -> str:
        """Say who may have taken the value of a constant of the module along."""
        copied = self._first(lambda text, _: copied_by(text, name) if name in text else "", everybody=True)
        return copied or self._first(lambda _, seen: seen.all_taken(self._known_as))

    def _first(self, look: Callable[[str, Onlooker], str], *, everybody: bool = False) -> str:
        for module, text, seen in self._found:
            if text is None:
                return f"{module} has no source to be read"
            if seen is None:
                return f"{module} has a source that does not compile"
            if everybody or seen.refers_to(self._known_as, is_package=self._is_package):
                reason = look(text, seen)
                if reason:
                    return f"{module} {reason}"
        return ""


class Neighbours:
    """Reads the sources of loaded modules that lie in the repository, each once as long as it stays the same."""

    def __init__(self, repository: str) -> None:
        self._root = os.path.realpath(repository) + os.sep
        self._texts: dict[str, tuple[tuple[int, int], str]] = {}
        self._real: dict[str, str] = {}
        self._onlookers: dict[str, Onlooker | None] = {}

    def that_mentions(self, word: str, *, below: str = "") -> str | None:
        """Return the name of a loaded module of the repository whose source has this word, if there is one.

        A module that has no source to be read is taken for one that has it. With `below` (a module), modules of
        other places than its own and the repository count, too.
        """
        for name, _, text in self.sources(below=below):
            if text is None or word in text:
                return name
        return None

    def that_uses(self, words: frozenset[str], *, but: str = "") -> str | None:
        """Return the name of a loaded module of the repository that may ask objects for one of these, if there is one.

        A module that has no source to be read is taken for one that does. The module `but` is left out.
        """
        for name, _, text in self.sources():
            if name == but or (text is not None and not any(word in text for word in words)):
                continue
            seen = self._onlooker(text)
            if seen is None or seen.uses(words):
                return name
        return None

    def sources(self, *, below: str = "") -> list[tuple[str, str, str | None]]:
        """Return name, path and source of loaded modules: the repository's, and those of the package of `below`."""
        top = below.partition(".")[0]
        found = []
        for name, module in sys.modules.copy().items():
            if not issubclass(type(module), ModuleType):
                continue  # a stand-in that is no module may run host code when looked at
            origin = module_dict(module).get("__file__")
            if not isinstance(origin, str):
                continue
            real = self._real.get(origin) or self._real.setdefault(origin, os.path.realpath(origin))
            inside = real.startswith(self._root) and not any(part in real for part in _NOT_STANDARD)
            inside = inside and not real.startswith(_AGENT)
            if inside or (top and name.partition(".")[0] == top):
                found.append((name, real, self._text(real)))
        return found

    def that_copied(self, name: str, value: Any, load: Load, texts: Mapping[str, str]) -> str:
        """Say which other module may have taken a constant of this one along; empty where none shows it.

        `texts` are the old sources of a change, by real path: what ran where the disk may have the new ones.
        """
        watch = self.watch(load, {})
        reason = watch.took(name) or (self.watch(load, texts).took(name) if texts else "")
        if reason:
            return reason
        for module, found in sys.modules.copy().items():
            if module not in watch.modules and issubclass(type(found), ModuleType):
                space = module_dict(found)
                if space is not load.namespace and name in space and same_constant(space[name], value):
                    return f"{module} has it by the same name"
        return ""

    def watch(self, load: Load, texts: Mapping[str, str]) -> Watch:
        """Return what the other modules of the repository may have met of this one, by what `texts` or the disk say."""
        own = os.path.realpath(str(load.namespace.get("__file__")))
        known = {load.name.rpartition(".")[2]}
        for module in sys.modules.copy().values():
            if load.module is not None and issubclass(type(module), ModuleType):
                names = module_dict(module).copy()
                known.update(str(name) for name, value in names.items() if value is load.module)
        found: list[tuple[str, str | None, Onlooker | None]] = []
        modules = set()
        for name, path, on_disk in self.sources():
            modules.add(name)
            if path != own:
                text = texts.get(path, on_disk)
                found.append((name, text, self._onlooker(text)))
        return Watch(load.name, frozenset(known), "__path__" in load.namespace, found, frozenset(modules))

    def _onlooker(self, text: str | None) -> Onlooker | None:
        if text is None:
            return None
        if text not in self._onlookers:
            if len(self._onlookers) >= _MAX_ONLOOKERS:
                self._onlookers.clear()
            try:
                self._onlookers[text] = onlooker(text)
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                self._onlookers[text] = None
        return self._onlookers[text]

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
