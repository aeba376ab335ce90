"""Global names that new code reads and nothing binds, as far as the text of its module shows."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from types import CodeType, ModuleType

from homeostat_agent.reload.additions import global_names
from homeostat_agent.reload.compare import Obstacle
from homeostat_agent.reload.importtime import looks_at_names
from homeostat_agent.reload.newnames import bound_names
from homeostat_agent.reload.outline import ModuleOutline
from homeostat_agent.reload.pairing import Pairing

_OF_EVERY_MODULE = frozenset({*vars(builtins), *dir(ModuleType("m")), "__file__", "__builtins__", "__path__"})


def unbound_names(pairing: Pairing, sides: tuple[ModuleOutline, ModuleOutline], old: CodeType) -> list[Obstacle]:
    """Return what reads a name that the running module would not have.

    Says nothing where names come from elsewhere: by `import *`, or through `globals()`. What the old code reads
    somewhere is taken for bound (by whoever puts it among the builtins). A package may have the names of its
    submodules: the caller does not ask for one.
    """
    codes = [(pairing.names[id(pair.new)], pair.new) for pair in pairing.pairs if pair.changed]
    read = [
        (qualname, code, global_names(code) - _OF_EVERY_MODULE) for qualname, code in (*codes, *pairing.added.items())
    ]
    # From cheap to dear: of most changes nothing is left soon, and each is planned on the hub and in every process.
    for known in _known(sides, old):
        read = [(qualname, code, names - known) for qualname, code, names in read if names - known]
        if not read:
            return []
    for side in sides:
        imports = [node for node in ast.walk(side.tree) if isinstance(node, ast.ImportFrom)]
        if any(node.names[0].name == "*" for node in imports) or looks_at_names(side.tree):
            return []
    return [
        Obstacle(qualname, code.co_firstlineno, f"it reads {_listed(names)}, which nothing binds")
        for qualname, code, names in read
    ]


def _known(sides: tuple[ModuleOutline, ModuleOutline], old: CodeType) -> Iterator[set[str]]:
    yield set()
    for side in reversed(sides):
        yield set(bound_names(side.tree))
    yield global_names(old)


def _listed(names: set[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))
