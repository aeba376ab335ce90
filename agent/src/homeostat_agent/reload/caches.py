"""What the text shows of caches: by their names, as decorators and around functions."""

from __future__ import annotations

import ast

from homeostat_agent.reload.syntax import last_name


def wrapped_in_caches(tree: ast.Module) -> dict[str, list[str]]:
    """Return what is given to a cache in a call, `lru_cache(maxsize=None)(f)` or so, with the names of the caches."""
    found: dict[str, list[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            cache: ast.expr = node
            while isinstance(cache, ast.Call):
                cache = cache.func
            if is_cache(last_name(cache)):
                for value in (*node.args, *(keyword.value for keyword in node.keywords)):
                    found.setdefault(last_name(value), []).append(last_name(cache))
    return found


def is_cache(name: str) -> bool:
    """Tell whether something of this name keeps results."""
    return "cache" in name.lower() or "memo" in name.lower()
