"""Global names that new code reads and nothing binds, as far as the text of its module shows."""

from __future__ import annotations

import ast
import builtins
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
    for side in sides:
        imports = [node for node in ast.walk(side.tree) if isinstance(node, ast.ImportFrom)]
        if any(node.names[0].name == "*" for node in imports) or looks_at_names(side.tree):
            return []
    known = {*_OF_EVERY_MODULE, *global_names(old), *(name for side in sides for name in bound_names(side.tree))}
    found = []
    codes = [(pairing.names[id(pair.new)], pair.new) for pair in pairing.pairs if pair.changed]
    for qualname, code in (*codes, *pairing.added.items()):
        missing = ", ".join(f"`{name}`" for name in sorted(global_names(code) - known))
        if missing:
            found.append(Obstacle(qualname, code.co_firstlineno, f"it reads {missing}, which nothing binds"))
    return found
