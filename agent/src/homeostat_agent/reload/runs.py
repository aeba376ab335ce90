"""Statements of the new source that run in a module which is there already (see `reload.widening`).

What they bind is put back at a rollback, down to the very objects. What else they do is the host's, and stays.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from homeostat_agent.reload.neighbours import Neighbours
from homeostat_agent.reload.spaces import module_dict
from homeostat_agent.reload.widened import Statement

_MISSING = object()


class RunFailed(Exception):
    """A statement raised; the text says which, and no more of what the host said."""


class Run:
    """The statements of one module. `put` runs them once; `take` puts back what they bound, as far as it is there."""

    def __init__(
        self,
        module: ModuleType,
        statements: tuple[Statement, ...],
        neighbours: Neighbours,
        noted: Callable[[bool], None],
        *,
        source: str,
    ) -> None:
        """`source` is the new one, of the whole module.

        `noted` is told whether the module is now (True) as the new statements made it, or as the old did.
        """
        self.module, self.source = module, source
        self._statements, self._neighbours, self._noted = statements, neighbours, noted
        self._bound: list[tuple[dict[str, Any], str, Any, Any]] = []
        """Name spaces, names, and what these meant before and after."""

    @property
    def labels(self) -> list[str]:
        return list(dict.fromkeys(f"{self.module.__name__}:{item.label}" for item in self._statements))

    def put(self) -> None:
        """Run them, in the order of the source; what stands for others by name in other modules follows."""
        space = module_dict(self.module)
        names = {name for item in self._statements for name in item.binds}
        before = {name: space.get(name, _MISSING) for name in names}
        failed = ""
        for item in self._statements:
            try:
                exec(item.code, space)  # noqa: S102  the host's own statement, as an import would run it
            except BaseException as error:  # the edge to the host: `SystemExit` of a statement is no reason to leave
                failed = f"line {item.line} of {self.module.__name__} raised {type(error).__name__}"
                break
        after = {name: space.get(name, _MISSING) for name in names}
        self._bound = [(space, name, before[name], after[name]) for name in names if before[name] is not after[name]]
        if failed:
            raise RunFailed(failed)
        self._noted(True)
        for name in names:
            if before[name] is not _MISSING and after[name] is not _MISSING and before[name] is not after[name]:
                self._follow(name, before[name], after[name])

    def take(self) -> None:
        """Put back what the names meant, where they still mean what the statements made."""
        for space, name, before, after in reversed(self._bound):
            if space.get(name, _MISSING) is not after:
                continue
            if before is _MISSING:
                del space[name]
            else:
                space[name] = before
        self._bound = []
        self._noted(False)

    def _follow(self, name: str, before: Any, after: Any) -> None:
        """Bind what others imported by its name, from here or from one another, and still hold, to the new object."""
        sources = self._neighbours.sources()
        waiting = [(self.module.__name__, name)]
        while waiting:
            known_as, name = waiting.pop()
            for other, _, text in sources:
                module = sys.modules.get(other)
                if text is None or name not in text or not isinstance(module, ModuleType) or module is self.module:
                    continue
                space = module_dict(module)
                for key in _imported_as(text, name, known_as):
                    if space.get(key, _MISSING) is before:
                        space[key] = after
                        self._bound.append((space, key, before, after))
                        waiting.append((other, key))  # a package hands on what its modules have


def _imported_as(text: str, name: str, module: str) -> list[str]:
    """Return the names by which a source imports one of a module, as far as the last part of that one's name tells."""
    try:
        tree = ast.parse(text.lstrip("\ufeff"))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    last = module.rpartition(".")[2]
    return [
        name if alias.name == "*" else alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or last).rpartition(".")[2] == last
        for alias in node.names
        if alias.name in (name, "*")
    ]
