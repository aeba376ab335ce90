"""What the items of a module's top level are to a plan that runs some of them again."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Union

from homeostat_agent.reload.newnames import bound_names, new_name
from homeostat_agent.reload.outline import (
    ClassOutline,
    FunctionOutline,
    Item,
    ModuleOutline,
    Statement,
    docstring_of_items,
    first_line,
    owners_of,
)
from homeostat_agent.reload.syntax import is_main_guard

_MAX_TEXT = 60


def has_block(tree: ast.Module) -> bool:
    """Tell whether a module has an `if __name__ == "__main__"`."""
    return any(map(is_block, tree.body))


def is_block(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and is_main_guard(node.test) and not node.orelse


def is_function(item: Item, name: str) -> bool:
    return isinstance(item, FunctionOutline) and item.name == name


def is_new(item: Item, names: set[str], known: dict[str, int]) -> bool:
    """Tell whether an item is a function or another name that the old source does not have."""
    if isinstance(item, FunctionOutline):
        return item.name not in names
    name = new_name(item)
    return name is not None and name.name not in known


def without_docstring(items: tuple[Item, ...]) -> list[Item]:
    return list(items[docstring_of_items(items) is not None :])


def class_of(side: ModuleOutline, qualname: str) -> ClassOutline | None:
    found = [*owners_of(side, f"{qualname}.?")]
    return found[-1] if found and found[-1].qualname == qualname else None


def decorator_lines(item: FunctionOutline) -> range:
    return range(first_line(item.node), item.node.lineno)


def is_part(one: ast.stmt, other: ast.stmt) -> bool:
    """Tell whether two nodes are one statement: an import of several names is as many items."""
    return one is other or (
        isinstance(one, (ast.Import, ast.ImportFrom))
        and (one.lineno, one.col_offset) == (other.lineno, other.col_offset)
    )


def lines_of(nodes: Iterable[Union[ast.stmt, ast.ClassDef]]) -> frozenset[int]:
    found: set[int] = set()
    for node in nodes:
        start = (
            first_line(node) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) else node.lineno
        )
        found.update(range(start, (node.end_lineno or node.lineno) + 1))
    return frozenset(found)


def label_of(item: Statement) -> str:
    names = bound_names(ast.Module(body=[item.node], type_ignores=[]))
    return next(iter(names)) if len(names) == 1 else "<module>"


def text_of(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}..."
