"""In which order modules run their statements again: each after those that it imports, as at a start.

What a process loaded first says nothing of it: the new source may import what the old one did not.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import resolve_name
from types import ModuleType
from typing import Tuple

from homeostat_agent.reload.neighbours import Neighbours
from homeostat_agent.reload.runs import Run
from homeostat_agent.reload.spaces import module_dict

_Imports = Tuple[Tuple[str, Tuple[str, ...]], ...]
_LATER = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def in_succession(runs: Sequence[Run], neighbours: Neighbours) -> tuple[list[Run], str]:
    """Return the runs in the order in which a new process would run them; with the reason where that cannot be told.

    Imports inside functions count as well, as import may call these; unless there is no order then.
    """
    if len(runs) < 2:
        return list(runs), ""
    texts = {name: text or "" for name, _, text in neighbours.sources()}
    own = {name: run for run in runs for name in texts if sys.modules.get(name) is run.module}
    texts.update((name, run.source) for name, run in own.items())
    stuck: list[Run] = []
    for lazily in (True, False):
        done, stuck = _sorted(runs, own, texts, lazily=lazily)
        if not stuck:
            return done, ""
    names = " and ".join(f"`{run.module.__name__}`" for run in stuck[:2])
    return list(runs), f"{names} import each other, so the order in which their statements would run cannot be told"


def _sorted(
    runs: Sequence[Run], own: dict[str, Run], texts: dict[str, str], *, lazily: bool
) -> tuple[list[Run], list[Run]]:
    """Return the runs that have an order, and those that have none."""
    needs = {id(run): _needs(run, own, texts, lazily=lazily) for run in runs}
    done: list[Run] = []
    left = list(runs)
    while left:
        known = {id(run) for run in done}
        ready = next((run for run in left if needs[id(run)] <= known), None)
        if ready is None:
            break
        done.append(ready)
        left.remove(ready)
    return done, left


def _needs(run: Run, own: dict[str, Run], texts: dict[str, str], *, lazily: bool) -> set[int]:
    """Return the `id` of the other runs whose modules this one's imports, itself or through others."""
    found: set[int] = set()
    waiting = [name for name, other in own.items() if other is run]
    seen = set(waiting)
    while waiting:
        importer = waiting.pop()
        for name in _modules_of(_imports(texts[importer], lazily=lazily), importer) & texts.keys() - seen:
            seen.add(name)
            if name not in own:
                waiting.append(name)
            elif own[name] is not run:
                found.add(id(own[name]))
    return found


def _modules_of(imports: _Imports, importer: str) -> set[str]:
    """Return the modules that are meant, those that a package is asked for included."""
    module = sys.modules.get(importer)
    package = module_dict(module).get("__package__") if isinstance(module, ModuleType) else None
    found: set[str] = set()
    for relative, names in imports:
        try:
            base = resolve_name(relative, str(package or ""))
        except (ImportError, ValueError):
            continue
        # Of a package whose module is asked for, the package itself need not be there as a whole.
        inside = {f"{base}.{name}" for name in names}
        found.update(one if one in sys.modules else base for one in inside or {base})
    return found


@lru_cache(maxsize=2000)  # asked at each look, and at some of them the host waits
def _imports(text: str, *, lazily: bool) -> _Imports:
    """Return what the imports of a source name: a module, with dots before it where it is relative, and names of it."""
    try:
        waiting: list[ast.AST] = [ast.parse(text.lstrip("\ufeff"))]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()
    found: list[tuple[str, tuple[str, ...]]] = []
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found.extend((alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.append(("." * node.level + (node.module or ""), tuple(alias.name for alias in node.names)))
        elif lazily or not isinstance(node, _LATER):
            waiting.extend(ast.iter_child_nodes(node))
    return tuple(found)
